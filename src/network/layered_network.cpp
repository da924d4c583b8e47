#include "gradflow/network/layered_network.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "gradflow/base/error.h"
#include "gradflow/base/linear_algebra.h"
#include "gradflow/base/parallel.h"
#include "gradflow/base/random.h"
#include "network/layered_passes.h"

namespace gradflow {
namespace {

/// Numbers that a block of examples keeps, about, and its most examples: in cache for small networks, and
/// bounded for large ones.
constexpr Index block_entries = Index{1} << 21;
constexpr Index most_block_rows = 512;
/// Sums of J'u that are computed side by side, and added in order.
constexpr Index most_groups = 8;

bool has_weights(const Layer& layer) {
  return layer.kind == LayerKind::dense || layer.kind == LayerKind::conv1d ||
         layer.kind == LayerKind::conv2d || layer.affine;
}

bool is_norm(const PlacedLayer& placed) { return placed.layer.kind == LayerKind::layer_norm; }

// Rows and columns of W, and the places of LayerSweep.
Index fan_out(const PlacedLayer& placed) {
  return is_norm(placed) ? placed.input.channels : placed.layer.width;
}
Index places_of(const PlacedLayer& placed, bool bias) {
  if (is_norm(placed)) return bias ? 2 : 1;
  return placed.output.positions();
}

Index fan_in(const PlacedLayer& placed) {
  if (is_norm(placed)) return 1;
  if (placed.layer.kind == LayerKind::dense) return placed.input.channels;
  const Index patch =
      placed.layer.kind == LayerKind::conv2d ? placed.layer.size * placed.layer.size : placed.layer.size;
  return placed.input.channels * patch;
}

/// Shapes, names and numbers of the layers, in the order of the text.
class Placing {
 public:
  explicit Placing(const LayeredArchitecture& architecture) : architecture_(architecture) {}

  std::vector<PlacedLayer> place(const std::vector<Layer>& layers, TensorShape shape,
                                 const std::string& prefix) {
    std::vector<PlacedLayer> all;
    for (const Layer& layer : layers) {
      PlacedLayer placed{.layer = layer,
                         .input = shape,
                         .output = output_shape(layer, shape),
                         .name = fmt::format("{}{}", prefix, all.size())};
      if (has_weights(layer)) {
        placed.parameters = count_++;
        if (architecture_.parameterization == Parameterization::ntk && !is_norm(placed))
          placed.weight_scale = std::sqrt(architecture_.sw2 / static_cast<double>(fan_in(placed)));
      }
      placed.inner = place(layer.inner, shape, fmt::format("{}.block.", placed.name));
      shape = placed.output;
      all.push_back(std::move(placed));
    }
    return all;
  }

 private:
  const LayeredArchitecture& architecture_;
  Index count_ = 0;
};

void collect(const std::vector<PlacedLayer>& layers, std::vector<PlacedLayer>& weighted) {
  for (const PlacedLayer& placed : layers) {
    if (placed.parameters >= 0) weighted.push_back(placed);
    collect(placed.inner, weighted);
  }
}

// Entries that a forward pass keeps per example, and those that it has in hand.
Index count_kept(const std::vector<PlacedLayer>& layers) {
  Index count = 0;
  for (const PlacedLayer& placed : layers) {
    if (is_norm(placed))
      count += placed.input.size() + (placed.parameters >= 0 ? 2 * (1 + placed.input.channels) : 0);
    else if (placed.parameters >= 0)
      count += placed.output.positions() * fan_in(placed) + placed.output.size();
    else
      count += placed.input.size();
    count += count_kept(placed.inner);
  }
  return count;
}

void check_parameters(const std::vector<PlacedLayer>& weighted, bool bias, const Parameters& parameters) {
  require(parameters.weights.size() == weighted.size(), "number of weight matrices",
          parameters.weights.size(), fmt::format("must be {}, the layers with weights", weighted.size()));
  require(parameters.biases.size() == (bias ? weighted.size() : 0), "number of bias vectors",
          parameters.biases.size(), "must be that of the weight matrices, or 0 without biases");
  for (std::size_t l = 0; l < weighted.size(); ++l) {
    const Matrix& W = parameters.weights[l];
    const Index width = fan_out(weighted[l]), inputs = fan_in(weighted[l]);
    require(W.rows() == width, fmt::format("rows of W{}", l), W.rows(),
            fmt::format("must be {}, the width of layer {}", width, weighted[l].name));
    require(W.cols() == inputs, fmt::format("columns of W{}", l), W.cols(),
            fmt::format("must be {}, what layer {} takes", inputs, weighted[l].name));
    require(W.allFinite(), fmt::format("W{}", l), "a value that is not finite", "every entry must be finite");
    if (!bias) continue;
    const Vector& b = parameters.biases[l];
    require(b.size() == width, fmt::format("length of b{}", l), b.size(), fmt::format("must be {}", width));
    require(b.allFinite(), fmt::format("b{}", l), "a value that is not finite", "every entry must be finite");
  }
}

Parameters zeros_like(const Parameters& like) {
  Parameters zeros;
  for (const Matrix& W : like.weights) zeros.weights.emplace_back(Matrix::Zero(W.rows(), W.cols()));
  for (const Vector& b : like.biases) zeros.biases.emplace_back(Vector::Zero(b.size()));
  return zeros;
}

}  // namespace

LayeredNetwork::LayeredNetwork(LayeredArchitecture architecture, Parameters parameters)
    : architecture_(std::move(architecture)), parameters_(std::move(parameters)) {
  require(!architecture_.input.empty(), "shape of the network's input", "none", "must be given");
  architecture_.check(LayeredArchitecture::any_outputs);
  Index entries = 1;
  for (const Index extent : architecture_.input) entries *= extent;
  layers_ = Placing(architecture_).place(architecture_.layers, architecture_.input_shape(entries), "");
  collect(layers_, weighted_);
  check_parameters(weighted_, architecture_.bias, parameters_);
  kept_entries_ = count_kept(layers_);
}

void LayeredNetwork::set_parameters(Parameters parameters) {
  check_parameters(weighted_, architecture_.bias, parameters);
  parameters_ = std::move(parameters);
}

LayeredNetwork LayeredNetwork::initialise(const LayeredArchitecture& architecture, Index inputs,
                                          std::uint64_t seed) {
  require(inputs >= 1, "network inputs", inputs, "must be >= 1");
  LayeredArchitecture complete = architecture;
  if (complete.input.empty()) complete.input = {inputs};
  complete.input_shape(inputs);
  complete.check(LayeredArchitecture::any_outputs);
  const auto layers = Placing(complete).place(complete.layers, complete.input_shape(inputs), "");
  std::vector<PlacedLayer> weighted;
  collect(layers, weighted);
  const bool standard = complete.parameterization == Parameterization::standard;
  RandomStream random(seed, "network/initialise");
  Parameters parameters;
  for (const PlacedLayer& placed : weighted) {
    if (is_norm(placed)) {
      parameters.weights.emplace_back(Matrix::Ones(fan_out(placed), 1));
      if (complete.bias) parameters.biases.emplace_back(Vector::Zero(fan_out(placed)));
      continue;
    }
    const double bound = 1.0 / std::sqrt(static_cast<double>(fan_in(placed)));
    const auto draw = [&] { return standard ? random.uniform(-bound, bound) : random.normal(); };
    Matrix W(placed.layer.width, fan_in(placed));
    for (double& entry : W.reshaped()) entry = draw();
    parameters.weights.push_back(std::move(W));
    if (!complete.bias) continue;
    Vector b(placed.layer.width);
    for (double& entry : b) entry = draw();
    parameters.biases.push_back(std::move(b));
  }
  return {std::move(complete), std::move(parameters)};
}

LayeredSizes sizes_of(const LayeredArchitecture& architecture, Index inputs) {
  const auto layers = Placing(architecture).place(architecture.layers, architecture.input_shape(inputs), "");
  std::vector<PlacedLayer> weighted;
  collect(layers, weighted);
  LayeredSizes sizes;
  sizes.kept = static_cast<double>(count_kept(layers));
  for (const PlacedLayer& placed : weighted) {
    const auto in = static_cast<double>(fan_in(placed)), out = static_cast<double>(fan_out(placed));
    const auto places = static_cast<double>(places_of(placed, architecture.bias));
    const double parameters = out * (in + (architecture.bias ? 1.0 : 0.0));
    sizes.parameters += parameters;
    if (places > 1.0) sizes.convolved += parameters;
    sizes.gram += places > 1.0 ? parameters : in + out;
    sizes.swept += places * (in + out);
    sizes.multiply_adds += places * in * out;
  }
  return sizes;
}

double LayeredNetwork::bias_scale() const noexcept {
  if (!architecture_.bias) return 0.0;
  return architecture_.parameterization == Parameterization::standard ? 1.0 : std::sqrt(architecture_.sb2);
}

Index LayeredNetwork::positions(Index layer) const { return places_of(weighted(layer), architecture_.bias); }

std::vector<Index> LayeredNetwork::weight_shape(Index layer) const {
  const PlacedLayer& placed = weighted(layer);
  if (is_norm(placed)) return {placed.input.channels};
  std::vector<Index> shape{placed.layer.width, placed.input.channels};
  if (placed.layer.kind != LayerKind::dense) shape.push_back(placed.layer.size);
  if (placed.layer.kind == LayerKind::conv2d) shape.push_back(placed.layer.size);
  return shape;
}

void LayeredNetwork::check_inputs(ConstBlock X) const {
  if (X.cols() != inputs())
    throw InputError(
        fmt::format("the features have {} columns: the network takes {} inputs", X.cols(), inputs()));
}

Index LayeredNetwork::block_rows() const noexcept {
  return std::clamp<Index>(block_entries / kept_entries_, 1, most_block_rows);
}

void LayeredNetwork::check_one_output() const {
  if (outputs() != 1)
    throw InputError(fmt::format("'{}' has {} outputs, where one is needed", text(), outputs()));
}

LayeredNetwork LayeredNetwork::one_output(Index k) const {
  require(k >= 0 && k < outputs(), "output", k, "must be one of the network's");
  LayeredArchitecture architecture = architecture_;
  architecture.layers.back().width = 1;
  Parameters parameters = parameters_;
  parameters.weights.back() = parameters_.weights.back().row(k);
  if (!parameters.biases.empty()) parameters.biases.back() = parameters_.biases.back().segment(k, 1);
  return {std::move(architecture), std::move(parameters)};
}

Vector LayeredNetwork::output(ConstBlock X) const {
  check_one_output();
  return scores(X).col(0);
}

Matrix LayeredNetwork::scores(ConstBlock X) const {
  check_inputs(X);
  Matrix F(X.rows(), outputs());
  const LayerPasses passes{parameters_, bias_scale()};
  const SerialBlas serial;
  parallel_for(X.rows(), block_rows(), [&](Index begin, Index end) {
    F.middleRows(begin, end - begin) = passes.forward(layers_, X.middleRows(begin, end - begin), nullptr);
  });
  return F;
}

Sweep LayeredNetwork::sweep(ConstBlock X) const {
  check_one_output();
  check_inputs(X);
  const LayerPasses passes{parameters_, bias_scale()};
  Sweep sweep;
  sweep.layers.resize(parameters_.weights.size());
  std::vector<LayerTape> tapes;
  sweep.output = passes.forward(layers_, X, &tapes).col(0);
  passes.reverse(layers_, tapes, Matrix::Ones(X.rows(), 1), false,
                 [&sweep](Index layer, Matrix& inputs, Matrix& gradients) {
                   sweep.layers[static_cast<std::size_t>(layer)] = {std::move(inputs), std::move(gradients)};
                 });
  return sweep;
}

Vector LayeredNetwork::jvp(ConstBlock X, const Parameters& direction) const {
  check_one_output();
  check_inputs(X);
  check_parameters(weighted_, architecture_.bias, direction);
  Vector Jv(X.rows());
  const LayerPasses passes{parameters_, bias_scale()};
  const SerialBlas serial;
  parallel_for(X.rows(), block_rows(), [&](Index begin, Index end) {
    std::vector<LayerTape> tapes;
    passes.forward(layers_, X.middleRows(begin, end - begin), &tapes);
    Jv.segment(begin, end - begin) = passes.tangent(layers_, tapes, Matrix(), direction).col(0);
  });
  return Jv;
}

Parameters LayeredNetwork::vjp(ConstBlock X, ConstVector u) const {
  check_one_output();
  require(u.size() == X.rows(), "LayeredNetwork::vjp u.size", u.size(), "must equal the number of examples");
  return pull_back_at(X, u);
}

Parameters LayeredNetwork::pull_back_at(ConstBlock X, ConstBlock U) const {
  check_inputs(X);
  const LayerPasses passes{parameters_, bias_scale()};
  return pull_back(U, [&](Index begin, Index rows, std::vector<LayerTape>& own) -> std::vector<LayerTape>& {
    passes.forward(layers_, X.middleRows(begin, rows), &own);
    return own;
  });
}

Parameters LayeredNetwork::pull_back(ConstBlock U, const TapesOf& tapes_of) const {
  const LayerPasses passes{parameters_, bias_scale()};
  const Index n = U.rows(), blocks = (n + block_rows() - 1) / block_rows();
  const Index per_group = std::max<Index>(1, (blocks + most_groups - 1) / most_groups) * block_rows();
  std::vector<Parameters> sums(static_cast<std::size_t>((n + per_group - 1) / per_group));
  const SerialBlas serial;
  parallel_for(n, per_group, [&](Index first, Index last) {
    Parameters& sum = sums[static_cast<std::size_t>(first / per_group)];
    sum = zeros_like(parameters_);
    for (Index begin = first; begin < last; begin += block_rows()) {
      const Index rows = std::min(block_rows(), last - begin);
      std::vector<LayerTape> own;
      passes.reverse(layers_, tapes_of(begin, rows, own), U.middleRows(begin, rows), false,
                     [&](Index layer, Matrix& inputs, Matrix& gradients) {
                       const auto l = static_cast<std::size_t>(layer);
                       multiply(gradients, Transpose::yes, inputs, Transpose::no, sum.weights[l],
                                weight_scale(layer), 1.0);
                       if (architecture_.bias)
                         sum.biases[l] += bias_scale() * gradients.colwise().sum().transpose();
                     });
    }
  });
  Parameters gradient = zeros_like(parameters_);
  for (const Parameters& sum : sums) {
    for (std::size_t l = 0; l < sum.weights.size(); ++l) gradient.weights[l] += sum.weights[l];
    for (std::size_t l = 0; l < sum.biases.size(); ++l) gradient.biases[l] += sum.biases[l];
  }
  return gradient;
}

std::vector<Matrix> LayeredNetwork::features(ConstBlock X) const {
  check_inputs(X);
  const LayerPasses passes{parameters_, bias_scale()};
  std::vector<Matrix> features;
  Matrix A = X;
  bool first = true;
  for (const PlacedLayer& placed : layers_) {
    std::vector<PlacedLayer> weighted;
    collect({placed}, weighted);
    if (!weighted.empty() && !first) features.push_back(A);
    first = first && weighted.empty();
    A = passes.forward({placed}, std::move(A), nullptr);
  }
  return features;
}

}  // namespace gradflow
