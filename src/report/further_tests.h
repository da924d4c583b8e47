#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "gradflow/model/further_tests.h"

namespace gradflow {

/// Every field of a score test.
nlohmann::ordered_json json_score_test(const ScoreTest& test);

/// Adds an entry for each test that was run: likelihood_ratio_test, permutation_test, grid_test,
/// component_test, binary_test. A resampled p-value with upper_bound true says p <= p_value and no more.
void add_further_tests(nlohmann::ordered_json& json, const FurtherTests& tests);

/// A paragraph for each test that was run, each ending in an empty line; and, where the response has two
/// values and nobody asked for it, the hint that there is a test for these.
std::string text_further_tests(const Job& job, const PreparedJob& prepared, const FurtherTests& tests);

}  // namespace gradflow
