#include <utility>

#include "gradflow/base/error.h"
#include "gradflow/data/safetensors.h"
#include "gradflow/training/export.h"
#include "training/raw_units.h"

namespace gradflow {
namespace {

// One value for each channel of what is one value for each entry.
Vector by_channel(const Vector& entries, Index channels, const char* what) {
  const Index places = entries.size() / channels;
  Vector values(channels);
  for (Index c = 0; c < channels; ++c) {
    values(c) = entries(c * places);
    if ((entries.segment(c * places, places).array() != values(c)).any())
      throw InputError(fmt::format(
          "{} of the inputs differ within channel {}: an array's are one for each channel", what, c + 1));
  }
  return values;
}

// z = (x - center) / scale, channel by channel.
void put_before(const Vector& center, const Vector& scale, LayeredArchitecture& architecture,
                Parameters& parameters) {
  const std::size_t rank = architecture.input.size();
  const Index channels = architecture.input.front();
  const Vector c = by_channel(center, channels, "centers"), s = by_channel(scale, channels, "scales");
  const LayerKind kind = rank == 1 ? LayerKind::dense : rank == 2 ? LayerKind::conv1d : LayerKind::conv2d;
  architecture.layers.insert(architecture.layers.begin(), Layer{.kind = kind, .width = channels});
  parameters.weights.insert(parameters.weights.begin(), Matrix(s.cwiseInverse().asDiagonal()));
  parameters.biases.insert(parameters.biases.begin(), Vector(-c.cwiseQuotient(s)));
}

}  // namespace

LayeredNetwork in_raw_units(const LayeredNetwork& network, const Vector& input_center,
                            const Vector& input_scale, double output_center, double output_scale,
                            const Vector& intercept) {
  require(intercept.size() == network.outputs(), "number of intercepts", intercept.size(),
          "must be the network's outputs");
  check_input_units(network, input_center, input_scale);
  LayeredArchitecture architecture{.input = network.architecture().input,
                                   .layers = network.architecture().layers};
  Parameters parameters = standard_entries(network);
  fold_output_units(output_center, output_scale, intercept, parameters);
  if (architecture.layers.front().kind == LayerKind::dense) {
    fold_input_units(input_center, input_scale, parameters);
  } else if ((input_center.array() != 0.0).any() || (input_scale.array() != 1.0).any()) {
    put_before(input_center, input_scale, architecture, parameters);
  }
  return {std::move(architecture), std::move(parameters)};
}

void write_state_dict(const std::string& path, const LayeredNetwork& network,
                      const std::map<std::string, std::string>& metadata) {
  if (network.architecture().parameterization != Parameterization::standard)
    throw InputError(
        "a PyTorch module has no scales of its own: the network must be of parameterization standard");
  write_safetensors(path, TensorFile{network.state_dict(), metadata});
}

}  // namespace gradflow
