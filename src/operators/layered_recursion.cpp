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

/// Each example with itself: one column per block; the variances are K's own, and are recorded.
class OwnMoments final : public Moments {
 public:
  void apply(const Layer& layer, PlaceCovariances& state) override {
    const Index places = state.shape.positions(), n = state.K.rows();
    Matrix variance(n, places);
    for (Index p = 0; p < places; ++p) variance.col(p) = state.K.col(state.block(p, p)).cwiseMax(0.0);
    for (Index p = 0; p < places; ++p)
      for (Index q = state.full ? 0 : p; q < (state.full ? places : p + 1); ++q) {
        const Index column = state.block(p, q);
        for (Index i = 0; i < n; ++i) {
          const double a = variance(i, p), b = variance(i, q);
          double &K = state.K(i, column), &T = state.T(i, column);
          if (layer.kind == LayerKind::activation) {
            const double limit = std::sqrt(a) * std::sqrt(b);
            const Dual dual = gradflow::dual(layer.activation, a, b, std::clamp(K, -limit, limit));
            K = dual.value;
            T *= dual.derivative;
          } else {
            const double scale = 1.0 / std::sqrt((a + layer_norm_epsilon) * (b + layer_norm_epsilon));
            K *= scale;
            T *= scale;
          }
        }
      }
    recorded.push_back(std::move(variance));
  }
  std::vector<Matrix> recorded;
};

/// Pairs of examples, by the variances recorded of either.
class PairMoments final : public Moments {
 public:
  PairMoments(const std::vector<Matrix>& of_rows, Index row, Index rows,
              const std::vector<Matrix>& of_columns, Index column, Index columns)
      : of_rows_(of_rows),
        of_columns_(of_columns),
        row_(row),
        rows_(rows),
        column_(column),
        columns_(columns) {}

  void apply(const Layer& layer, PlaceCovariances& state) override {
    // Variable p rows + i is place p of row i; likewise for columns.
    const Vector a = of_rows_[next_].middleRows(row_, rows_).reshaped();
    const Vector b = of_columns_[next_].middleRows(column_, columns_).reshaped();
    ++next_;
    const Index places = state.shape.positions();
    if (layer.kind == LayerKind::layer_norm) {
      const Vector left = (a.array() + layer_norm_epsilon).rsqrt(),
                   right = (b.array() + layer_norm_epsilon).rsqrt();
      for_columns(state, places, [&](Index column, Index p, Index variable) {
        const auto scale = right[variable] * left.segment(p * rows_, rows_).array();
        state.K.col(column).array() *= scale;
        state.T.col(column).array() *= scale;
      });
      return;
    }
    const DualActivation dual(layer.activation, a, b);
    Vector value(rows_), derivative(rows_), c(rows_);
    for_columns(state, places, [&](Index column, Index p, Index variable) {
      const auto limit = (a.segment(p * rows_, rows_).array().sqrt() * std::sqrt(b[variable])).eval();
      c = state.K.col(column).array().min(limit).max(-limit);
      dual.column(variable, p * rows_, rows_, c.data(), value.data(), derivative.data());
      state.K.col(column) = value;
      state.T.col(column).array() *= derivative.array();
    });
  }

 private:
  /// use(column of K, place of the rows, variable of the columns)
  template <typename Use>
  void for_columns(const PlaceCovariances& state, Index places, const Use& use) const {
    for (Index p = 0; p < places; ++p)
      for (Index q = state.full ? 0 : p; q < (state.full ? places : p + 1); ++q)
        for (Index j = 0; j < columns_; ++j) use(state.block(p, q) * columns_ + j, p, q * columns_ + j);
  }

  const std::vector<Matrix>&of_rows_, &of_columns_;
  Index row_, rows_, column_, columns_;
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
    PlaceCovariances next{
        .width = state.width, .shape = output_shape(layer, state.shape), .full = state.full};
    const auto from = patch_table(layer, state.shape, next.shape);
    next.K = next.T = Matrix::Zero(state.K.rows(), next.blocks() * next.width);
    const Index places = next.shape.positions(), width = next.width;
    for (Index p = 0; p < places; ++p)
      for (Index q = next.full ? 0 : p; q < (next.full ? places : p + 1); ++q) {
        const auto &at_p = from[static_cast<std::size_t>(p)], &at_q = from[static_cast<std::size_t>(q)];
        const Index to = next.block(p, q) * width;
        for (std::size_t o = 0; o < at_p.size(); ++o) {
          if (at_p[o] < 0 || at_q[o] < 0) continue;
          const Index source = state.block(at_p[o], at_q[o]) * width;
          next.K.middleCols(to, width) += state.K.middleCols(source, width);
          next.T.middleCols(to, width) += state.T.middleCols(source, width);
        }
      }
    const double share = 1.0 / static_cast<double>(from.front().size());
    next.K *= share;
    next.T *= share;
    state = std::move(next);
    add_weights(state);
  }

  // The mean over equal places, or over all pairs of places.
  static void average(PlaceCovariances& state, bool pairs) {
    const Index places = state.shape.positions(), width = state.width;
    Matrix K = Matrix::Zero(state.K.rows(), width), T = K;
    double count = 0.0;
    for (Index p = 0; p < places; ++p)
      for (Index q = pairs ? 0 : p; q < (pairs ? places : p + 1); ++q, count += 1.0) {
        K += state.K.middleCols(state.block(p, q) * width, width);
        T += state.T.middleCols(state.block(p, q) * width, width);
      }
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
    const Index rows = end - begin, places = input_.positions();
    PlaceCovariances state{.width = 1, .shape = input_, .full = full_};
    state.K.resize(rows, state.blocks());
    const double share = 1.0 / static_cast<double>(input_.channels);
    for (Index p = 0; p < places; ++p) {
      const Matrix at_p = at_place(X.middleRows(begin, rows), input_, p);
      for (Index q = full_ ? 0 : p; q < (full_ ? places : p + 1); ++q)
        state.K.col(state.block(p, q)) =
            share * at_p.cwiseProduct(at_place(X.middleRows(begin, rows), input_, q)).rowwise().sum();
    }
    state.T = Matrix::Zero(state.K.rows(), state.K.cols());
    OwnMoments moments;
    Walk(sw2_, sb2_, moments).run(kernel_.architecture.layers, state);
    const bool tangent = kernel_.kind == InfiniteArchitecture::KernelKind::ntk;
    result.kernel.segment(begin, rows) = (tangent ? state.T : state.K).col(0);
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
  PlaceCovariances state{.width = columns, .shape = input_, .full = full_};
  state.K.resize(rows, state.blocks() * columns);
  const double share = 1.0 / static_cast<double>(input_.channels);
  const Index places = input_.positions();
  std::vector<Matrix> right;
  for (Index q = 0; q < places; ++q)
    right.push_back(share * at_place(Y.middleRows(column, columns), input_, q));
  for (Index p = 0; p < places; ++p) {
    const Matrix left = at_place(X.middleRows(row, rows), input_, p);
    for (Index q = full_ ? 0 : p; q < (full_ ? places : p + 1); ++q)
      state.K.middleCols(state.block(p, q) * columns, columns).noalias() =
          left * right[static_cast<std::size_t>(q)].transpose();
  }
  state.T = Matrix::Zero(state.K.rows(), state.K.cols());
  PairMoments moments(of_X.variances, row, rows, of_Y.variances, column, columns);
  Walk(sw2_, sb2_, moments).run(kernel_.architecture.layers, state);
  return kernel_.kind == InfiniteArchitecture::KernelKind::ntk ? std::move(state.T) : std::move(state.K);
}

}  // namespace gradflow
