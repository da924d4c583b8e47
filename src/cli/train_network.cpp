#include "cli/train_network.h"

#include <fmt/format.h>

#include "cli/make_job.h"
#include "gradflow/base/error.h"
#include "gradflow/model/held_out_rows.h"
#include "gradflow/model/trained_layers.h"
#include "gradflow/model/trained_model.h"
#include "gradflow/training/collapse.h"

namespace gradflow::cli {
namespace {

template <typename Model>
void save(const Settings& s, const Model& model) {
  if (!s.output.empty()) model.save(s.output);
  if (!s.onnx.empty()) model.save_onnx(s.onnx);
}

std::unique_ptr<TrainableNetwork> trained_layers(const Settings& s, const LayeredNetwork& start) {
  const Centring centring = parse_centring(s.center);
  if (training_precision(s) == Precision::float32)
    throw InputError(
        fmt::format("--precision float32 is for dense networks: '{}' is trained in float64", start.text()));
  auto network = make_trainable(start, centring);
  if (!s.output.empty() || !s.onnx.empty()) network->layered();  // throws where it cannot be written
  return network;
}

}  // namespace

Precision training_precision(const Settings& s) {
  if (s.training_precision == "float32") return Precision::float32;
  if (s.training_precision == "float64") return Precision::float64;
  throw InputError(fmt::format("--precision {}: must be float64 or float32", s.training_precision));
}

std::unique_ptr<TrainableNetwork> make_network(const Settings& s, const Job& job, const Dataset& data) {
  OperatorSpec spec = job.operator_spec;
  spec.take_shape(data.recipe.options.feature_shape);
  const KernelSource source = KernelSource::make(spec, data.X.cols());
  if (!source.layered())
    return make_trainable(*source.network(), parse_centring(s.center), training_precision(s));
  return trained_layers(s, *source.layered());
}

std::unique_ptr<TrainableNetwork> make_class_network(const Settings& s, const Job& job,
                                                     const ClassDataset& data) {
  OperatorSpec spec = job.operator_spec;
  spec.take_shape(data.data.recipe.options.feature_shape);
  const Index inputs = data.data.X.cols();
  const auto K = static_cast<Index>(data.classes.size());
  if (!s.weights.empty() && s.network.empty())
    throw InputError("--weights with --classes needs --network, whose weights they are");
  const Centring centring = parse_centring(s.center);
  if (spec.layered && spec.layered->outputs() != K)
    throw InputError(
        fmt::format("--network: the last layer is {}: must be dense:{}, an output for each class",
                    to_string(spec.layered->layers.back()), K));
  if (s.weights.empty() && spec.layered)
    return trained_layers(s, LayeredNetwork::initialise(*spec.layered, inputs, spec.seed));
  if (s.weights.empty())
    return make_trainable(spec.network, inputs, K, spec.seed, centring, training_precision(s));
  LayeredArchitecture layers = spec.layered ? *spec.layered : layered(spec.network);
  layers.layers.back().width = K;
  const auto given = LayeredNetwork::from_file(s.weights, layers, inputs);
  if (spec.layered) return trained_layers(s, given);
  return make_trainable(spec.network, given.parameters(), centring, training_precision(s));
}

Matrix design_of(const Matrix& covariates, bool intercept) {
  Matrix design(covariates.rows(), covariates.cols() + (intercept ? 1 : 0));
  if (intercept) design.col(0).setOnes();
  design.rightCols(covariates.cols()) = covariates;
  return design;
}

TrainingSet held_out_rows(const Settings& s, const Recipe& recipe, bool intercept,
                          const std::vector<std::string>& classes, std::vector<std::string>& warnings) {
  if (s.held_out.empty()) return {};
  if (s.no_watch) throw InputError("--held-out and --no-watch: its rows are only watched; give one");
  if (s.no_refit)
    throw InputError("--held-out and --no-refit: stop validation then watches the rows that it holds out");
  const HeldOutRows held = read_held_out(s.held_out, recipe, make_table_options(s), classes);
  TrainingSet set{held.X, held.y, design_of(held.Z, intercept)};
  if (!classes.empty()) {
    Labels labels;
    for (const double code : held.y) labels.push_back(static_cast<Index>(code));
    set.Y = indicators(labels, static_cast<Index>(classes.size()));
  }
  warnings.insert(warnings.end(), held.warnings.begin(), held.warnings.end());
  return set;
}

std::string standardising_note(const LayeredNetwork& trained, const LayeredNetwork& written) {
  if (written.sequence().size() == trained.sequence().size()) return {};
  return fmt::format("Module 0, {}, standardises the features; those trained are 1 to {}.\n",
                     to_string(written.sequence().front().layer), trained.sequence().size());
}

std::string write_network(const Settings& s, const Job& job, const Dataset& data,
                          const TrainableNetwork& network, double intercept, const LeftOutErrors& errors) {
  if (s.output.empty() && s.onnx.empty()) return {};
  if (!job.operator_spec.layered) {
    save(s, make_trained_model(data.recipe, network.dense(), intercept, errors));
    return {};
  }
  const LayeredNetwork trained = network.layered();
  const TrainedLayers model = make_trained_layers(data.recipe, trained, intercept, errors);
  save(s, model);
  return standardising_note(trained, model.network);
}

}  // namespace gradflow::cli
