#include "gradflow/inference/likelihood_ratio.h"

#include <algorithm>
#include <boost/math/distributions/chi_squared.hpp>
#include <cmath>

#include "gradflow/base/error.h"
#include "gradflow/base/parallel.h"
#include "inference/ratio_search.h"

namespace gradflow {
namespace {

constexpr Index draws_per_product = 128;  // from one random stream

// LR and where it is attained, over the times up to the bound: on the flow, whose estimate has no bound, Q is
// convex, and its minimum over them is at the bound where the estimate is beyond.
void observe(const SpectralData& data, const Path& family, const LikelihoodRatioOptions& options,
             LikelihoodRatioTest& test) {
  const RemlFit fit =
      fit_reml(data, family, {.level = options.level, .largest_shrinkage = options.largest_shrinkage});
  test.outcome = fit.outcome;
  test.reason = fit.reason;
  test.path = fit.path;
  if (!usable(fit.outcome)) return;
  if (family.kind == PathKind::flow) {
    const double bound = largest_time(data, family, options.largest_shrinkage);
    test.path.time = std::min(fit.path.time, bound);
    if (fit.path.time > bound) test.outcome = Outcome::on_boundary;
  }
  const double drop = reml_criterion(data, family.at(0.0)) - reml_criterion(data, test.path);
  test.statistic = test.path.time > 0.0 ? std::max(drop, 0.0) : 0.0;
}

void compare(const Vector& null, const LikelihoodRatioOptions& options, LikelihoodRatioTest& test) {
  const auto R = static_cast<double>(null.size());
  const Index reached = (null.array() >= test.statistic).count();
  test.simulated = resampled_p_value(reached, null.size(), options.seed);
  test.zero_mass = static_cast<double>((null.array() == 0.0).count()) / R;
  test.zero_mass_standard_error = std::sqrt(test.zero_mass * (1.0 - test.zero_mass) / R);
  Vector sorted = null;
  std::sort(sorted.begin(), sorted.end());
  const auto rank = static_cast<Index>(std::ceil(options.level * (R + 1.0)));
  test.critical_value = rank <= null.size() ? sorted(rank - 1) : std::numeric_limits<double>::infinity();
}

}  // namespace

void LikelihoodRatioOptions::check() const {
  require(draws >= 1, "likelihood ratio draws", draws, "must be >= 1");
  require(level > 0.0 && level < 1.0, "level", level, "must be between 0 and 1");
  require(largest_shrinkage > 1.0, "largest_shrinkage", largest_shrinkage, "must be > 1");
}

Vector likelihood_ratio_null(const SpectralData& data, const Path& family,
                             const LikelihoodRatioOptions& options) {
  options.check();
  const RatioSearch search =
      make_ratio_search(data, family, largest_time(data, family, options.largest_shrinkage));
  Vector null(options.draws);
  const SerialBlas serial;
  parallel_for(options.draws, draws_per_product, [&](Index begin, Index end) {
    RandomStream random(options.seed, fmt::format("likelihood ratio {}", begin / draws_per_product));
    null.segment(begin, end - begin) = search.maximise(search.null_squares(random, end - begin)).ratio;
  });
  return null;
}

LikelihoodRatioTest likelihood_ratio_test(const SpectralData& data, const Path& family,
                                          const LikelihoodRatioOptions& options) {
  options.check();
  LikelihoodRatioTest test;
  observe(data, family, options, test);
  if (!usable(test.outcome)) return test;
  compare(likelihood_ratio_null(data, family, options), options, test);
  const boost::math::chi_squared chi_square_1(1.0);
  test.p_value_mixture = test.statistic > 0.0
                             ? 0.5 * boost::math::cdf(boost::math::complement(chi_square_1, test.statistic))
                             : 1.0;
  if (test.simulated.upper_bound)
    test.reason = fmt::format(
        "no draw of {} reached the statistic: the p-value is an upper bound, and more draws may lower it",
        options.draws);
  return test;
}

}  // namespace gradflow
