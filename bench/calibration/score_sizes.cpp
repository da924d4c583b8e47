// Sizes of the score test (exact and two-moment), of the likelihood ratio, and their power.
#include <algorithm>
#include <boost/math/distributions/chi_squared.hpp>
#include <cmath>

#include "designs.h"
#include "gradflow/inference/likelihood_ratio.h"
#include "gradflow/inference/permutation_test.h"
#include "gradflow/inference/score.h"
#include "parts.h"

namespace gradflow::calibration {
namespace {

constexpr Index block = 250;  // responses per product with the eigenvectors

std::vector<Setting> score_settings() {
  return {{.d = 2},
          {.d = 10},
          {.d = 100},
          {.d = 1000},
          {.n = 50},
          {.n = 50, .d = 1000},
          {.n = 500},
          {.n = 1000, .d = 100},
          {.n = 2000},
          {.correlation = 0.9},
          {.d = 100, .correlation = 0.9},
          {.replicates = 4},
          {.replicates = 4, .merged = true},
          {.covariates = 3},
          {.d = 2, .kernel = "linear"},
          {.kernel = "linear"},
          {.kernel = "ntk:erf:2"},
          {.kernel = "rbf"}};
}

// T at which the exact p-value is the level: T / N is a ratio of forms, between the extreme values.
double exact_critical_value(const Design& design, double level) {
  const double N = design.count();
  double low = SpectralData{design.values(), {}, design.multiplicity()}.trace_of_M() / N;
  double high = design.values()(0);
  for (int step = 0; step < 45; ++step) {
    const double middle = 0.5 * (low + high);
    const Vector weights = design.values().array() - middle;
    const bool above = weighted_chi_square_tail(weights, design.multiplicity()).log_p > std::log(level);
    (above ? low : high) = middle;
  }
  return N * 0.5 * (low + high);
}

// Of the reference's approximation: T / 2 = kappa times the chi-squared quantile.
double satterthwaite_critical_value(const Design& design, double level) {
  const ScoreTest any = score_test(design.values(), design.multiplicity(), design.values()(0), 2.0);
  const boost::math::chi_squared distribution(any.satterthwaite_dof);
  return 2.0 * any.satterthwaite_scale * boost::math::quantile(boost::math::complement(distribution, level));
}

Vector statistics(const Design& design, const Design::Projected& projected) {
  return design.count() * projected.quadratic.cwiseQuotient(projected.squares);
}

struct ScoreSizes {
  SizeRow exact, plug_in;
  Index checked = 0, agreed = 0;  // score_test() itself against its critical values
};

void count_rejections(const Vector& T, const std::array<double, 3>& critical, SizeRow& row) {
  for (const double t : T) {
    ++row.answered;
    for (std::size_t i = 0; i < critical.size(); ++i) row.rejected[i] += t >= critical[i] ? 1 : 0;
  }
}

ScoreSizes score_sizes(const Design& design, NoiseKind kind, Index draws) {
  const std::string noise(to_string(kind));
  const bool normal = kind == NoiseKind::normal;
  ScoreSizes sizes;
  sizes.exact = {design.setting().name(), noise, "score, exact", normal ? Claim::exact : Claim::none};
  sizes.plug_in = {design.setting().name(), noise, "score, two moments"};
  std::array<double, 3> exact{}, plug_in{};
  for (std::size_t i = 0; i < test_levels.size(); ++i) {
    exact[i] = exact_critical_value(design, test_levels[i]);
    plug_in[i] = satterthwaite_critical_value(design, test_levels[i]);
  }
  const Index blocks = (draws + block - 1) / block;
  std::vector<ScoreSizes> of_block(static_cast<std::size_t>(blocks));
  for_each_repetition(blocks, [&](Index b) {
    ScoreSizes& mine = of_block[static_cast<std::size_t>(b)];
    const auto projected =
        design.project_responses(noise_columns(kind, design.setting().n, b * block, block));
    const Vector T = statistics(design, projected);
    count_rejections(T, exact, mine.exact);
    count_rejections(T, plug_in, mine.plug_in);
    if (b >= 4) return;
    for (Index j = 0; j < 5; ++j) {
      const double p =
          score_test(design.values(), design.multiplicity(), projected.quadratic(j), projected.squares(j))
              .p_value;
      for (std::size_t i = 0; i < exact.size(); ++i, ++mine.checked)
        mine.agreed += (p <= test_levels[i]) == (T(j) >= exact[i]) ? 1 : 0;
    }
  });
  for (const ScoreSizes& part : of_block) {
    for (std::size_t i = 0; i < test_levels.size(); ++i) {
      sizes.exact.rejected[i] += part.exact.rejected[i];
      sizes.plug_in.rejected[i] += part.plug_in.rejected[i];
    }
    sizes.exact.answered += part.exact.answered;
    sizes.plug_in.answered += part.plug_in.answered;
    sizes.checked += part.checked;
    sizes.agreed += part.agreed;
  }
  return sizes;
}

struct Ratio {
  Vector null;  // ascending
  double p_value(double statistic) const {
    if (!(statistic > 0.0)) return 1.0;
    const auto reached = null.end() - std::lower_bound(null.begin(), null.end(), statistic);
    return (1.0 + static_cast<double>(reached)) / (1.0 + static_cast<double>(null.size()));
  }
};

Ratio ratio_null(const Design& design, const Path& family, Index draws) {
  const SpectralData data{design.values(), Vector::Zero(design.values().size()), design.multiplicity()};
  Ratio ratio{likelihood_ratio_null(data, family, {.draws = draws, .seed = 23})};
  std::sort(ratio.null.begin(), ratio.null.end());
  return ratio;
}

// The statistic of one response, found by the test itself; its own single null draw is not used.
LikelihoodRatioTest observed_ratio(const SpectralData& data, const Path& family) {
  return likelihood_ratio_test(data, family, {.draws = 1});
}

void add_ratio_sizes(const Design& design, PathKind path, NoiseKind kind, Index responses, Index null_draws,
                     std::vector<SizeRow>& rows) {
  const Path family{.kind = path};
  const Ratio null = ratio_null(design, family, null_draws);
  Vector simulated(responses), mixture(responses);
  const Matrix E = noise_columns(kind, design.setting().n, 0, responses);
  const auto projected = design.project_responses(3.0 * E);
  for_each_repetition(responses, [&](Index r) {
    const LikelihoodRatioTest test = observed_ratio(design.data(projected, r), family);
    simulated(r) = null.p_value(test.statistic);
    mixture(r) = test.p_value_mixture;
  });
  const std::string noise(to_string(kind)), name = fmt::format("likelihood ratio, {}", to_string(path));
  const bool normal = kind == NoiseKind::normal;
  SizeRow exact{design.setting().name(), noise, name, normal ? Claim::exact : Claim::none};
  exact.shared_null_draws = null_draws;
  SizeRow approximate{design.setting().name(), noise, "  50:50 mixture"};
  exact.add(simulated);
  approximate.add(mixture);
  rows.push_back(exact);
  rows.push_back(approximate);
}

}  // namespace

void add_score_sizes(const Effort& effort, std::vector<SizeRow>& rows) {
  Index checked = 0, agreed = 0;
  for (const Setting& setting : score_settings()) {
    const Design design(setting);
    const Index draws = effort.of(setting.n > 500 ? 20000 : setting.n == 200 ? 50000 : 20000);
    for (const NoiseKind kind : {NoiseKind::normal, NoiseKind::t3, NoiseKind::skewed}) {
      const bool main_design = setting.kernel == "ntk:relu:2" && setting.n <= 200 && !setting.merged;
      if (kind != NoiseKind::normal && !main_design) continue;
      const ScoreSizes sizes =
          score_sizes(design, kind, kind == NoiseKind::normal ? draws : std::min<Index>(draws, 20000));
      rows.push_back(sizes.exact);
      rows.push_back(sizes.plug_in);
      checked += sizes.checked;
      agreed += sizes.agreed;
    }
  }
  fmt::print("score test: critical values agree with the p-value itself in {} of {} decisions\n", agreed,
             checked);
}

void add_ratio_sizes(const Effort& effort, std::vector<SizeRow>& rows) {
  const Index responses = effort.of(4000), null_draws = 19999;
  for (const Setting& setting : std::vector<Setting>{{.d = 2},
                                                     {.d = 10},
                                                     {.d = 1000},
                                                     {.n = 50},
                                                     {.correlation = 0.9},
                                                     {.replicates = 4, .merged = true}}) {
    const Design design(setting);
    for (const PathKind path : {PathKind::flow, PathKind::ridge})
      add_ratio_sizes(design, path, NoiseKind::normal, responses, null_draws, rows);
    if (setting.d == 10 && setting.n == 200 && setting.correlation == 0.0 && !setting.merged)
      for (const NoiseKind kind : {NoiseKind::t3, NoiseKind::skewed})
        add_ratio_sizes(design, PathKind::ridge, kind, responses, null_draws, rows);
  }
}

Json report_power(const Effort& effort) {
  const Setting setting;
  const Design design(setting);
  const Index responses = effort.of(1000);
  const Path family{.kind = PathKind::ridge};
  const Ratio null = ratio_null(design, family, 19999);
  std::vector<SizeRow> rows;
  for (const TestFunction function : {TestFunction::model, TestFunction::mixed})
    for (const double strength : {0.05, 0.2}) {
      Vector exact(responses), two_moments(responses), permuted(responses), ratio(responses);
      for_each_repetition(responses, [&](Index r) {
        SimulationOptions options;
        options.function = function;
        options.rows = setting.n;
        options.signal_to_noise = strength;
        options.seed = 20;
        options.replicate = static_cast<std::uint64_t>(r);
        options.fixed_inputs = true;
        const Vector y = simulate(options).y;
        const auto projected = design.project_responses(y);
        const ScoreTest test = score_test(design.values(), {}, projected.quadratic(0), projected.squares(0));
        exact(r) = test.p_value_exact;
        two_moments(r) = test.p_value_satterthwaite;
        permuted(r) = permutation_test(design.H(), design.fixed(), y,
                                       {.draws = 999, .seed = static_cast<std::uint64_t>(r + 1)})
                          .resampled.p_value;
        ratio(r) = null.p_value(observed_ratio(design.data(projected, 0), family).statistic);
      });
      const std::string name = fmt::format("{}, signal / noise {}", to_string(function), strength);
      for (const auto& [test, p] : {std::pair{"score, exact", exact},
                                    {"score, two moments", two_moments},
                                    {"score, permutation", permuted},
                                    {"likelihood ratio, ridge", ratio}}) {
        SizeRow row{name, "normal", test};
        row.add(p);
        rows.push_back(row);
      }
    }
  return report_shares(fmt::format("Power, {}", setting.name()), rows);
}

}  // namespace gradflow::calibration
