#include <utility>

#include "gradflow/base/error.h"
#include "gradflow/network/layered_pass.h"
#include "gradflow/operators/finite_ntk.h"
#include "gradflow/operators/jacobian_operator.h"
#include "training/dense_pass.h"

namespace gradflow {
namespace {

class LayersPass final : public NetworkPass {
 public:
  explicit LayersPass(const LayeredNetwork& network) : pass_(network) {}

  const Matrix& forward(ConstBlock X) override {
    output_ = pass_.forward(X);
    return output_;
  }

  Vector pull_back(ConstBlock U) override { return pass_.pull_back(U).flatten(); }

 private:
  LayeredPass pass_;
  Matrix output_;
};

class LayeredTrainable final : public TrainableNetwork {
 public:
  explicit LayeredTrainable(LayeredNetwork network)
      : network_(std::move(network)), theta_(network_.parameters().flatten()) {}

  Index inputs() const override { return network_.inputs(); }
  Index outputs() const override { return network_.outputs(); }
  std::string description() const override { return network_.text(); }
  const Vector& parameters() const override { return theta_; }

  void set_parameters(Vector theta) override {
    network_.set_parameters(network_.parameters().unflatten(theta));
    theta_ = std::move(theta);
  }

  // As Parameters::flatten(). A layer norm's scales are no matrix.
  std::vector<LayerEntries> layers() const override {
    const Parameters& parameters = network_.parameters();
    std::vector<LayerEntries> all;
    Index position = 0;
    for (Index l = 0; l < network_.layers(); ++l) {
      const Matrix& W = parameters.weights[static_cast<std::size_t>(l)];
      LayerEntries layer{.weights = position,
                         .rows = W.rows(),
                         .columns = W.cols(),
                         .weight_scale = network_.weight_scale(l),
                         .bias_scale = network_.bias_scale()};
      position += W.size();
      if (!parameters.biases.empty()) {
        layer.biases = position;
        position += W.rows();
      }
      if (network_.weight_shape(l).size() > 1) all.push_back(layer);
    }
    return all;
  }

  std::unique_ptr<NetworkPass> make_pass() const override { return std::make_unique<LayersPass>(network_); }
  double pass_bytes(Index n) const override {
    const auto rows = static_cast<double>(n);
    const double kept = rows * sizes_of(network_.architecture(), inputs()).kept;
    const double most = LayeredPass::usual_most_kept;  // then the rows themselves
    const double entries = kept <= most ? kept : most + rows * static_cast<double>(inputs());
    return 8.0 *
           (entries + rows * static_cast<double>(outputs()) + 10.0 * static_cast<double>(theta_.size()));
  }
  std::unique_ptr<TrainingOperator> products(ConstBlock X) const override {
    return std::make_unique<JacobianOperator>(network_, X, JacobianOptions{.cache_bytes = kept_sweep_bytes});
  }
  Matrix kernel(ConstBlock X) const override {
    return mean_over_outputs([&](const LayeredNetwork& one) { return ntk_gram(one, X); });
  }
  Matrix kernel_cross(ConstBlock X_new, ConstBlock X) const override {
    return mean_over_outputs([&](const LayeredNetwork& one) { return ntk_cross(one, X_new, X); });
  }
  std::vector<Matrix> features(ConstBlock X) const override { return network_.features(X); }

  DenseNetwork dense() const override {
    throw InputError(
        fmt::format("'{}' is a network of layers, which no dense network stands for", description()));
  }
  LayeredNetwork layered() const override { return network_; }

 private:
  template <typename KernelOf>
  Matrix mean_over_outputs(KernelOf kernel_of) const {
    Matrix sum = kernel_of(network_.one_output(0));
    for (Index k = 1; k < outputs(); ++k) sum += kernel_of(network_.one_output(k));
    return outputs() == 1 ? sum : Matrix(sum / static_cast<double>(outputs()));
  }

  LayeredNetwork network_;
  Vector theta_;
};

}  // namespace

std::unique_ptr<TrainableNetwork> make_trainable(const LayeredNetwork& network, Centring centring) {
  LayeredNetwork start = network;
  if (centring == Centring::zero_last_layer) {
    Parameters parameters = start.parameters();
    parameters.weights.back().setZero();
    if (!parameters.biases.empty()) parameters.biases.back().setZero();
    start.set_parameters(std::move(parameters));
  }
  if (centring != Centring::copies) return std::make_unique<LayeredTrainable>(std::move(start));
  return make_paired(std::make_unique<LayeredTrainable>(start), std::make_unique<LayeredTrainable>(start));
}

}  // namespace gradflow
