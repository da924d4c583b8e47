#include "operators/layered_recursion.h"

#include <algorithm>
#include <cmath>

#include "gradflow/base/parallel.h"
#include "gradflow/operators/dual_activation.h"

namespace gradflow {
namespace {

/// Rows and columns of a tile seen as variables: which variances an activation or layer norm meets.
class Moments {
 public:
  virtual ~Moments() = default;
  /// Applies a layer of kind activation or layer_norm.
  virtual void apply(const Layer& layer, PlaceCovariances& state) = 0;
};

/// Each example with itself: blocks of one column; the variances are K's own, and are recorded.
class OwnMoments final : public Moments {
 public:
  void apply(const Layer& layer, PlaceCovariances& state) override {
    Matrix variance(state.rows, state.places());
    for (Index p = 0; p < state.places(); ++p) variance.col(p) = state.block(state.K, p, p).cwiseMax(0.0);
    state.for_places([&](Index p, Index q) {
      auto K = state.block(state.K, p, q), T = state.block(state.T, p, q);
      for (Index i = 0; i < state.rows; ++i) {
        const double a = variance(i, p), b = variance(i, q);
        if (layer.kind == LayerKind::activation) {
          const double limit = std::sqrt(a) * std::sqrt(b);
          const Dual dual = gradflow::dual(layer.activation, a, b, std::clamp(K(i, 0), -limit, limit));
          K(i, 0) = dual.value;
          T(i, 0) *= dual.derivative;
        } else {
          const double scale = 1.0 / std::sqrt((a + layer_norm_epsilon) * (b + layer_norm_epsilon));
          K(i, 0) *= scale;
          T(i, 0) *= scale;
        }
      }
    });
    recorded.push_back(std::move(variance));
  }
  std::vector<Matrix> recorded;
};

/// Pairs of examples, by the variances recorded of either.
class PairMoments final : public Moments {
 public:
  PairMoments(const std::vector<Matrix>& of_rows, Index row, const std::vector<Matrix>& of_columns,
              Index column)
      : of_rows_(of_rows), of_columns_(of_columns), row_(row), column_(column) {}

  void apply(const Layer& layer, PlaceCovariances& state) override {
    // Variable p rows + i is place p of row i; likewise for columns.
    const Vector a = of_rows_[next_].middleRows(row_, state.rows).reshaped();
    const Vector b = of_columns_[next_].middleRows(column_, state.width).reshaped();
    ++next_;
    if (layer.kind == LayerKind::layer_norm)
      normalise(state, (a.array() + layer_norm_epsilon).rsqrt(), (b.array() + layer_norm_epsilon).rsqrt());
    else
      activate_pairs(layer.activation, state, a, b);
  }

 private:
  /// First variable of the rows that column `variable` of K holds.
  static Index first_row(const PlaceCovariances& state, Index variable) {
    return state.full ? 0 : variable / state.width * state.rows;
  }

  static void normalise(PlaceCovariances& state, const Vector& left, const Vector& right) {
    for (Index variable = 0; variable < state.K.cols(); ++variable) {
      const auto scale = right[variable] * left.segment(first_row(state, variable), state.K.rows()).array();
      state.K.col(variable).array() *= scale;
      state.T.col(variable).array() *= scale;
    }
  }

  static void activate_pairs(const Activation& activation, PlaceCovariances& state, const Vector& a,
                             const Vector& b) {
    const DualActivation dual(activation, a, b);
    const Vector root = a.cwiseSqrt();
    const Index count = state.K.rows();
    Vector value(count), derivative(count), c(count);
    for (Index variable = 0; variable < state.K.cols(); ++variable) {
      const Index first = first_row(state, variable);
      const double other = std::sqrt(b[variable]);
      for (Index i = 0; i < count; ++i) {
        const double limit = root[first + i] * other;
        c[i] = std::clamp(state.K(i, variable), -limit, limit);
      }
      dual.column(variable, first, count, c.data(), value.data(), derivative.data());
      state.K.col(variable) = value;
      state.T.col(variable).array() *= derivative.array();
    }
  }

  const std::vector<Matrix>&of_rows_, &of_columns_;
  Index row_, column_;
  std::size_t next_ = 0;
};

/// from[p][o]: the place of the input that offset o of the patch at place p covers, or -1.
std::vector<std::vector<Index>> patch_table(const Layer& layer, const TensorShape& in,
                                            const TensorShape& out) {
  const bool two = layer.kind == LayerKind::conv2d;
  std::vector<std::vector<Index>> from(static_cast<std::size_t>(out.positions()));
  for (Index y = 0; y < out.height; ++y)
    for (Index x = 0; x < out.width; ++x)
      for (Index a = 0; a < (two ? layer.size : 1); ++a)
        for (Index b = 0; b < layer.size; ++b) {
          const Index from_y = two ? y * layer.stride + a - layer.padding : 0;
          const Index from_x = x * layer.stride + b - layer.padding;
          const bool inside = from_y >= 0 && from_y < in.height && from_x >= 0 && from_x < in.width;
          from[static_cast<std::size_t>(y * out.width + x)].push_back(inside ? from_y * in.width + from_x
                                                                             : -1);
        }
  return from;
}

class Walk {
 public:
  Walk(double sw2, double sb2, Moments& moments) : sw2_(sw2), sb2_(sb2), moments_(moments) {}

  void run(const std::vector<Layer>& layers, PlaceCovariances& state) const {
    for (const Layer& layer : layers) switch (layer.kind) {
        case LayerKind::dense: add_weights(state); break;
        case LayerKind::conv1d:
        case LayerKind::conv2d: convolve(layer, state); break;
        case LayerKind::activation:
        case LayerKind::layer_norm: moments_.apply(layer, state); break;
        case LayerKind::residual: {
          PlaceCovariances inner = state;
          run(layer.inner, inner);
          state.K += inner.K;
          state.T += inner.T;
          break;
        }
        case LayerKind::flatten: average(state, false); break;
        case LayerKind::average_pool: average(state, true); break;
      }
  }

 private:
  // K <- sw2 K + sb2, T <- K + sw2 T
  void add_weights(PlaceCovariances& state) const {
    state.K.array() = sw2_ * state.K.array() + sb2_;
    state.T = state.K + sw2_ * state.T;
  }

  void convolve(const Layer& layer, PlaceCovariances& state) const {
    PlaceCovariances next{.rows = state.rows,
                          .width = state.width,
                          .shape = output_shape(layer, state.shape),
                          .full = state.full};
    const auto from = patch_table(layer, state.shape, next.shape);
    next.set_zero();
    next.for_places([&](Index p, Index q) {
      const auto &at_p = from[static_cast<std::size_t>(p)], &at_q = from[static_cast<std::size_t>(q)];
      auto K = next.block(next.K, p, q), T = next.block(next.T, p, q);
      for (std::size_t o = 0; o < at_p.size(); ++o) {
        if (at_p[o] < 0 || at_q[o] < 0) continue;
        K += state.block(state.K, at_p[o], at_q[o]);
        T += state.block(state.T, at_p[o], at_q[o]);
      }
    });
    const double share = 1.0 / static_cast<double>(from.front().size());
    next.K *= share;
    next.T *= share;
    state = std::move(next);
    add_weights(state);
  }

  // The mean over equal places, or over all pairs of places.
  static void average(PlaceCovariances& state, bool pairs) {
    Matrix K = Matrix::Zero(state.rows, state.width), T = K;
    double count = 0.0;
    state.for_places([&](Index p, Index q) {
      if (!pairs && p != q) return;
      K += state.block(state.K, p, q);
      T += state.block(state.T, p, q);
      count += 1.0;
    });
    state.K = K / count;
    state.T = T / count;
    state.shape = {.channels = state.shape.channels};
  }

  double sw2_, sb2_;
  Moments& moments_;
};

/// K_0 between places; X is n x (channels places), columns in C order.
Matrix at_place(ConstBlock X, const TensorShape& shape, Index place) {
  Matrix at(X.rows(), shape.channels);
  for (Index c = 0; c < shape.channels; ++c) at.col(c) = X.col(c * shape.positions() + place);
  return at;
}

}  // namespace

LayeredRecursion::LayeredRecursion(const LayeredKernel& kernel, Index inputs)
    : kernel_(kernel),
      sw2_(kernel.architecture.sw2),
      sb2_(kernel.architecture.bias ? kernel.architecture.sb2 : 0.0),
      input_(kernel.architecture.input_shape(inputs)) {
  for (const Layer& layer : kernel.architecture.layers)
    full_ = full_ || layer.kind == LayerKind::average_pool;
  TensorShape shape = input_;
  for (const Layer& layer : kernel.architecture.layers) {
    const Index places = shape.positions();
    entries_ = std::max(entries_, full_ ? places * places : places);
    shape = output_shape(layer, shape);
  }
}

LayeredRecursion::Marginals LayeredRecursion::marginals(ConstBlock X) const {
  constexpr Index rows_per_task = 16;
  const Index n = X.rows(), tasks = (n + rows_per_task - 1) / rows_per_task;
  Marginals result;
  result.kernel.resize(n);
  std::vector<std::vector<Matrix>> parts(static_cast<std::size_t>(tasks));
  parallel_for(n, rows_per_task, [&](Index begin, Index end) {
    PlaceCovariances state{.rows = end - begin, .width = 1, .shape = input_, .full = full_};
    state.set_zero();
    const double share = 1.0 / static_cast<double>(input_.channels);
    std::vector<Matrix> at;
    for (Index p = 0; p < input_.positions(); ++p)
      at.push_back(at_place(X.middleRows(begin, end - begin), input_, p));
    state.for_places([&](Index p, Index q) {
      state.block(state.K, p, q) =
          share *
          at[static_cast<std::size_t>(p)].cwiseProduct(at[static_cast<std::size_t>(q)]).rowwise().sum();
    });
    OwnMoments moments;
    Walk(sw2_, sb2_, moments).run(kernel_.architecture.layers, state);
    const bool tangent = kernel_.kind == InfiniteArchitecture::KernelKind::ntk;
    result.kernel.segment(begin, end - begin) = (tangent ? state.T : state.K).col(0);
    parts[static_cast<std::size_t>(begin / rows_per_task)] = std::move(moments.recorded);
  });
  if (tasks == 0) return result;
  for (std::size_t k = 0; k < parts.front().size(); ++k) {
    Matrix all(n, parts.front()[k].cols());
    for (Index t = 0; t < tasks; ++t) {
      const Matrix& part = parts[static_cast<std::size_t>(t)][k];
      all.middleRows(t * rows_per_task, part.rows()) = part;
    }
    result.variances.push_back(std::move(all));
  }
  return result;
}

Matrix LayeredRecursion::tile(ConstBlock X, const Marginals& of_X, Index row, Index rows, ConstBlock Y,
                              const Marginals& of_Y, Index column, Index columns) const {
  PlaceCovariances state{.rows = rows, .width = columns, .shape = input_, .full = full_};
  state.set_zero();
  const double share = 1.0 / static_cast<double>(input_.channels);
  std::vector<Matrix> left, right;
  for (Index p = 0; p < input_.positions(); ++p) {
    left.push_back(at_place(X.middleRows(row, rows), input_, p));
    right.push_back(share * at_place(Y.middleRows(column, columns), input_, p));
  }
  state.for_places([&](Index p, Index q) {
    state.block(state.K, p, q).noalias() =
        left[static_cast<std::size_t>(p)] * right[static_cast<std::size_t>(q)].transpose();
  });
  PairMoments moments(of_X.variances, row, of_Y.variances, column);
  Walk(sw2_, sb2_, moments).run(kernel_.architecture.layers, state);
  return kernel_.kind == InfiniteArchitecture::KernelKind::ntk ? std::move(state.T) : std::move(state.K);
}

}  // namespace gradflow
