#pragma once

#include <fmt/format.h>

#include <array>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "../mean.h"
#include "gradflow/base/types.h"
#include "gradflow/model/simulate.h"

/// Shared by the parts of `./x bench calibration`: how often tests reject a true null, how often intervals
/// hold the truth.
namespace gradflow::calibration {

using Json = nlohmann::json;

constexpr std::array<double, 3> test_levels{0.05, 0.01, 0.001};
constexpr std::array<double, 3> interval_levels{0.5, 0.8, 0.95};

/// Chance of any false MISS in one table of sizes, shared out over the cells of which something is claimed
/// (Bonferroni).
constexpr double familywise_error = 0.01;

struct Effort {
  double scale = 1.0;  ///< counts of repetitions are multiplied by this
  Index rows = 1000;   ///< of real data, most in training and most in test
  Index of(Index count, Index least = 20) const;
};

/// Calls body(r) for r = 0, ..., count - 1 on all cores. The library and BLAS run on one thread meanwhile;
/// what a repetition draws depends on r alone, so the figures do not depend on the cores.
void for_each_repetition(Index count, const std::function<void(Index r)>& body);

/// What is claimed of a size: equal to the level, at most the level, or nothing (an approximation).
enum class Claim { exact, at_most, none };

/// How often one test rejected in one setting, at each of test_levels.
struct SizeRow {
  std::string setting, noise, test;
  Claim claim = Claim::none;
  std::array<Index, 3> rejected{};
  Index answered = 0;
  /// Draws of a simulated null that all responses share: given them the true size is random, Beta(k, R + 1 -
  /// k) with k = level (R + 1). 0: the null is known, or each response has draws of its own.
  Index shared_null_draws = 0;

  void add(const Vector& p_values);  ///< NaN: no answer
  double share(std::size_t level) const;
};

/// Shares of rejections that the claim allows, each end with half of `error` beyond it if the size is the
/// level (at_most: all of it beyond the upper end). Binomial, or beta-binomial with shared null draws.
struct Bounds {
  double lower, upper;
};
Bounds bounds_of(const SizeRow& row, std::size_t level, double error);

/// PASS or MISS where something is claimed; otherwise "", "high" or "low" by the same bounds.
std::string verdict(const SizeRow& row, std::size_t level, const Bounds& bounds);

/// Prints the table with its verdicts, and every MISS again below it. Returns it as JSON.
Json report_sizes(const std::string& title, const std::vector<SizeRow>& rows);

/// The same without bounds: power, where nothing is claimed.
Json report_shares(const std::string& title, const std::vector<SizeRow>& rows);

using bench::Mean;
using bench::mean_of;

/// Draw `repetition` of the study's data sets.
SimulatedData draw(TestFunction function, Index rows, Index repetition);

}  // namespace gradflow::calibration
