#include "report/further_tests.h"
#include "report/json_parts.h"

namespace gradflow {
namespace {

// What every test begins with.
template <typename Test>
Json begun(const Test& test) {
  return {{"outcome", to_string(test.outcome)}, {"reason", test.reason}};
}

Json resampled_json(const ResampledPValue& p) {
  return {{"p_value", number(p.p_value)},
          {"log10_p_value", number(p.log10_p_value)},
          {"standard_error", number(p.standard_error)},
          {"upper_bound", p.upper_bound},
          {"draws", p.draws},
          {"exceedances", p.exceedances},
          {"seed", p.seed}};
}

Json likelihood_ratio_json(const LikelihoodRatioTest& test) {
  Json json = begun(test);
  json["path"] = to_string(test.path.kind);
  json["time"] = number(test.path.time);
  json["statistic"] = number(test.statistic);
  json.update(resampled_json(test.simulated));
  json["zero_mass"] = number(test.zero_mass);
  json["zero_mass_standard_error"] = number(test.zero_mass_standard_error);
  json["critical_value"] = number(test.critical_value);
  json["p_value_mixture"] = number(test.p_value_mixture);
  return json;
}

Json permutation_json(const PermutationTest& test) {
  Json json = begun(test);
  json["statistic"] = number(test.statistic);
  json.update(resampled_json(test.resampled));
  json["enumerated"] = test.enumerated;
  json["exact_level"] = test.exact_level;
  json["stopped_early"] = test.stopped_early;
  return json;
}

Json grid_json(const NamedGridTest& grid) {
  const GridTest& test = grid.test;
  Json json = begun(test);
  json["kernels"] = Json::array();
  for (std::size_t k = 0; k < test.tests.size(); ++k) {
    Json each = {{"kernel", grid.kernels[k]}};
    each.update(json_score_test(test.tests[k]));
    json["kernels"].push_back(std::move(each));
  }
  json["best"] = test.best >= 0 ? Json(grid.kernels[static_cast<std::size_t>(test.best)]) : Json(nullptr);
  json["compared"] = test.compared;
  json["p_value"] = number(test.p_value);
  json["log10_p_value"] = number(test.log10_p_value);
  json["relative_standard_error"] = number(test.relative_standard_error);
  json["upper_bound"] = usable(test.outcome) && !std::isfinite(test.relative_standard_error);
  json["log10_smallest_p_value"] = number(test.log10_smallest_p_value);
  json["log10_bonferroni"] = number(test.log10_bonferroni);
  json["sampling"] = test.sampling == GridSampling::importance ? "importance" : "plain";
  json["draws"] = test.draws;
  json["seed"] = test.seed;
  return json;
}

Json component_json(const NamedComponentTest& component) {
  const ComponentTest& test = component.test;
  Json json = begun(test);
  json["tested"] = component.second;
  json["given"] = component.first;
  json["group"] = component.group;
  json["null_time"] = number(test.null_time);
  json["null_outcome"] = to_string(test.null_outcome);
  json["statistic"] = number(test.statistic);
  json["standardised"] = number(test.standardised);
  json.update(resampled_json(test.bootstrap));
  json["given_null_time"] = json_score_test(test.given);
  return json;
}

Json binary_json(const NamedBinaryTest& binary) {
  const BinaryTest& test = binary.test;
  Json json = begun(test);
  json["zero"] = number(binary.zero);
  json["one"] = number(binary.one);
  json["zeros"] = test.zeros;
  json["ones"] = test.ones;
  json["statistic"] = number(test.statistic);
  json["recommended"] = to_string(test.recommended);
  json["p_value"] = number(test.p_value);
  json["log10_p_value"] = number(test.log10_p_value);
  json["standard_error"] = number(test.standard_error);
  json["upper_bound"] = test.recommended != BinaryNull::asymptotic && test.resampled.upper_bound;
  json["p_value_asymptotic"] = number(test.p_value_asymptotic);
  json["log10_p_value_asymptotic"] = number(test.log10_p_value_asymptotic);
  json["resampling"] = to_string(test.resampling);
  json["resampled"] = resampled_json(test.resampled);
  json["separated_draws"] = test.separated_draws;
  json["iterations"] = test.iterations;
  return json;
}

}  // namespace

Json json_score_test(const ScoreTest& test) {
  return {{"outcome", to_string(test.outcome)},
          {"reason", test.reason},
          {"statistic", number(test.statistic)},
          {"method", test.method == PValueMethod::exact ? "exact" : "satterthwaite"},
          {"p_value", number(test.p_value)},
          {"log10_p_value", number(test.log10_p_value)},
          {"p_value_exact", number(test.p_value_exact)},
          {"log10_p_value_exact", number(test.log10_p_value_exact)},
          {"relative_error", number(test.relative_error)},
          {"quadrature_nodes", test.quadrature_nodes},
          {"log10_standard_error", number(test.log10_standard_error)},
          {"p_value_satterthwaite", number(test.p_value_satterthwaite)},
          {"log10_p_value_satterthwaite", number(test.log10_p_value_satterthwaite)},
          {"satterthwaite_scale", number(test.satterthwaite_scale)},
          {"satterthwaite_dof", number(test.satterthwaite_dof)}};
}

void add_further_tests(Json& json, const FurtherTests& tests) {
  if (tests.likelihood_ratio) json["likelihood_ratio_test"] = likelihood_ratio_json(*tests.likelihood_ratio);
  if (tests.permutation) json["permutation_test"] = permutation_json(*tests.permutation);
  if (tests.grid) json["grid_test"] = grid_json(*tests.grid);
  if (tests.component) json["component_test"] = component_json(*tests.component);
  if (tests.binary) json["binary_test"] = binary_json(*tests.binary);
}

}  // namespace gradflow
