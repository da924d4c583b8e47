#include "bindings/convert.h"

#include <algorithm>

#include "gradflow/base/parallel.h"

namespace gradflow::python {
namespace {

template <typename Value>
std::pair<Value*, nb::capsule> kept_alive(Value values) {
  auto* owner = new Value(std::move(values));
  return {owner, nb::capsule(owner, [](void* pointer) noexcept { delete static_cast<Value*>(pointer); })};
}

}  // namespace

NumpyVector to_numpy(Vector values) {
  const auto [owner, capsule] = kept_alive(std::move(values));
  return {owner->data(), {static_cast<std::size_t>(owner->size())}, capsule};
}

NumpyMatrix to_numpy(Matrix values) {
  const auto [owner, capsule] = kept_alive(std::move(values));
  const auto rows = static_cast<std::size_t>(owner->rows()), cols = static_cast<std::size_t>(owner->cols());
  return {owner->data(), {rows, cols}, capsule, {1, static_cast<std::int64_t>(rows)}};
}

Vector to_vector(const Array1& values) {
  using Stride = Eigen::InnerStride<>;
  return Eigen::Map<const Vector, 0, Stride>(values.data(), static_cast<Index>(values.shape(0)),
                                             Stride(values.stride(0)));
}

Matrix to_matrix(const Array2& values) {
  using Stride = Eigen::Stride<Eigen::Dynamic, Eigen::Dynamic>;
  return Eigen::Map<const Matrix, 0, Stride>(values.data(), static_cast<Index>(values.shape(0)),
                                             static_cast<Index>(values.shape(1)),
                                             Stride(values.stride(1), values.stride(0)));
}

void PythonProgress::update(std::string_view stage, double fraction) {
  const nb::gil_scoped_acquire lock;
  if (PyErr_CheckSignals() != 0) throw nb::python_error();
  if (!callback_.is_none()) callback_(std::string(stage), fraction);
}

void Columns::add_matrix(const Array2& values, const std::vector<std::string>& names) {
  table_.add(values.data(), static_cast<Index>(values.shape(0)), static_cast<Index>(values.shape(1)),
             values.stride(0), values.stride(1), names);
  kept_.push_back(nb::cast(values));
}

void Columns::add_numbers(const std::string& name, const Array1& values) {
  table_.add(values.data(), static_cast<Index>(values.shape(0)), 1, values.stride(0), 1, {name});
  kept_.push_back(nb::cast(values));
}

void Columns::add_texts(const std::string& name, std::vector<std::optional<std::string>> texts) {
  table_.add(name, std::move(texts));
}

std::vector<std::string> needed_columns(const Recipe& recipe) {
  std::vector<std::string> names;
  for (const ColumnRecipe& column : recipe.columns)
    if (std::ranges::find(names, column.name) == names.end()) names.push_back(column.name);
  return names;
}

RunRecord run_record(const char* command, std::uint64_t seed) {
  return {.command = command, .arguments = {}, .options = {}, .seed = seed, .threads = threads()};
}

nb::list rules_list(const std::vector<StoppingRule>& rules) {
  nb::list list;
  for (const StoppingRule& rule : rules) {
    nb::dict entry;
    entry["name"] = rule.name;
    entry["outcome"] = std::string(to_string(rule.outcome));
    entry["reason"] = rule.reason;
    entry["time"] = rule.time;
    entry["interval"] = nb::make_tuple(rule.interval.lower, rule.interval.upper);
    entry["level"] = rule.interval.level;
    entry["log_time_standard_error"] = rule.log_time_standard_error;
    entry["steps"] = rule.steps;
    entry["effective_dof"] = rule.effective_dof;
    entry["estimated_rmse"] = rule.estimated_rmse;
    entry["loo_rmse"] = rule.loo_rmse;
    list.append(std::move(entry));
  }
  return list;
}

nb::dict analysis_arrays(const Analysis& analysis) {
  nb::dict result;
  result["rules"] = rules_list(analysis.rules);
  result["chosen"] = analysis.chosen;
  result["noise_variance"] = analysis.noise_variance;
  result["effective_dof"] = analysis.effective_dof;
  result["signal_share"] = analysis.signal_share;
  result["eigenvalues"] = to_numpy(analysis.data.values);
  result["coordinates"] = to_numpy(analysis.data.z);
  result["losses"] = to_numpy(analysis.decorrelation.losses);
  result["fitted"] = to_numpy(analysis.fit.fitted);
  result["loo_residuals"] = to_numpy(analysis.loo_residuals);
  return result;
}

}  // namespace gradflow::python
