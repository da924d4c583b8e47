#include "operators/kernel_terms.h"

#include <algorithm>
#include <cmath>
#include <type_traits>
#include <utility>

#include "gradflow/base/error.h"
#include "gradflow/base/linear_algebra.h"
#include "gradflow/base/parallel.h"
#include "operators/kernel_lanes.h"
#include "operators/kernel_pairs.h"

namespace gradflow {
namespace {

using Kind = KernelTerm::Kind;

bool is_stationary(Kind kind) { return kind != Kind::network && kind != Kind::linear; }

/// kappa at the squared distance, exactly 1 at 0. Far beyond where exp ends (exp(-708), float exp(-87)) the
/// distance counts as 1000, so that nothing overflows.
template <Kind kind, typename Real>
[[gnu::always_inline]] inline Real stationary(Real squared_distance) {
  const Real square = squared_distance < Real(1e6) ? squared_distance : Real(1e6);
  if constexpr (kind == Kind::rbf) {
    return pairs::exp_negative(Real(-0.5) * square);
  } else {
    const Real s = std::sqrt((kind == Kind::matern32 ? Real(3) : Real(5)) * square);
    const Real quadratic = kind == Kind::matern32 ? Real(0) : s * s * (Real(1) / Real(3));
    return (Real(1) + s + quadratic) * pairs::exp_negative(-s);
  }
}

template <Kind kind, typename Real>
void map_distances(Real* tile) {
  lanes::dispatch([tile](auto) __attribute__((always_inline)) {
    for (Index i = 0; i < tile_entries; ++i) tile[i] = stationary<kind>(tile[i]);
  });
}

/// tile <- kappa of the squared distances in it
template <typename Real>
void map_distances(Kind kind, Real* tile) {
  switch (kind) {
    case Kind::rbf: map_distances<Kind::rbf>(tile); return;
    case Kind::matern32: map_distances<Kind::matern32>(tile); return;
    case Kind::matern52: map_distances<Kind::matern52>(tile); return;
    case Kind::network:
    case Kind::linear: break;
  }
  throw InternalError("a kernel of products was taken for one of distances");
}

Matrix pad_rows(ConstBlock X) {
  Matrix padded = Matrix::Zero(tile_blocks(X.rows()) * tile_size, X.cols());
  padded.topRows(X.rows()) = X;
  return padded;
}

Matrix network_cross(const InfiniteArchitecture& network, ConstBlock U_new, ConstBlock U, Index features) {
  const KernelDiagonals rows(network, U_new, features), columns(network, U, features);
  const KernelRecursion<double> recursion(network, rows, columns);
  Matrix kernel(U_new.rows(), U.rows());
  multiply(U_new, Transpose::no, U, Transpose::yes, kernel, network.sw2 / static_cast<double>(features));
  constexpr Index most_rows = KernelRecursion<double>::most_rows;
  constexpr Index most_columns = KernelRecursion<double>::most_columns;
  parallel_for(U.rows(), most_columns, [&](Index begin, Index end) {
    for (Index i = 0; i < U_new.rows(); i += most_rows)
      recursion.evaluate(begin, end - begin, i, std::min(most_rows, U_new.rows() - i), &kernel(i, begin),
                         U_new.rows());
  });
  return kernel;
}

Matrix stationary_cross(Kind kind, ConstBlock U_new, ConstBlock U, Index features) {
  const SliverRows<double> rows(pad_rows(U_new)), columns(pad_rows(U));
  const double scale = 1.0 / static_cast<double>(features);
  Matrix kernel(U_new.rows(), U.rows());
  parallel_for(columns.blocks(), 1, [&](Index J, Index) {
    alignas(64) double tile[tile_entries];
    const Index j0 = J * tile_size, width = std::min(tile_size, U.rows() - j0);
    for (Index I = 0; I < rows.blocks(); ++I) {
      squared_distances(rows, I, columns, J, scale, tile);
      map_distances(kind, tile);
      const Index i0 = I * tile_size, height = std::min(tile_size, U_new.rows() - i0);
      for (Index j = 0; j < width; ++j) std::copy_n(tile + j * tile_size, height, &kernel(i0, j0 + j));
    }
  });
  return kernel;
}

/// Throws InputError where float cannot hold what is asked of it.
void check_range(const KernelTerm& term, const TermRows& rows, Index features) {
  constexpr double most_variance = 1e12, most_entry = 1e30;
  const char* const remedy = "is too large for float32: use float64, or scale the features";
  if (rows.diagonals) {
    for (const Vector& K : rows.diagonals->K)
      require(K.maxCoeff() <= most_variance, "largest variance of a kernel", K.maxCoeff(), remedy);
    const double largest = rows.diagonals->T.maxCoeff();
    require(largest <= most_entry, "largest entry of a kernel", largest, remedy);
  } else {
    const double largest = rows.rows.rowwise().squaredNorm().maxCoeff() / static_cast<double>(features);
    require(largest <= most_variance, "largest variance of a kernel", largest, remedy);
  }
  require(term.weight >= 1.0 / most_entry && term.weight <= most_entry, "weight of a kernel", term.weight,
          "is out of float32's range: use float64");
}

}  // namespace

Matrix relevant_features(const KernelTerm& term, ConstBlock X, Index rows) {
  if (term.relevance.size() == 0) {
    Matrix all = Matrix::Zero(rows, X.cols());
    all.topRows(X.rows()) = X;
    return all;
  }
  Matrix relevant = Matrix::Zero(rows, (term.relevance.array() > 0.0).count());
  Index column = 0;
  for (Index k = 0; k < X.cols(); ++k)
    if (term.relevance(k) > 0.0) relevant.col(column++).head(X.rows()) = term.relevance(k) * X.col(k);
  return relevant;
}

Matrix term_cross(const KernelTerm& term, ConstBlock U_new, ConstBlock U, Index features) {
  if (term.kind == Kind::network) return network_cross(term.network, U_new, U, features);
  if (is_stationary(term.kind)) return stationary_cross(term.kind, U_new, U, features);
  Matrix kernel(U_new.rows(), U.rows());
  multiply(U_new, Transpose::no, U, Transpose::yes, kernel, 1.0 / static_cast<double>(features));
  return kernel;
}

Vector term_diagonal(const KernelTerm& term, ConstBlock U, Index features) {
  if (term.kind == Kind::network) return KernelDiagonals(term.network, U, features).kernel(term.network);
  if (is_stationary(term.kind)) return Vector::Ones(U.rows());
  return U.rowwise().squaredNorm() / static_cast<double>(features);
}

TermRows::TermRows(const KernelTerm& term, ConstBlock X)
    : rows(relevant_features(term, X, tile_blocks(X.rows()) * tile_size)) {
  if (term.kind == Kind::network) {
    diagonals.emplace(term.network, rows, X.cols());
    diagonal = diagonals->kernel(term.network);
  } else {
    diagonal = term_diagonal(term, rows, X.cols());
  }
}

template <typename Real>
TermTiles<Real>::TermTiles(const KernelTerm& term, TermRows rows, Index features, Index count)
    : kind_(term.kind),
      weight_(static_cast<Real>(term.weight)),
      scale_(static_cast<Real>((kind_ == Kind::network ? term.network.sw2 : 1.0) /
                               static_cast<double>(features))),
      rows_([&] {
        if constexpr (std::is_same_v<Real, float>) {
          if (is_stationary(term.kind))
            rows.rows.topRows(count).rowwise() -= rows.rows.topRows(count).colwise().mean().eval();
          check_range(term, rows, features);
        }
        return SliverRows<Real>(rows.rows);
      }()) {
  if (rows.diagonals) recursion_.emplace(term.network, *rows.diagonals);
}

template <typename Real>
void TermTiles<Real>::evaluate(Index I, Index J, Real* tile) const {
  if (is_stationary(kind_)) {
    squared_distances(rows_, I, rows_, J, scale_, tile);
    map_distances(kind_, tile);
    return;
  }
  multiply_rows(rows_, I, rows_, J, scale_, tile);
  if (!recursion_) return;
  constexpr Index group = KernelRecursion<Real>::most_columns;
  for (Index j = 0; j < tile_size; j += group)
    recursion_->evaluate(J * tile_size + j, group, I * tile_size, tile_size, tile + j * tile_size, tile_size);
}

template <typename Real>
EvaluatedTiles<Real>::EvaluatedTiles(const KernelSum& kernel, ConstBlock X)
    : diagonal_(Vector::Zero(tile_blocks(X.rows()) * tile_size)) {
  terms_.reserve(kernel.terms.size());
  for (const KernelTerm& term : kernel.terms) {
    TermRows rows(term, X);
    diagonal_ += term.weight * rows.diagonal;
    terms_.emplace_back(term, std::move(rows), X.cols(), X.rows());
  }
}

template <typename Real>
void EvaluatedTiles<Real>::evaluate(Index I, Index J, Real* tile) const {
  terms_.front().evaluate(I, J, tile);
  if (const Real weight = terms_.front().weight(); weight != Real(1))
    for (Index i = 0; i < tile_entries; ++i) tile[i] *= weight;
  for (std::size_t k = 1; k < terms_.size(); ++k) add(terms_[k], I, J, tile);
  if (I == J)
    for (Index i = 0; i < tile_size; ++i)
      tile[i * (tile_size + 1)] = static_cast<Real>(diagonal_[I * tile_size + i]);
}

// tile <- tile + weight kappa. By itself, so that one kernel alone has no second tile on the stack.
template <typename Real>
[[gnu::noinline]] void EvaluatedTiles<Real>::add(const TermTiles<Real>& term, Index I, Index J,
                                                 Real* tile) const {
  alignas(64) Real kappa[tile_entries];
  term.evaluate(I, J, kappa);
  const Real weight = term.weight();
  const Real* const entries = kappa;
  lanes::dispatch([=](auto) __attribute__((always_inline)) {
    for (Index i = 0; i < tile_entries; ++i) tile[i] += weight * entries[i];
  });
}

template class TermTiles<double>;
template class TermTiles<float>;
template class EvaluatedTiles<double>;
template class EvaluatedTiles<float>;

}  // namespace gradflow
