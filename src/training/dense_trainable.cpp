#include <algorithm>
#include <cmath>
#include <utility>

#include "gradflow/base/error.h"
#include "gradflow/base/linear_algebra.h"
#include "gradflow/base/parallel.h"
#include "gradflow/base/random.h"
#include "gradflow/operators/finite_ntk.h"
#include "gradflow/operators/jacobian_operator.h"
#include "training/dense_pass.h"

namespace gradflow {
namespace {

/// theta in the order W_0 (column by column), b_0, W_1, b_1, ..., as Parameters::flatten().
std::vector<LayerEntries> entries_of(const Architecture& architecture, Index inputs, Index outputs) {
  const bool ntk = architecture.parameterization == Parameterization::ntk;
  std::vector<LayerEntries> layers;
  Index position = 0, columns = inputs;
  for (std::size_t l = 0; l <= architecture.widths.size(); ++l) {
    LayerEntries layer;
    layer.rows = l < architecture.widths.size() ? architecture.widths[l] : outputs;
    layer.columns = columns;
    layer.weights = position;
    layer.weight_scale = ntk ? std::sqrt(architecture.sw2 / static_cast<double>(columns)) : 1.0;
    position += layer.rows * layer.columns;
    if (architecture.bias) {
      layer.biases = position;
      layer.bias_scale = ntk ? std::sqrt(architecture.sb2) : 1.0;
      position += layer.rows;
    }
    columns = layer.rows;
    layers.push_back(layer);
  }
  return layers;
}

Index count_of(const std::vector<LayerEntries>& layers) {
  const LayerEntries& last = layers.back();
  return last.weights + last.rows * last.columns + (last.biases < 0 ? 0 : last.rows);
}

class DenseTrainable final : public TrainableNetwork {
 public:
  DenseTrainable(Architecture architecture, Index inputs, Index outputs, Vector theta, Precision precision)
      : architecture_(std::move(architecture)),
        layers_(entries_of(architecture_, inputs, outputs)),
        theta_(std::move(theta)),
        precision_(precision) {}

  Index inputs() const override { return layers_.front().columns; }
  Index outputs() const override { return layers_.back().rows; }
  std::string description() const override { return to_string(architecture_); }
  const Vector& parameters() const override { return theta_; }
  std::vector<LayerEntries> layers() const override { return layers_; }

  void set_parameters(Vector theta) override {
    require(theta.size() == count_of(layers_), "number of parameters", theta.size(),
            fmt::format("must be {}", count_of(layers_)));
    theta_ = std::move(theta);
  }

  std::unique_ptr<NetworkPass> make_pass() const override {
    if (precision_ == Precision::float32)
      return std::make_unique<DensePass<float>>(architecture_.activation, layers_, theta_);
    return std::make_unique<DensePass<double>>(architecture_.activation, layers_, theta_);
  }

  double pass_bytes(Index n) const override {
    Index kept = inputs() + outputs();
    for (std::size_t l = 1; l < layers_.size(); ++l) kept += 2 * layers_[l].columns;
    const auto rows = static_cast<double>(n), groups = static_cast<double>(count_groups(n));
    const double entries =
        rows * static_cast<double>(kept) + (groups + 1.0) * static_cast<double>(theta_.size());
    return (precision_ == Precision::float32 ? 4.0 : 8.0) * entries +
           8.0 * rows * static_cast<double>(outputs());
  }

  Precision precision() const override { return precision_; }

  std::unique_ptr<TrainingOperator> products(ConstBlock X) const override {
    return std::make_unique<JacobianOperator>(
        dense(), X, JacobianOptions{.precision = precision_, .cache_bytes = kept_sweep_bytes});
  }

  Matrix kernel(ConstBlock X) const override {
    Matrix sum = ntk_gram(network_of(0), X);
    for (Index k = 1; k < outputs(); ++k) sum += ntk_gram(network_of(k), X);
    return outputs() == 1 ? sum : Matrix(sum / static_cast<double>(outputs()));
  }

  Matrix kernel_cross(ConstBlock X_new, ConstBlock X) const override {
    Matrix sum = ntk_cross(network_of(0), X_new, X);
    for (Index k = 1; k < outputs(); ++k) sum += ntk_cross(network_of(k), X_new, X);
    return outputs() == 1 ? sum : Matrix(sum / static_cast<double>(outputs()));
  }

  std::vector<Matrix> features(ConstBlock X) const override {
    const Sweep sweep = network_of(0).sweep(X);
    std::vector<Matrix> features;
    for (std::size_t l = 1; l < sweep.layers.size(); ++l) features.push_back(sweep.layers[l].inputs);
    return features;
  }

  DenseNetwork dense() const override {
    require(outputs() == 1, "number of outputs", outputs(), "must be 1 for one dense network of one output");
    return network_of(0);
  }

  LayeredNetwork layered() const override {
    LayeredArchitecture layers = gradflow::layered(architecture_);
    layers.input = {inputs()};
    layers.layers.back().width = outputs();
    Parameters parameters;
    for (const LayerEntries& layer : layers_) {
      parameters.weights.emplace_back(weights_of(layer));
      if (layer.biases >= 0) parameters.biases.emplace_back(theta_.segment(layer.biases, layer.rows));
    }
    return {std::move(layers), std::move(parameters)};
  }

 private:
  Matrix weights_of(const LayerEntries& layer) const {
    return theta_.segment(layer.weights, layer.rows * layer.columns).reshaped(layer.rows, layer.columns);
  }

  // Output k as a network of its own.
  DenseNetwork network_of(Index k) const {
    Parameters parameters;
    for (std::size_t l = 0; l < layers_.size(); ++l) {
      const LayerEntries& layer = layers_[l];
      const Matrix W = weights_of(layer);
      const bool last = l + 1 == layers_.size();
      parameters.weights.emplace_back(last ? Matrix(W.row(k)) : W);
      if (layer.biases < 0) continue;
      const Index begin = last ? layer.biases + k : layer.biases;
      parameters.biases.emplace_back(theta_.segment(begin, last ? 1 : layer.rows));
    }
    return DenseNetwork(architecture_, std::move(parameters));
  }

  Architecture architecture_;
  std::vector<LayerEntries> layers_;
  Vector theta_;
  Precision precision_;
};

Vector draw_theta(const Architecture& architecture, Index inputs, Index outputs, std::uint64_t seed) {
  architecture.check();
  const std::vector<LayerEntries> layers = entries_of(architecture, inputs, outputs);
  const bool standard = architecture.parameterization == Parameterization::standard;
  RandomStream random(seed, "network/initialise");
  Vector theta(count_of(layers));
  Index position = 0;
  for (const LayerEntries& layer : layers) {
    const double bound = 1.0 / std::sqrt(static_cast<double>(layer.columns));
    const Index count = layer.rows * layer.columns + (layer.biases < 0 ? 0 : layer.rows);
    for (Index i = 0; i < count; ++i)
      theta(position++) = standard ? random.uniform(-bound, bound) : random.normal();
  }
  return theta;
}

std::unique_ptr<TrainableNetwork> centred(const Architecture& architecture, Index inputs, Index outputs,
                                          Vector theta, Centring centring, Precision precision) {
  const std::vector<LayerEntries> layers = entries_of(architecture, inputs, outputs);
  if (centring == Centring::zero_last_layer) theta.tail(theta.size() - layers.back().weights).setZero();
  const auto one = [&] {
    return std::make_unique<DenseTrainable>(architecture, inputs, outputs, theta, precision);
  };
  if (centring != Centring::copies) return one();
  return make_paired(one(), one());
}

}  // namespace

std::string_view to_string(Centring centring) {
  switch (centring) {
    case Centring::none: return "none";
    case Centring::copies: return "copies";
    case Centring::zero_last_layer: return "zero-last-layer";
  }
  throw InternalError("unnamed centring");
}

Centring parse_centring(const std::string& text) {
  for (const Centring centring : {Centring::none, Centring::copies, Centring::zero_last_layer})
    if (text == to_string(centring)) return centring;
  throw InputError(fmt::format("centring '{}': must be none, copies or zero-last-layer", text));
}

std::unique_ptr<TrainableNetwork> make_trainable(const DenseNetwork& network, Centring centring,
                                                 Precision precision) {
  return centred(network.architecture(), network.inputs(), 1, network.parameters().flatten(), centring,
                 precision);
}

std::unique_ptr<TrainableNetwork> make_trainable(const Architecture& architecture, Index inputs,
                                                 Index outputs, std::uint64_t seed, Centring centring,
                                                 Precision precision) {
  require(outputs >= 1, "number of outputs", outputs, "must be >= 1");
  return centred(architecture, inputs, outputs, draw_theta(architecture, inputs, outputs, seed), centring,
                 precision);
}

std::unique_ptr<TrainableNetwork> make_trainable(const Architecture& architecture,
                                                 const Parameters& parameters, Centring centring,
                                                 Precision precision) {
  architecture.check();
  require(!parameters.weights.empty(), "number of weight matrices", 0, "must be >= 1");
  const Index inputs = parameters.weights.front().cols(), outputs = parameters.weights.back().rows();
  // Its constructor checks every shape.
  LayeredArchitecture layers = layered(architecture);
  layers.input = {inputs};
  layers.layers.back().width = outputs;
  const LayeredNetwork network(std::move(layers), parameters);
  return centred(architecture, inputs, outputs, network.parameters().flatten(), centring, precision);
}

}  // namespace gradflow
