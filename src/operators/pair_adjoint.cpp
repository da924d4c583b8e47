#include "operators/pair_adjoint.h"

#include <utility>

#include "operators/kernel_lanes.h"
#include "operators/radial_kernels.h"

namespace gradflow {

PairAdjoint::PairAdjoint(Vector squares, Index levels)
    : squares_(std::move(squares)),
      variance_adjoint_(Matrix::Zero(squares_.size(), levels)),
      tile_totals_(Matrix::Zero(3, squares_.size() / tile_size)) {}

double PairAdjoint::sum(const double* rows) {
  constexpr Index width = 16;
  double lanes[width] = {};
  for (Index i = 0; i < tile_size; i += width)
    for (Index k = 0; k < width; ++k) lanes[k] += rows[i + k];
  for (Index half = width / 2; half > 0; half /= 2)
    for (Index k = 0; k < half; ++k) lanes[k] += lanes[k + half];
  return lanes[0];
}

void PairAdjoint::evaluate(Index I, Index J, double* tile) const {
  do_evaluate(I, J, tile);
  if (I == J)
    for (Index i = 0; i < tile_size; ++i) tile[i * (tile_size + 1)] = kernel_diagonal_[I * tile_size + i];
}

void PairAdjoint::reverse(Index I, Index J, const double* products, double* W) {
  Sums sums;
  do_reverse(I, J, products, W, sums);
  tile_totals_.col(I) += Eigen::Vector3d(sum(sums.value), sum(sums.sw2), sum(sums.sb2));
}

void PairAdjoint::reverse_diagonal(ConstVector w) {
  diagonal_totals_ = {};
  diagonal_totals_.value = w.dot(kernel_diagonal_.head(w.size()));
  do_reverse_diagonal(w, diagonal_totals_);
}

PairAdjoint::Totals PairAdjoint::totals() const {
  Totals all = diagonal_totals_;
  for (Index I = 0; I < tile_totals_.cols(); ++I) {
    all.value += tile_totals_(0, I);
    all.sw2 += tile_totals_(1, I);
    all.sb2 += tile_totals_(2, I);
  }
  return all;
}

namespace {

class LinearAdjoint final : public PairAdjoint {
 public:
  explicit LinearAdjoint(Vector squares) : PairAdjoint(std::move(squares), 1) { kernel_diagonal_ = squares_; }

 private:
  void do_evaluate(Index, Index, double*) const override {}
  void do_reverse(Index, Index, const double* products, double* W, Sums& sums) override {
    for (Index j = 0; j < tile_size; ++j)
      for (Index i = 0; i < tile_size; ++i)
        sums.value[i] += W[j * tile_size + i] * products[j * tile_size + i];
  }
  void do_reverse_diagonal(ConstVector w, Totals&) override { variance_adjoint_.col(0).head(w.size()) += w; }
};

/// z = a + b - 2c: the adjoints of a, b and c are B, B and -2B with B = W k'(z).
template <typename Kernel>
[[gnu::always_inline]] inline void reverse_radial(Kernel kernel, Index j, const double* __restrict products,
                                                  const double* __restrict squares, double column_square,
                                                  double* __restrict W, double* __restrict value,
                                                  double* __restrict row_adjoint, double* __restrict slopes) {
  for (Index i = 0; i < tile_size; ++i) {
    const double w = W[j * tile_size + i];
    const radial::Value at =
        kernel(radial::squared_distance(squares[i], column_square, products[j * tile_size + i]));
    const double B = w * at.slope;
    value[i] += w * at.k;
    row_adjoint[i] += B;
    slopes[i] = B;
    W[j * tile_size + i] = -2.0 * B;
  }
}

class RadialAdjoint final : public PairAdjoint {
 public:
  RadialAdjoint(KernelTerm::Kind kind, Vector squares) : PairAdjoint(std::move(squares), 1), kind_(kind) {
    kernel_diagonal_ = Vector::Ones(squares_.size());
  }

 private:
  void do_evaluate(Index I, Index J, double* tile) const override {
    const double* const squares = squares_.data() + I * tile_size;
    radial::visit(kind_, [&](const auto& kernel) {
      for (Index j = 0; j < tile_size; ++j) {
        const double column = squares_[J * tile_size + j];
        double* const entries = tile + j * tile_size;
        lanes::dispatch([&](auto) __attribute__((always_inline)) {
          for (Index i = 0; i < tile_size; ++i)
            entries[i] = kernel(radial::squared_distance(squares[i], column, entries[i])).k;
        });
      }
    });
  }
  void do_reverse(Index I, Index J, const double* products, double* W, Sums& sums) override {
    alignas(64) double slopes[tile_size], row_adjoint[tile_size] = {};
    radial::visit(kind_, [&](const auto& kernel) {
      for (Index j = 0; j < tile_size; ++j) {
        const Index column = J * tile_size + j;
        lanes::dispatch([&](auto) __attribute__((always_inline)) {
          reverse_radial(kernel, j, products, squares_.data() + I * tile_size, squares_[column], W,
                         sums.value, row_adjoint, slopes);
        });
        variance_adjoint_(column, 0) += sum(slopes);
      }
    });
    variance_adjoint_.col(0).segment<tile_size>(I * tile_size) +=
        Eigen::Map<const Eigen::Matrix<double, tile_size, 1>>(row_adjoint);
  }
  void do_reverse_diagonal(ConstVector, Totals&) override {}  // k(0) = 1 whatever the features

  KernelTerm::Kind kind_;
};

}  // namespace

std::unique_ptr<PairAdjoint> make_pair_adjoint(const KernelTerm& term, Vector squares) {
  switch (term.kind) {
    case KernelTerm::Kind::network: return make_network_adjoint(term.network, std::move(squares));
    case KernelTerm::Kind::linear: return std::make_unique<LinearAdjoint>(std::move(squares));
    default: return std::make_unique<RadialAdjoint>(term.kind, std::move(squares));
  }
}

}  // namespace gradflow
