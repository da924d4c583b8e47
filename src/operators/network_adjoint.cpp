#include <algorithm>
#include <utility>
#include <vector>

#include "gradflow/operators/dual_activation.h"
#include "operators/kernel_lanes.h"
#include "operators/kernel_slopes.h"
#include "operators/pair_adjoint.h"

namespace gradflow {
namespace {

using KernelKind = InfiniteArchitecture::KernelKind;

/// The variances K_{l-1}(x, x) below layer l as its dual needs them.
struct Layer {
  DualActivation dual;
  Vector K;                        ///< padded rows
  Vector variance, root, inverse;  ///< see pairs::Marginal
  Vector V, D;                     ///< the duals at a = b = c
  Vector T;                        ///< T_{l-1}(x, x)
};

/// One column of a tile, layer by layer: c = K_{l-1}, t = T_{l-1}, V and D of layer l.
struct Column {
  explicit Column(Index depth)
      : K(tile_size, depth + 1), T(tile_size, depth + 1), V(tile_size, depth), D(tile_size, depth) {}
  Matrix K, T, V, D;
};

/// What one layer's step back reads and changes for the rows of a tile.
struct Step {
  const double *variance, *root, *inverse;  ///< of the row variables
  pairs::Marginal<double> column;
  double sw2;
  const double *c, *t, *V, *D;
  double *K_adjoint, *T_adjoint, *row_adjoint, *column_adjoint, *sw2_sum, *sb2_sum;
};

/// From (K_l', T_l') to (K_{l-1}', T_{l-1}') and the adjoints of the two variances below layer l. Results
/// wait in arrays of their own: a loop that may overwrite what it reads does not vectorise.
template <bool tangent, typename Pair>
[[gnu::always_inline]] inline void step_back(const Pair& pair, const Step& step) {
  alignas(64) double K_next[tile_size], T_next[tile_size], row_part[tile_size], column_part[tile_size];
  const Pair formula = pair;
  const Step s = step;
  for (Index i = 0; i < tile_size; ++i) {
    const pairs::Marginal<double> row{s.variance[i], s.root[i], s.inverse[i]};
    const double V = s.V[i], D = s.D[i], K = s.K_adjoint[i];
    const pairs::Slopes slopes = pairs::slopes(formula, row, s.column, s.c[i], V, D);
    const double T = tangent ? s.T_adjoint[i] : 0.0, lever = tangent ? T * s.t[i] : 0.0;
    row_part[i] = s.sw2 * (K * slopes.V_a + lever * slopes.D_a);
    column_part[i] = s.sw2 * (K * slopes.V_b + lever * slopes.D_b);
    T_next[i] = s.sw2 * T * D;
    K_next[i] = s.sw2 * (K * D + lever * slopes.D_c) + T_next[i];
  }
  for (Index i = 0; i < tile_size; ++i) {
    s.sw2_sum[i] += s.K_adjoint[i] * s.V[i] + (tangent ? s.T_adjoint[i] * s.t[i] * s.D[i] : 0.0);
    s.sb2_sum[i] += s.K_adjoint[i];
  }
  for (Index i = 0; i < tile_size; ++i) s.row_adjoint[i] += row_part[i];
  std::copy_n(column_part, tile_size, s.column_adjoint);
  std::copy_n(K_next, tile_size, s.K_adjoint);
  if (tangent) std::copy_n(T_next, tile_size, s.T_adjoint);
}

class NetworkAdjoint final : public PairAdjoint {
 public:
  NetworkAdjoint(const InfiniteArchitecture& network, Vector squares);

 private:
  void do_evaluate(Index I, Index J, double* tile) const override;
  void do_reverse(Index I, Index J, const double* products, double* W, Sums& sums) override;
  void do_reverse_diagonal(ConstVector w, Totals& totals) override;

  void go_forward(Index I, Index column, const double* products, Column& values) const;
  /// W: the column's adjoint of the kernel, then of the products.
  void go_back(Index I, Index column, const double* products, const Column& values, double* W, Sums& sums);

  InfiniteArchitecture network_;
  bool tangent_;
  std::vector<Layer> layers_;
};

NetworkAdjoint::NetworkAdjoint(const InfiniteArchitecture& network, Vector squares)
    : PairAdjoint(std::move(squares), std::max<Index>(1, network.depth)),
      network_(network),
      tangent_(network.kind == KernelKind::ntk) {
  Vector K = (network.sw2 * squares_.array() + network.sb2).matrix(), T = K;
  const Index n = K.size();
  for (Index l = 0; l < network.depth; ++l) {
    Layer layer{DualActivation(network.activation, K), K, Vector(n), Vector(n), Vector(n), {}, {}, T};
    pairs::visit<double>(network.activation, [&](const auto& pair, auto) {
      for (Index i = 0; i < n; ++i) {
        const pairs::Marginal<double> marginal = pair.marginal(K[i]);
        layer.variance[i] = marginal.variance;
        layer.root[i] = marginal.root;
        layer.inverse[i] = marginal.inverse;
      }
    });
    layer.dual.diagonal(layer.V, layer.D);
    K = (network.sw2 * layer.V.array() + network.sb2).matrix();
    T = K + network.sw2 * T.cwiseProduct(layer.D);
    layers_.push_back(std::move(layer));
  }
  kernel_diagonal_ = tangent_ ? T : K;
}

void NetworkAdjoint::do_evaluate(Index I, Index J, double* tile) const {
  constexpr Index group = 8, entries = group * tile_size;
  const double sw2 = network_.sw2, sb2 = network_.sb2;
  alignas(64) double T[entries];
  for (Index j = 0; j < tile_size; j += group) {
    double* const K = tile + j * tile_size;
    for (Index i = 0; i < entries; ++i) T[i] = K[i] = sw2 * K[i] + sb2;
    for (const Layer& layer : layers_)
      layer.dual.advance(J * tile_size + j, group, I * tile_size, tile_size, sw2, sb2, K, T);
    if (tangent_) std::copy_n(T, entries, K);
  }
}

void NetworkAdjoint::go_forward(Index I, Index column, const double* products, Column& values) const {
  const double sw2 = network_.sw2, sb2 = network_.sb2;
  const Eigen::Map<const Vector> g(products, tile_size);
  values.K.col(0) = values.T.col(0) = (sw2 * g.array() + sb2).matrix();
  for (Index l = 0; l < network_.depth; ++l) {
    layers_[static_cast<std::size_t>(l)].dual.column(column, I * tile_size, tile_size, values.K.col(l).data(),
                                                     values.V.col(l).data(), values.D.col(l).data());
    values.K.col(l + 1) = (sw2 * values.V.col(l).array() + sb2).matrix();
    if (tangent_)
      values.T.col(l + 1) = values.K.col(l + 1) + sw2 * values.T.col(l).cwiseProduct(values.D.col(l));
  }
}

void NetworkAdjoint::go_back(Index I, Index column, const double* products, const Column& values, double* W,
                             Sums& sums) {
  alignas(64) double K_adjoint[tile_size], T_adjoint[tile_size], column_adjoint[tile_size];
  const double* const kernel = (tangent_ ? values.T : values.K).col(network_.depth).data();
  for (Index i = 0; i < tile_size; ++i) {
    sums.value[i] += W[i] * kernel[i];
    K_adjoint[i] = W[i];  // T_l = K_l + ..., so that T_l' is part of K_l'
    T_adjoint[i] = tangent_ ? W[i] : 0.0;
  }
  for (Index l = network_.depth; l-- > 0;) {
    const Layer& layer = layers_[static_cast<std::size_t>(l)];
    const Step step{layer.variance.data() + I * tile_size,
                    layer.root.data() + I * tile_size,
                    layer.inverse.data() + I * tile_size,
                    {layer.variance[column], layer.root[column], layer.inverse[column]},
                    network_.sw2,
                    values.K.col(l).data(),
                    values.T.col(l).data(),
                    values.V.col(l).data(),
                    values.D.col(l).data(),
                    K_adjoint,
                    T_adjoint,
                    &variance_adjoint_(I * tile_size, l),
                    column_adjoint,
                    sums.sw2,
                    sums.sb2};
    pairs::visit<double>(network_.activation, [&](const auto& pair, auto) {
      lanes::dispatch([&](auto) __attribute__((always_inline)) {
        if (tangent_)
          step_back<true>(pair, step);
        else
          step_back<false>(pair, step);
      });
    });
    variance_adjoint_(column, l) += sum(column_adjoint);
  }
  for (Index i = 0; i < tile_size; ++i) {
    sums.sw2[i] += K_adjoint[i] * products[i];
    sums.sb2[i] += K_adjoint[i];
    W[i] = network_.sw2 * K_adjoint[i];
  }
}

void NetworkAdjoint::do_reverse(Index I, Index J, const double* products, double* W, Sums& sums) {
  Column values(network_.depth);
  for (Index j = 0; j < tile_size; ++j) {
    const Index column = J * tile_size + j, at = j * tile_size;
    go_forward(I, column, products + at, values);
    go_back(I, column, products + at, values, W + at, sums);
  }
}

/// The same along a = b = c, where the slopes add up, with what pairs gave to the variances on the way.
void NetworkAdjoint::do_reverse_diagonal(ConstVector w, Totals& totals) {
  const double sw2 = network_.sw2;
  const Index n = w.size();
  Vector K = w, T = tangent_ ? Vector(w) : Vector::Zero(n);
  for (Index l = network_.depth; l-- > 0;) {
    const Layer& layer = layers_[static_cast<std::size_t>(l)];
    pairs::visit<double>(network_.activation, [&](const auto& pair, auto) {
      for (Index i = 0; i < n; ++i) {
        const pairs::Marginal<double> a = pair.marginal(layer.K[i]);
        const pairs::Slopes s = pairs::slopes(pair, a, a, layer.K[i], layer.V[i], layer.D[i]);
        const double lever = T[i] * layer.T[i];
        totals.sw2 += K[i] * layer.V[i] + lever * layer.D[i];
        totals.sb2 += K[i];
        T[i] *= sw2 * layer.D[i];
        K[i] = sw2 * (K[i] * (layer.D[i] + s.V_a + s.V_b) + lever * (s.D_c + s.D_a + s.D_b)) + T[i] +
               variance_adjoint_(i, l);
      }
    });
  }
  totals.sw2 += K.dot(squares_.head(n));
  totals.sb2 += K.sum();
  variance_adjoint_.col(0).head(n) = sw2 * K;
}

}  // namespace

std::unique_ptr<PairAdjoint> make_network_adjoint(const InfiniteArchitecture& network, Vector squares) {
  return std::make_unique<NetworkAdjoint>(network, std::move(squares));
}

}  // namespace gradflow
