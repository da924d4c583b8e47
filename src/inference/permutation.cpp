#include "gradflow/inference/permutation_test.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "gradflow/base/error.h"
#include "gradflow/base/random.h"
#include "inference/rounding.h"

namespace gradflow {
namespace {

PermutationTest unidentified_permutation(std::string reason) {
  PermutationTest test;
  test.outcome = Outcome::unidentified;
  test.reason = std::move(reason);
  return test;
}

// T of every column after the fixed effects, whose orthonormal basis is Q1.
class Statistic {
 public:
  Statistic(const TrainingOperator& H, const FixedEffects& fixed)
      : H_(H), Q1_(fixed.orthonormal_design()), N_(static_cast<double>(fixed.residual_dimension())) {}

  void project(Matrix& E) const {
    if (Q1_.cols() > 0) E -= Q1_ * (Q1_.transpose() * E).eval();
  }

  Vector operator()(Matrix E) const {
    project(E);
    Matrix HE(E.rows(), E.cols());
    H_.apply(E, HE);
    return N_ * (E.cwiseProduct(HE).colwise().sum().array() / E.colwise().squaredNorm().array()).transpose();
  }

 private:
  const TrainingOperator& H_;
  Matrix Q1_;
  double N_;
};

// Permuted copies of e, a block of columns at a time, in a fixed order: random, or every arrangement once.
class Permutations {
 public:
  Permutations(const Vector& e, const PermutationOptions& options, bool all)
      : e_(e), options_(options), all_(all), order_(static_cast<std::size_t>(e.size())) {
    std::iota(order_.begin(), order_.end(), Index{0});
  }

  Matrix next(Index columns) {
    Matrix E(e_.size(), columns);
    RandomStream random(options_.seed, fmt::format("permutation {}", block_++));
    for (Index j = 0; j < columns; ++j) {
      if (!all_) order_ = random.permutation(e_.size());
      E.col(j) = e_(order_);
      if (all_) std::next_permutation(order_.begin(), order_.end());
    }
    return E;
  }

 private:
  const Vector& e_;
  const PermutationOptions& options_;
  bool all_;
  std::vector<Index> order_;
  int block_ = 0;
};

// n!, or more than `limit`.
Index factorial_up_to(Index n, Index limit) {
  Index product = 1;
  for (Index k = 2; k <= n && product <= limit; ++k) product *= k;
  return product;
}

bool intercept_at_most(const FixedEffects& fixed) {
  if (fixed.count() != 1) return fixed.count() == 0;
  const auto column = fixed.design().col(0);
  return (column.array() == column(0)).all();
}

struct Tally {
  Index draws = 0, reached = 0;
  double lowest = std::numeric_limits<double>::infinity(), highest = -lowest;
};

Tally count(const Statistic& statistic, Permutations& permutations, double observed, Index total,
            const PermutationOptions& options) {
  Tally tally;
  const double threshold = observed - tie * std::abs(observed);
  while (tally.draws < total) {
    const Vector values = statistic(permutations.next(std::min(options.block, total - tally.draws)));
    for (const double value : values) {
      ++tally.draws;
      tally.reached += value >= threshold ? 1 : 0;
      tally.lowest = std::min(tally.lowest, value);
      tally.highest = std::max(tally.highest, value);
      if (options.stop_after > 0 && tally.reached == options.stop_after) return tally;
    }
  }
  return tally;
}

void describe(const Tally& tally, const PermutationOptions& options, PermutationTest& test) {
  test.outcome = Outcome::converged;
  if (test.enumerated) {
    const auto share = static_cast<double>(tally.reached) / static_cast<double>(tally.draws);
    test.resampled = {share, std::log10(share), 0.0, tally.draws, tally.reached, false, options.seed};
    test.reason = fmt::format("all {} permutations", tally.draws);
    return;
  }
  test.stopped_early = options.stop_after > 0 && tally.reached == options.stop_after;
  test.resampled = test.stopped_early ? stopped_p_value(tally.reached, tally.draws, options.seed)
                                      : resampled_p_value(tally.reached, tally.draws, options.seed);
  test.reason = fmt::format("{} random permutations{}", tally.draws,
                            test.exact_level ? "" : " of the residuals: the level is approximate");
  if (test.resampled.upper_bound)
    test.reason += "; none reached the statistic, so the p-value is an upper bound";
}

}  // namespace

void PermutationOptions::check() const {
  require(draws >= 1, "permutation draws", draws, "must be >= 1");
  require(block >= 1, "permutation block", block, "must be >= 1");
  require(stop_after >= 0, "permutation stop_after", stop_after, "must be >= 0");
}

PermutationTest permutation_test(const TrainingOperator& H, const FixedEffects& fixed, ConstVector y,
                                 const PermutationOptions& options) {
  options.check();
  require(H.size() == fixed.rows(), "training operator size", H.size(), "must equal the number of rows");
  require(y.size() == fixed.rows(), "number of responses", y.size(), "must equal the number of rows");
  require(y.allFinite(), "response", "not finite", "every response must be finite");
  const Statistic statistic(H, fixed);
  Matrix e = y;
  statistic.project(e);
  if (!(e.norm() > 1e-12 * y.norm()))
    return unidentified_permutation(
        "the fixed effects explain the response exactly: nothing is left to test");
  PermutationTest test;
  test.exact_level = intercept_at_most(fixed);
  test.statistic = statistic(e)(0);
  const Index arrangements = factorial_up_to(y.size(), options.draws);
  test.enumerated = arrangements <= options.draws;
  const Vector residual = e.col(0);
  Permutations permutations(residual, options, test.enumerated);
  PermutationOptions used = options;
  if (test.enumerated) used.stop_after = 0;
  const Tally tally =
      count(statistic, permutations, test.statistic, test.enumerated ? arrangements : options.draws, used);
  if (tally.highest - tally.lowest <= tie * std::abs(tally.highest) && tally.draws > 1)
    return unidentified_permutation(
        "the statistic is the same for every permutation: the operator distinguishes nothing");
  describe(tally, options, test);
  return test;
}

}  // namespace gradflow
