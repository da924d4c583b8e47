#include <algorithm>
#include <utility>

#include "gradflow/base/linear_algebra.h"
#include "gradflow/base/parallel.h"
#include "operators/jacobian_passes.h"
#include "operators/layer_gradients.h"

namespace gradflow {
namespace {

/// Rows of D, one block of examples after another, times v.
void scale_examples(Matrix& D, ConstVector v) {
  for (Index begin = 0; begin < D.rows(); begin += v.size())
    D.middleRows(begin, v.size()).array().colwise() *= v.array();
}

class LayeredPasses final : public JacobianPasses {
 public:
  LayeredPasses(const LayeredNetwork& network, ConstBlock X, Kept kept)
      : network_(network), X_(X), block_(network.block_rows()) {
    const Index blocks = (X.rows() + block_ - 1) / block_;
    group_ = std::max<Index>(1, (blocks + wanted_groups - 1) / wanted_groups) * block_;
    if (kept == Kept::sweeps) kept_.resize(static_cast<std::size_t>(blocks));
  }

  Matrix pull(ConstBlock V) const override {
    Matrix total = Matrix::Zero(network_.parameters().count(), V.cols());
    const Index groups = (X_.rows() + group_ - 1) / group_;
    const Index round = std::min<Index>(threads(), groups);
    std::vector<Matrix> sums(static_cast<std::size_t>(round));
    const SerialBlas serial;
    for (Index first = 0; first < groups; first += round) {
      const Index count = std::min(round, groups - first);
      parallel_for(count, 1, [&](Index g, Index) {
        Matrix& sum = sums[static_cast<std::size_t>(g)];
        sum.setZero(total.rows(), total.cols());
        const Index end = std::min(X_.rows(), (first + g + 1) * group_);
        for (Index begin = (first + g) * group_; begin < end; begin += block_)
          pull_block(begin, V.middleRows(begin, std::min(block_, end - begin)), sum);
      });
      for (Index g = 0; g < count; ++g) total += sums[static_cast<std::size_t>(g)];
    }
    return total;
  }

  void push(Matrix U, Block Y) const override {
    const SerialBlas serial;
    parallel_for(X_.rows(), block_, [&](Index begin, Index end) {
      with_sweep(begin, end,
                 [&](const Sweep& sweep) { push_block(sweep, U, Y.middleRows(begin, end - begin)); });
    });
  }

  void first_pass(Vector& output, Vector& squared_norms) override {
    output.resize(X_.rows());
    squared_norms = Vector::Zero(X_.rows());
    const SerialBlas serial;
    parallel_for(X_.rows(), block_, [&](Index begin, Index end) {
      Sweep sweep = network_.sweep(X_.middleRows(begin, end - begin));
      output.segment(begin, end - begin) = sweep.output;
      for (Index l = 0; l < network_.layers(); ++l)
        squared_norms.segment(begin, end - begin) +=
            squared_layer_gradients(sweep.layers[static_cast<std::size_t>(l)], end - begin,
                                    network_.weight_scale(l), network_.bias_scale());
      if (!kept_.empty()) kept_[static_cast<std::size_t>(begin / block_)] = std::move(sweep);
    });
  }

  Matrix features(const std::vector<Index>& rows) const override { return X_(rows, Eigen::all); }

 private:
  template <typename Use>
  void with_sweep(Index begin, Index end, const Use& use) const {
    if (!kept_.empty())
      use(kept_[static_cast<std::size_t>(begin / block_)]);
    else
      use(network_.sweep(X_.middleRows(begin, end - begin)));
  }

  // sum += J_block' V, layer by layer: ws (diag(v) D)' A and bs D'v
  void pull_block(Index begin, ConstBlock V, Matrix& sum) const {
    with_sweep(begin, begin + V.rows(), [&](const Sweep& sweep) {
      for (Index c = 0; c < V.cols(); ++c) {
        Index position = 0;
        for (Index l = 0; l < network_.layers(); ++l) {
          const auto& [A, D] = sweep.layers[static_cast<std::size_t>(l)];
          Matrix weighted = D;
          scale_examples(weighted, V.col(c));
          Eigen::Map<Matrix> weights(sum.col(c).data() + position, D.cols(), A.cols());
          multiply(weighted, Transpose::yes, A, Transpose::no, weights, network_.weight_scale(l), 1.0);
          position += weights.size();
          if (network_.parameters().biases.empty()) continue;
          sum.col(c).segment(position, D.cols()) +=
              network_.bias_scale() * weighted.colwise().sum().transpose();
          position += D.cols();
        }
      }
    });
  }

  // y_i = sum_l sum_p D_ip' (ws U_l A_ip + bs u_l)
  void push_block(const Sweep& sweep, const Matrix& U, Block Y) const {
    const Index n = Y.rows();
    Y.setZero();
    for (Index c = 0; c < U.cols(); ++c) {
      Index position = 0;
      for (Index l = 0; l < network_.layers(); ++l) {
        const auto& [A, D] = sweep.layers[static_cast<std::size_t>(l)];
        const Eigen::Map<const Matrix> weights(U.col(c).data() + position, D.cols(), A.cols());
        position += weights.size();
        Matrix Z(D.rows(), D.cols());
        multiply(A, Transpose::no, weights, Transpose::yes, Z, network_.weight_scale(l));
        if (!network_.parameters().biases.empty()) {
          Z.rowwise() += network_.bias_scale() * U.col(c).segment(position, D.cols()).transpose();
          position += D.cols();
        }
        const Vector products = Z.cwiseProduct(D).rowwise().sum();
        for (Index begin = 0; begin < products.size(); begin += n) Y.col(c) += products.segment(begin, n);
      }
    }
  }

  const LayeredNetwork& network_;
  Matrix X_;
  Index block_, group_ = 0;
  std::vector<Sweep> kept_;  // empty: recomputed
};

}  // namespace

std::unique_ptr<JacobianPasses> make_jacobian_passes(const LayeredNetwork& network, ConstBlock X, Kept kept) {
  return std::make_unique<LayeredPasses>(network, X, kept);
}

double layered_pass_bytes(const LayeredSizes& sizes, Index n) {
  // On each thread a sum, and a block's passes of at most 2^21 kept numbers or one example; J'v
  const double rows = std::clamp<double>(double(Index{1} << 21) / std::max(1.0, sizes.kept), 1.0, 512.0);
  const double block = std::min(rows, static_cast<double>(n)) * (3.0 * (sizes.kept + sizes.swept));
  const double gradients = std::min(rows, static_cast<double>(n)) * sizes.convolved;
  return 8.0 *
         (static_cast<double>(threads()) * (sizes.parameters + block + gradients) + 3.0 * sizes.parameters);
}

}  // namespace gradflow
