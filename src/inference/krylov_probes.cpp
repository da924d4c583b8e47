#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "gradflow/base/error.h"
#include "gradflow/base/parallel.h"
#include "inference/krylov_engine.h"

// The engine's random probes of the spectrum: how many, of how many steps, and how much they leave uncertain.
namespace gradflow {
namespace {

constexpr Index first_probe_steps = 1, more_probe_steps = 1;       // where only log10 p asks for probes
constexpr Index first_rule_steps = 4, more_rule_steps = 4;         // where rules do
constexpr Index first_deflation = 160, first_test_deflation = 64;  // vectors of a random block, likewise
constexpr Index small = 1024, small_deflation = 256;               // dimensions of which it soon covers all
constexpr Index most_probe_steps = 200;
constexpr int most_regrowths = 4;  // of the space, by half, where eigenpairs are cheaper than probes
constexpr Index first_probes = 4;  // to decide by what is to be enlarged
constexpr Index fewest_test = 4, fewest_rule = 8;  // to believe their own spread
constexpr Index most_batch_entries = 2 << 20;      // of the probes that share a product: n x columns, 16 MB
constexpr double bin_width = 0.03;                 // relative: nodes merged for the jackknife
constexpr double regrow_beyond = 1.5;              // times the least probes: where a larger space is cheaper
constexpr double helped = 0.8;  // of the probes wanted before: what a larger space has to leave
constexpr Index jackknife_groups = 16;
constexpr double settled = 0.5;  // of a tolerance: the difference of the rules that ends the steps' growing
constexpr Index moment_steps = 5, first_moment_probes = 12;
constexpr Index most_moment_probes = 4;  // for each probe that there may be
constexpr Index most_growth = 4;  // of their number at once: the spread that asks for it is an estimate

// Binned rules, each group's left out in turn.
std::vector<Quadrature> without_each(const std::vector<Quadrature>& groups) {
  std::vector<Quadrature> left;
  for (std::size_t out = 0; out < groups.size(); ++out) {
    std::vector<Quadrature> kept;
    for (std::size_t g = 0; g < groups.size(); ++g)
      if (g != out) kept.push_back(groups[g]);
    left.push_back(pool(kept));
  }
  return left;
}

// The mean of `count` rules whose mean is `one` and of `others` whose mean is `other`.
Quadrature mean_of(const Quadrature& one, Index count, const Quadrature& other, Index others) {
  const auto share = static_cast<double>(count) / static_cast<double>(count + others);
  Quadrature mean{Vector(one.nodes.size() + other.nodes.size()),
                  Vector(one.nodes.size() + other.nodes.size())};
  mean.nodes << one.nodes, other.nodes;
  mean.weights << share * one.weights, (1.0 - share) * other.weights;
  return mean;
}

// Of an estimate, from its values with each of the groups left out; nothing from fewer than two.
Vector jackknife_variance(const std::vector<Vector>& estimates, Index size) {
  const auto groups = static_cast<Index>(estimates.size());
  if (groups < 2) return Vector::Zero(size);
  Matrix values(size, groups);
  for (Index g = 0; g < groups; ++g) values.col(g) = estimates[static_cast<std::size_t>(g)];
  const Matrix centred = values.colwise() - values.rowwise().mean();
  return static_cast<double>(groups - 1) / static_cast<double>(groups) * centred.rowwise().squaredNorm();
}

}  // namespace

Index KrylovEngine::batch_columns() const {
  const bool wide = in_blocks() && M_.rows() <= 1 << 14;  // 4 MB a block
  return std::clamp<Index>(most_batch_entries / M_.rows(), 8, wide ? 32 : 16);
}

bool KrylovEngine::covered() const { return M_.dimension() - pairs_.count() < 1; }

Index KrylovEngine::probes() const {
  Index count = 0;
  for (const auto& batch : batches_) count += batch->count();
  return count;
}

void KrylovEngine::add_probes(Index count, Index steps, bool keep) {
  while (count > 0) {
    const Index columns = std::min(count, batch_columns());
    batches_.push_back(std::make_unique<SpectralProbes>(
        M_, pairs_, random_signs(M_.rows(), options_.seed, probes(), columns), keep));
    kept_batches_ += keep ? 1 : 0;
    batches_.back()->extend(steps);
    products_ += columns * steps;
    count -= columns;
    progress(fmt::format("probe {} of the spectrum", probes()), 0.5);
  }
}

void KrylovEngine::add_moment_probes(Index count) {
  while (count > 0) {
    const Index columns = std::min(count, batch_columns());
    SpectralProbes batch(
        M_, pairs_, random_signs(M_.rows(), options_.seed, moment_probes(), columns, "moment probe"), false);
    batch.extend(moment_steps);
    for (Index j = 0; j < columns; ++j) moment_rules_.push_back(batch.rule(j));
    products_ += columns * moment_steps;
    count -= columns;
    progress(fmt::format("moment probe {} of the spectrum", moment_probes()), 0.5);
  }
}

// Whatever is a mean of completely monotone functions lies between the Gauss and the Gauss-Radau rules'
// values: what the decisions differ by stands for what more steps could move.
void KrylovEngine::settle_steps(Need need) {
  for (;;) {
    // A fit at the end of what the space resolves says nothing of the fit, nor of how sharp it has to be.
    if (need == Need::every_rule) settle_space();
    const Index steps = probe_steps();
    const Decision now = decide(data(), need);
    const Vector other = decided(data_from(radau_rules()), now);
    report_.decision_movement = ((now.value - other).cwiseAbs().array() / now.tolerance.array()).maxCoeff();
    if (!(report_.decision_movement > settled) ||
        steps >= std::min(options_.krylov.max_steps, most_probe_steps))
      return;
    const Index least = need == Need::every_rule ? more_rule_steps : more_probe_steps;
    const Index further = std::max(least, steps / 2);
    for (const auto& batch : batches_) batch->extend(steps + further);
    products_ += probes() * further;
    progress(fmt::format("{} steps of {} probes", steps + further, probes()), 0.5);
  }
}

Index KrylovEngine::wanted_at_least(Need need) const {
  if (options_.krylov.probes > 0) return options_.krylov.probes;
  return need == Need::every_rule ? std::max(options_.krylov.loo_probes, fewest_rule) : fewest_test;
}

// A few probes to judge by; those of rule loo are among the kept.
void KrylovEngine::start_probes(Need need) {
  if (covered()) return;
  if (squared_norm_ < 0.0) squared_norm_ = M_.squared_norm();
  add_probes(std::min(wanted_at_least(need), first_probes),
             need == Need::every_rule ? first_rule_steps : first_probe_steps, keeps(need));
  settle_steps(need);
}

bool KrylovEngine::keeps(Need need) const {
  return need == Need::every_rule && probes() < options_.krylov.loo_probes;
}

std::vector<const SpectralProbes*> KrylovEngine::kept() const {
  std::vector<const SpectralProbes*> kept;
  for (Index b = 0; b < kept_batches_; ++b) kept.push_back(batches_[static_cast<std::size_t>(b)].get());
  return kept;
}

// Probes of a few steps are cheap and know the first moments of the spectrum, which are most of what a smooth
// function's trace varies with.
bool KrylovEngine::moments_pay() const {
  return options_.krylov.probes == 0 && probe_steps() >= moment_steps + 3;
}

// The numbers that bring the variance down to the tolerance's square with the fewest products, of the
// decision that asks for most.
KrylovEngine::Wanted KrylovEngine::wanted(const Spread& spread, const Vector& tolerance) const {
  const auto present = static_cast<double>(probes()), moments = static_cast<double>(moment_probes());
  Wanted wanted;
  for (Index i = 0; i < tolerance.size(); ++i) {
    const double aim = tolerance(i) * tolerance(i);
    const double one = spread.probes(i) * present, other = spread.moments(i) * moments;  // of a single probe
    const double steps = static_cast<double>(probe_steps()), few = static_cast<double>(moment_steps);
    const double product = std::sqrt(one * steps) + std::sqrt(other * few);
    const double longs = std::sqrt(one / steps) * product / aim,
                 shorts = std::sqrt(other / few) * product / aim;
    wanted.probes = std::max(wanted.probes, static_cast<Index>(std::ceil(std::min(longs, 1e6))));
    wanted.moments = std::max(wanted.moments, static_cast<Index>(std::ceil(std::min(shorts, 1e6))));
  }
  return wanted;
}

void KrylovEngine::sharpen_probes(Need need) {
  const Index least = wanted_at_least(need);
  const Index most = options_.krylov.probes > 0 ? least : std::max(least, options_.krylov.max_probes);
  while (!covered()) {  // a regrown space may leave nothing to probe
    const Decision all = decide(data(), need);
    const Vector& tolerance = all.tolerance;
    const Spread spread = jackknife([&](const SpectralData& data) { return decided(data, all); });
    const double worst = (spread.error().array() / tolerance.array()).maxCoeff();
    const Wanted enough = wanted(spread, tolerance);
    const bool sharp = !(worst > 1.0);
    if (!sharp && pays_to_regrow(enough, least)) {
      wanted_before_ = enough.probes;
      if (regrow(need)) continue;
    }
    if (sharp && probes() >= least) return;
    const Index most_moments = moments_pay() ? most_moment_probes * most : moment_probes();
    Index target = std::max(least, probes()), moments = moment_probes();
    if (!sharp && moments == 0 && most_moments > 0) {
      moments = std::min(first_moment_probes, most_moments);
    } else if (!sharp) {
      target = std::clamp(enough.probes, target, std::max(target, most));
      moments = std::clamp(enough.moments, moments, std::max(moments, most_moments));
      // An estimate of what is enough may call what is there enough, or nearly.
      if (target < probes() + 2 && moments < moment_probes() + 8) {
        target = std::min(std::max(target, probes() + 2), std::max(target, most));
        moments = std::min(std::max(moments, moment_probes() + 8), std::max(moments, most_moments));
      }
    }
    if (target <= probes() && moments <= moment_probes()) return;
    target = std::min(target, std::max(least, most_growth * probes()));
    moments = std::min(moments, std::max(first_moment_probes, most_growth * moment_probes()));
    while (probes() < target)
      add_probes(std::min(batch_columns(), target - probes()), probe_steps(), keeps(need));
    if (moments > moment_probes()) add_moment_probes(moments - moment_probes());
    settle_steps(need);
  }
}

Eigenpairs KrylovEngine::found_pairs() const {
  return deflation_ ? converged_pairs(*deflation_) : converged_pairs(space_);
}

bool KrylovEngine::deflate(Need need) {
  if (!deflation_) {
    const Index columns = M_.H().columns_at_once();
    deflation_ = std::make_unique<BlockKrylovSpace>(
        [this](ConstBlock X, Block Y) {
          products_ += X.cols();
          M_.apply(X, Y);
        },
        random_signs(M_.rows(), options_.seed, 0, columns, "deflation"),
        std::min(3 * options_.krylov.max_steps / 4, M_.dimension()), options_.krylov.basis,
        [this](Block X) { M_.project(X); });
  }
  const Index before = deflation_->size();
  const Index rules = M_.dimension() <= small ? small_deflation : first_deflation;
  const Index least = need == Need::every_rule ? rules : first_test_deflation;
  deflation_->extend(std::max(least, before + before / 2));
  progress(fmt::format("{} vectors for the leading eigenvalues", deflation_->size()), 0.5);
  return deflation_->size() > before;
}

// Products of a larger space and of new probes to judge it by, against those of the probes that are missing.
// A block's vectors cost no more than a probe's. What did not help once is not tried again.
bool KrylovEngine::pays_to_regrow(const Wanted& enough, Index least) const {
  const bool few = probes() <= first_probes && moment_probes() == 0;
  if (few && !(static_cast<double>(enough.probes) > regrow_beyond * static_cast<double>(least))) return false;
  if (in_blocks()) return few;
  if (static_cast<double>(enough.probes) > helped * static_cast<double>(wanted_before_)) return false;
  const Index missing = std::max<Index>(0, enough.probes - probes()), steps = probe_steps();
  const Index products =
      moment_probes() == 0 && moments_pay()
          ? missing * (moment_steps + steps / 4)
          : missing * steps + moment_steps * std::max<Index>(0, enough.moments - moment_probes());
  const Index growth = space_.steps() / 2 + first_probes * steps;
  return (few ? growth : 4 * growth) < products;  // what is there would be thrown away
}

// Where many probes would be needed, a larger space finds more eigenpairs to take out of their way.
bool KrylovEngine::regrow(Need need) {
  if (regrowths_ == most_regrowths) return false;
  ++regrowths_;
  if (in_blocks() ? !deflate(need) : at_limit()) return false;
  if (!in_blocks()) extend(space_.steps() + space_.steps() / 2);
  Eigenpairs pairs = found_pairs();
  if (pairs.count() <= pairs_.count()) return true;  // the probes are those of the pairs so far
  pairs_ = std::move(pairs);
  batches_.clear();
  moment_rules_.clear();
  kept_batches_ = 0;
  start_probes(need);
  return true;
}

KrylovEngine::ProbeRules KrylovEngine::rules_by(Quadrature (SpectralProbes::*rule)(Index) const) const {
  ProbeRules rules;
  for (const auto& batch : batches_)
    for (Index j = 0; j < batch->count(); ++j) rules.probes.push_back((*batch.*rule)(j));
  if (moment_rules_.empty()) return rules;
  rules.all = rules.probes;
  rules.all.insert(rules.all.end(), moment_rules_.begin(), moment_rules_.end());
  return rules;
}

KrylovEngine::Spread KrylovEngine::jackknife(
    const std::function<Vector(const SpectralData&)>& estimate) const {
  const ProbeRules rules = this->rules();
  const auto in_groups = [](const std::vector<Quadrature>& each) {
    return bin(each, std::min<Index>(static_cast<Index>(each.size()), jackknife_groups), bin_width);
  };
  const std::vector<Quadrature> groups = in_groups(rules.probes), moment_groups = in_groups(moment_rules_);
  // All that is left out, one group after the other: first of the probes, then of the moment probes.
  const Quadrature probe_mean = pool(groups), moment_mean = pool(moment_groups);
  std::vector<ProbeRules> left;
  for (const Quadrature& kept : without_each(groups)) left.push_back({{kept}, {}});
  for (const Quadrature& kept : without_each(moment_groups))
    left.push_back({{probe_mean}, {mean_of(probe_mean, probes(), kept, moment_probes())}});
  if (!moment_groups.empty())
    for (std::size_t g = 0; g < groups.size(); ++g)
      left[g].all = {mean_of(left[g].probes.front(), probes(), moment_mean, moment_probes())};
  std::vector<Vector> estimates(left.size());
  parallel_for(static_cast<Index>(left.size()), 1, [&](Index begin, Index end) {
    for (Index i = begin; i < end; ++i)
      estimates[static_cast<std::size_t>(i)] = estimate(data_from(left[static_cast<std::size_t>(i)]));
  });
  const Index size = estimates.front().size();
  const auto split = estimates.begin() + static_cast<std::ptrdiff_t>(groups.size());
  return {jackknife_variance({estimates.begin(), split}, size),
          jackknife_variance({split, estimates.end()}, size)};
}

double KrylovEngine::standard_error(const std::function<double(const SpectralData&)>& estimate) const {
  if (covered() || probes() == 0) return 0.0;
  if (probes() < 2) return std::numeric_limits<double>::quiet_NaN();
  const double error =
      jackknife([&](const SpectralData& data) { return Vector{{estimate(data)}}; }).error()(0);
  // The bias that the probes' steps leave is bounded by what their two rules differ by.
  const double shift = estimate(data()) - estimate(data_from(radau_rules()));
  return std::hypot(error, std::isfinite(shift) ? shift : 0.0);
}

}  // namespace gradflow
