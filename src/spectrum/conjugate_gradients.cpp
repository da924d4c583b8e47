#include "gradflow/spectrum/conjugate_gradients.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "gradflow/base/error.h"

namespace gradflow {
namespace {

// What the recurrence of one column leaves: scalars.
struct Column {
  Index index = 0;                        // of B
  double start = 0.0, tolerance = 0.0;    // |b|^2, of |r|/|b|
  double square = 0.0;                    // |r|^2
  bool root = false;                      // A^-1/2 b is wanted
  std::vector<double> steps{}, ratios{};  // a_j, b_j
  std::vector<Vector> basis{};            // of a root: r_j / |r_j|, with alternating signs
};

// T_k of A: 1/a_j + b_{j-1}/a_{j-1} on the diagonal, sqrt(b_j)/a_j beside it.
Tridiagonal tridiagonal_of(const Column& column) {
  const auto k = static_cast<Index>(column.steps.size());
  Tridiagonal T{Vector(k), Vector(std::max<Index>(0, k - 1)), 0.0};
  for (Index j = 0; j < k; ++j) {
    const auto at = static_cast<std::size_t>(j);
    T.diagonal(j) = 1.0 / column.steps[at];
    if (j > 0) T.diagonal(j) += column.ratios[at - 1] / column.steps[at - 1];
    if (j + 1 < k) T.off_diagonal(j) = std::sqrt(column.ratios[at]) / column.steps[at];
  }
  return T;
}

// |b| Q T^-1/2 e_1
Vector root_of(const Column& column, const Tridiagonal& T, Index n) {
  Vector x = Vector::Zero(n);
  if (T.size() == 0) return x;
  const Ritz pairs = ritz(T);
  const Vector first = pairs.vectors.row(0).transpose();
  const Vector coefficients =
      std::sqrt(column.start) * pairs.vectors * pairs.values.array().rsqrt().matrix().cwiseProduct(first);
  for (Index j = 0; j < T.size(); ++j) x += coefficients(j) * column.basis[static_cast<std::size_t>(j)];
  return x;
}

class Recurrences {
 public:
  Recurrences(ConstBlock B, const Vector& tolerances, Index roots) : R_(B), D_(B), AD_(B.rows(), B.cols()) {
    solution_.X = Matrix::Zero(B.rows(), B.cols());
    solution_.lanczos.resize(static_cast<std::size_t>(B.cols()));
    solution_.residual = 0.0;
    for (Index j = 0; j < B.cols(); ++j) columns_.push_back({j, R_.col(j).squaredNorm(), tolerances(j)});
    for (Column& column : columns_) {
      column.square = column.start;
      column.root = column.index >= B.cols() - roots;
    }
    let_go();
  }

  bool done() const noexcept { return columns_.empty() || !solution_.definite; }

  void step(const std::function<void(ConstBlock, Block)>& apply) {
    const auto width = static_cast<Index>(columns_.size());
    apply(D_.leftCols(width), AD_.leftCols(width));
    ++solution_.iterations;
    for (Index c = 0; c < width; ++c) {
      Column& column = columns_[static_cast<std::size_t>(c)];
      const double curvature = D_.col(c).dot(AD_.col(c));
      if (!(curvature > 0.0) || !std::isfinite(curvature)) {
        solution_.definite = false;
        return;
      }
      const double a = column.square / curvature;
      if (column.root)
        column.basis.emplace_back((column.steps.size() % 2 == 0 ? 1.0 : -1.0) / std::sqrt(column.square) *
                                  R_.col(c));
      else
        solution_.X.col(column.index) += a * D_.col(c);
      R_.col(c) -= a * AD_.col(c);
      const double square = R_.col(c).squaredNorm(), b = square / column.square;
      D_.col(c) = R_.col(c) + b * D_.col(c);
      column.steps.push_back(a);
      column.ratios.push_back(b);
      column.square = square;
    }
    let_go();
  }

  BlockSolution finish() {
    solution_.converged = columns_.empty() && solution_.definite;
    for (const Column& column : columns_) release(column);
    return std::move(solution_);
  }

 private:
  void release(const Column& column) {
    const Tridiagonal T = tridiagonal_of(column);
    if (column.root) solution_.X.col(column.index) = root_of(column, T, R_.rows());
    solution_.lanczos[static_cast<std::size_t>(column.index)] = T;
    if (column.start > 0.0)
      solution_.residual = std::max(solution_.residual, std::sqrt(column.square / column.start));
  }

  // Columns that met the tolerance leave; the others move to the front.
  void let_go() {
    std::size_t kept = 0;
    for (std::size_t c = 0; c < columns_.size(); ++c) {
      if (columns_[c].square <= columns_[c].tolerance * columns_[c].tolerance * columns_[c].start) {
        release(columns_[c]);
        continue;
      }
      if (kept != c) {
        R_.col(static_cast<Index>(kept)) = R_.col(static_cast<Index>(c));
        D_.col(static_cast<Index>(kept)) = D_.col(static_cast<Index>(c));
        columns_[kept] = std::move(columns_[c]);
      }
      ++kept;
    }
    columns_.resize(kept);
  }

  Matrix R_, D_, AD_;  // residuals, directions and their products, of `columns_` from the left
  BlockSolution solution_;
  std::vector<Column> columns_;
};

}  // namespace

BlockSolution conjugate_gradients(const std::function<void(ConstBlock X, Block Y)>& apply, ConstBlock B,
                                  const ConjugateGradientOptions& options) {
  require(options.tolerance > 0.0 && (options.tolerances.array() > 0.0).all(),
          "tolerance of conjugate gradients", options.tolerance, "must be positive");
  require(options.max_iterations >= 1, "iterations of conjugate gradients", options.max_iterations,
          "must be at least 1");
  require(B.allFinite(), "right-hand sides", "NaN or infinity", "must be finite");
  const Vector tolerances = options.tolerances.size() > 0
                                ? options.tolerances
                                : Vector(Vector::Constant(B.cols(), options.tolerance));
  require(tolerances.size() == B.cols(), "tolerances of conjugate gradients", tolerances.size(),
          "must be one for each column");
  require(options.roots >= 0 && options.roots <= B.cols(), "columns whose roots are wanted", options.roots,
          "must not exceed the number of columns");
  Recurrences recurrences(B, tolerances, options.roots);
  for (Index k = 0; k < options.max_iterations && !recurrences.done(); ++k) recurrences.step(apply);
  return recurrences.finish();
}

}  // namespace gradflow
