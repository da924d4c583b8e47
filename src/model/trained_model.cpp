#include "gradflow/model/trained_model.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>
#include <utility>

#include "gradflow/base/error.h"
#include "gradflow/data/safetensors.h"
#include "gradflow/model/version.h"
#include "gradflow/training/export.h"
#include "model/model_tensors.h"
#include "model/recipe_json.h"
#include "model/trained_header.h"

namespace gradflow {
namespace {

constexpr int trained_format = 1;

LeftOutErrors errors_from(const FieldReader& fields) {
  LeftOutErrors errors;
  if (!fields.has("left_out_errors")) return errors;
  const FieldReader left_out = fields.object("left_out_errors");
  errors.folds = static_cast<int>(left_out.count("folds", std::numeric_limits<int>::max()));
  const std::vector<double> sizes = left_out.numbers("sizes");
  if (sizes.empty() || !std::ranges::is_sorted(sizes) || sizes.front() < 0.0)
    left_out.fail("sizes", "must be numbers >= 0 in ascending order");
  errors.sizes = Eigen::Map<const Vector>(sizes.data(), static_cast<Index>(sizes.size()));
  return errors;
}

// The same interval around every mean.
void add_intervals(const LeftOutErrors& errors, double level, Predictions& out) {
  const double half = errors.quantile(level);
  out.interval = IntervalKind::cross_validated;
  out.lower = out.mean.array() - half;
  out.upper = out.mean.array() + half;
  out.statements.push_back(
      fmt::format("Each of {} rows was predicted by a network trained without its fold, one of {}, for as "
                  "long as this one: "
                  "errors of {:.4g} (root mean square).",
                  errors.sizes.size(), errors.folds, errors.root_mean_square()));
  out.statements.push_back(
      std::isfinite(half)
          ? fmt::format(
                "Intervals of {:g} %: {:.4g} either way, the quantile of these errors, the same for every "
                "row. Coverage is not proved for every distribution, as jackknife+ would; training "
                "without a fold errs a little more, which makes them rather too wide.",
                100.0 * level, half)
          : fmt::format("Intervals of {:g} % are infinite: they take {:.0f} such errors.", 100.0 * level,
                        std::ceil(level / (1.0 - level) - 1e-9)));
}

}  // namespace

std::map<std::string, std::string> trained_metadata(const Recipe& recipe, const std::string& network,
                                                    const LeftOutErrors& errors) {
  nlohmann::ordered_json json{{"format_version", trained_format},
                              {"gradflow_version", version},
                              {"network", network},
                              {"recipe", to_json(recipe)}};
  if (errors.known())
    json["left_out_errors"] = {{"folds", errors.folds},
                               {"sizes", std::vector<double>(errors.sizes.begin(), errors.sizes.end())}};
  return {{trained_key, json.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace)}};
}

Vector input_centers(const Recipe& recipe) {
  Vector centers(static_cast<Index>(recipe.features.size()));
  for (Index j = 0; j < centers.size(); ++j) centers(j) = recipe.features[static_cast<std::size_t>(j)].center;
  return centers;
}

Vector input_scales(const Recipe& recipe) {
  Vector scales(static_cast<Index>(recipe.features.size()));
  for (Index j = 0; j < scales.size(); ++j) scales(j) = recipe.features[static_cast<std::size_t>(j)].scale;
  return scales;
}

Matrix raw_features(const Recipe& recipe, const Matrix& encoded) {
  Matrix X = encoded;
  for (Index j = 0; j < X.cols(); ++j) {
    const EncodedColumn& column = recipe.features[static_cast<std::size_t>(j)];
    X.col(j) = column.scale * X.col(j).array() + column.center;
  }
  return X;
}

LeftOutErrors left_out_errors(const Recipe& recipe, const Vector& y, const Vector& left_out, int folds) {
  LeftOutErrors errors{recipe.target_scale * (y - left_out).cwiseAbs(), folds};
  std::ranges::sort(errors.sizes);
  return errors;
}

TrainedModel make_trained_model(const Recipe& recipe, const DenseNetwork& network, double intercept,
                                LeftOutErrors errors) {
  if (!recipe.covariates.empty())
    throw InputError(
        "covariates are fitted beside the network, whose weights alone do not predict: leave them out");
  return {recipe,
          in_raw_units(network, input_centers(recipe), input_scales(recipe), recipe.target_center,
                       recipe.target_scale, intercept),
          std::move(errors)};
}

void TrainedModel::save(const std::string& path) const {
  write_state_dict(path, network, trained_metadata(recipe, to_string(network.architecture()), errors));
}

void TrainedModel::save_onnx(const std::string& path) const {
  write_onnx(path, network, trained_metadata(recipe, to_string(network.architecture()), errors));
}

TrainedHeader read_trained_header(const std::string& path) {
  const nlohmann::json json =
      read_description(read_safetensors_metadata(path), trained_key, trained_format, path);
  const FieldReader fields(json, path);
  return naming_file(path, [&] {
    return TrainedHeader{recipe_from(fields.object("recipe")), fields.text("network"), errors_from(fields)};
  });
}

TrainedModel TrainedModel::load(const std::string& path) {
  TrainedHeader header = read_trained_header(path);
  DenseNetwork network =
      naming_file(path, [&] { return DenseNetwork::from_file(path, parse_architecture(header.network)); });
  if (network.inputs() != static_cast<Index>(header.recipe.features.size()))
    throw InputError(fmt::format("{}: damaged gradflow model: {} features for {} inputs", path,
                                 header.recipe.features.size(), network.inputs()));
  return {std::move(header.recipe), std::move(network), std::move(header.errors)};
}

bool is_trained_model(const std::string& path) { return has_metadata(path, trained_key); }

Predictions predict(const TrainedModel& model, const NewRows& rows, double level) {
  return predict_trained(model.recipe, model.network, model.errors, rows, level);
}

Predictions predict_trained(const Recipe& recipe, const Network& network, const LeftOutErrors& errors,
                            const NewRows& rows, double level) {
  const Vector unknown =
      Vector::Constant(static_cast<Index>(rows.ids.size()), std::numeric_limits<double>::quiet_NaN());
  Predictions out;
  out.ids = rows.ids;
  out.mean = out.sd = out.lower = out.upper = out.location = out.scale = unknown;
  out.warnings = rows.warnings;
  if (rows.X.rows() > 0) {
    const Vector f = network.output(raw_features(recipe, rows.X));
    for (std::size_t i = 0; i < rows.row.size(); ++i) out.mean(rows.row[i]) = f(static_cast<Index>(i));
  }
  if (errors.known()) add_intervals(errors, level, out);
  return out;
}

}  // namespace gradflow
