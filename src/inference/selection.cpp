#include "gradflow/inference/selection.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>

#include "gradflow/base/error.h"
#include "gradflow/base/random.h"
#include "inference/box_minimum.h"

namespace gradflow {
namespace {

constexpr double lambda_sd = 1.0;                                         // of the prior on lambda
constexpr std::array first_signals{1e-2, 1e-1, 1.0, 1e1, 1e2, 1e3, 1e4};  // r where a search may begin

/// Likelihood, penalty and box of one candidate, and the searches made so far.
class CandidateSearch {
 public:
  CandidateSearch(const Candidate& candidate, const Response& response, const FixedEffects& fixed,
                  const SelectionOptions& options);

  const std::string& name() const noexcept { return candidate_.name; }
  bool possible() const noexcept { return problem_.empty(); }
  void run(int start, const std::function<void(int evaluations)>& after_evaluation);
  double best() const noexcept { return best_.value; }
  double after_a_third() const;  // of the first search
  void prune() noexcept { pruned_ = true; }
  bool pruned() const noexcept { return pruned_; }
  CandidateFit fit() const;

 private:
  double objective(const Vector& x, Vector& gradient) const;
  Vector start_of(int start) const;
  void set_bounds(double mean_diagonal);
  void judge(CandidateFit& fit) const;

  const Candidate& candidate_;
  const SelectionOptions& options_;
  RestrictedLikelihood likelihood_;
  Prior priors_;         // of all parameters
  std::string problem_;  // why nothing can be estimated
  Vector lower_, upper_;
  double log_unit_ = 0.0;  // log tau at r = 1
  BoxMinimum best_;
  double first_third_ = std::numeric_limits<double>::infinity();
  std::vector<SearchRecord> searches_;
  bool pruned_ = false;
};

CandidateSearch::CandidateSearch(const Candidate& candidate, const Response& response,
                                 const FixedEffects& fixed, const SelectionOptions& options)
    : candidate_(candidate),
      options_(options),
      likelihood_(*candidate.family, response, fixed, options.transform),
      priors_(candidate.priors) {
  const OperatorFamily& family = *candidate.family;
  if (priors_.size() == 0) priors_ = default_priors(family);
  require(priors_.size() == family.parameters(), fmt::format("number of priors of '{}'", candidate.name),
          priors_.size(), "must be 0 or the number of the family's parameters");
  require(candidate.start.size() == 0 || candidate.start.size() == family.parameters(),
          fmt::format("start of '{}'", candidate.name), candidate.start.size(),
          "must have 0 values or one for each parameter");
  const Vector start = family.start(), low = family.lower(), high = family.upper();
  require(low.size() == start.size() && high.size() == start.size() && (low.array() <= high.array()).all(),
          fmt::format("bounds of '{}'", candidate.name), "sizes differ or lower > upper", "must be a box");
  const double mean_diagonal = family.at(start)->H().diagonal().mean();
  if (!(mean_diagonal > 0.0) || !std::isfinite(mean_diagonal))
    problem_ = "the training operator is zero or not finite at the family's start";
  else if (!std::isfinite(likelihood_.criterion_at_zero(1.0)))
    problem_ = "the fixed effects explain the response exactly";
  else
    set_bounds(mean_diagonal);
}

void CandidateSearch::set_bounds(double mean_diagonal) {
  const OperatorFamily& family = *candidate_.family;
  const Index m = family.parameters();
  log_unit_ = -std::log(mean_diagonal);
  lower_.resize(likelihood_.parameters());
  upper_.resize(likelihood_.parameters());
  lower_.head(m) = family.lower();
  upper_.head(m) = family.upper();
  lower_(m) = log_unit_ + std::log(options_.lowest_signal);
  upper_(m) = log_unit_ + std::log(options_.highest_signal);
  priors_.add(ParameterPrior::normal(log_unit_, signal_prior_sd));
  if (!likelihood_.transforms()) return;
  lower_(m + 1) = options_.lowest_lambda;
  upper_(m + 1) = options_.highest_lambda;
  priors_.add(ParameterPrior::normal(1.0, lambda_sd));
}

double CandidateSearch::objective(const Vector& x, Vector& gradient) const {
  const LikelihoodValue value = likelihood_.at(x);
  const Prior::Value prior = priors_.at(x);
  gradient = value.gradient + prior.slope;
  return value.criterion + prior.penalty;
}

// Parameters of the family as asked for; tau and lambda the best of a few at those.
Vector CandidateSearch::start_of(int start) const {
  const OperatorFamily& family = *candidate_.family;
  const Index m = family.parameters();
  Vector p = candidate_.start.size() > 0 ? candidate_.start : family.start();
  if (start > 0)
    p += options_.spread * RandomStream(options_.seed, fmt::format("start {} {}", start, name())).normals(m);
  Vector x(likelihood_.parameters());
  x.head(m) = p.cwiseMax(family.lower()).cwiseMin(family.upper());
  const std::unique_ptr<OperatorFamily::Point> point = family.at(x.head(m));
  const Vector lambdas =
      likelihood_.transforms() ? Vector{{1.0, 0.5, 0.0, -0.5, -1.0, 1.5, 2.0}} : Vector{{1.0}};
  Vector best = x;
  double least = std::numeric_limits<double>::infinity();
  for (const double signal : first_signals) {
    x(m) = std::clamp(log_unit_ + std::log(signal), lower_(m), upper_(m));
    const Vector values = likelihood_.criteria(*point, x(m), lambdas);
    for (Index k = 0; k < lambdas.size(); ++k) {
      if (likelihood_.transforms()) x(m + 1) = std::clamp(lambdas(k), lower_(m + 1), upper_(m + 1));
      const double value = values(k) + priors_.at(x).penalty;
      if (least == std::numeric_limits<double>::infinity() || value < least) {
        best = x;
        least = value;
      }
    }
  }
  return best;
}

void CandidateSearch::run(int start, const std::function<void(int evaluations)>& after_evaluation) {
  BoxProblem problem{.start = start_of(start), .lower = lower_, .upper = upper_};
  problem.scale = likelihood_.restricted_count();
  int evaluations = 0;
  problem.objective = [&](const Vector& x, Vector& gradient) {
    const double value = objective(x, gradient);
    after_evaluation(++evaluations);
    return value;
  };
  BoxMinimum minimum =
      minimise_in_box(problem, options_.optimiser, options_.max_evaluations, options_.tolerance);
  searches_.push_back({problem.start, minimum.value, minimum.evaluations, minimum.converged, minimum.reason});
  if (start == 0) {
    const auto third = static_cast<std::size_t>((options_.max_evaluations + 2) / 3);
    first_third_ = minimum.best_after[std::min(third, minimum.best_after.size()) - 1];
  }
  if (start == 0 || minimum.value < best_.value) best_ = std::move(minimum);
}

double CandidateSearch::after_a_third() const { return first_third_; }

CandidateFit CandidateSearch::fit() const {
  CandidateFit fit;
  fit.name = name();
  fit.parameter_names = candidate_.family->names();
  fit.parameter_count = likelihood_.parameters();
  fit.searches = searches_;
  fit.pruned = pruned_;
  for (const SearchRecord& search : searches_) fit.evaluations += search.evaluations;
  fit.outcome = Outcome::unidentified;
  fit.reason = possible() ? "the likelihood is not finite at any point that was tried" : problem_;
  if (!possible() || !std::isfinite(best_.value)) return fit;
  const Index m = candidate_.family->parameters();
  fit.parameters = best_.x.head(m);
  fit.tau = std::exp(best_.x(m));
  const double lambda = likelihood_.transforms() ? best_.x(m + 1) : 1.0;
  fit.transform = likelihood_.transform().at(lambda);
  fit.value = likelihood_.at(best_.x);
  fit.criterion = fit.value.criterion;
  fit.penalised_criterion = best_.value;
  fit.criterion_at_zero = likelihood_.criterion_at_zero(lambda);
  judge(fit);
  return fit;
}

void CandidateSearch::judge(CandidateFit& fit) const {
  const std::vector<std::string> names = likelihood_.names();
  const Index m = candidate_.family->parameters();
  std::string warned;
  for (Index k = 0; k < best_.x.size(); ++k) {
    const double margin = 1e-6 * (upper_(k) - lower_(k));
    const bool low = best_.x(k) <= lower_(k) + margin, high = best_.x(k) >= upper_(k) - margin;
    const auto index = static_cast<std::size_t>(k);
    if (!low && !high) continue;
    fit.at_bound.push_back(fmt::format("{} = its {} bound {:.6g}", names[index], low ? "lower" : "upper",
                                       low ? lower_(k) : upper_(k)));
    if (low && priors_.of(k).kind == ParameterPrior::Kind::exchangeable) continue;  // switched off
    if (!warned.empty()) warned += ", ";
    warned += fit.at_bound.back();
  }
  fit.outcome = best_.converged ? Outcome::converged : Outcome::iteration_limit;
  fit.reason = best_.reason;
  if (best_.converged && !warned.empty()) {
    fit.outcome = Outcome::on_boundary;
    fit.reason = fmt::format("the penalised likelihood is largest at a bound: {}", warned);
  }
  if (best_.converged && best_.x(m) <= lower_(m) + 1e-6 * (upper_(m) - lower_(m))) {
    fit.outcome = Outcome::at_zero;
    fit.reason = "tau is at its lower bound: no training is warranted by the likelihood";
  }
}

// How to name the largest of a list, and by how much it leads.
struct Leader {
  Index index = -1;
  double lead = 0.0;
};

// Of the smallest value; infinite and NaN values do not compete.
Leader smallest(const std::vector<double>& values) {
  Leader leader;
  double least = std::numeric_limits<double>::infinity(), second = least;
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (!std::isfinite(values[i])) continue;
    if (values[i] < least) {
      second = std::exchange(least, values[i]);
      leader.index = static_cast<Index>(i);
    } else {
      second = std::min(second, values[i]);
    }
  }
  leader.lead = second - least;
  return leader;
}

void warn(Selection& selection) {
  const auto index = static_cast<std::size_t>(selection.best);
  const CandidateFit& best = selection.candidates[index];
  if (best.outcome != Outcome::converged)
    selection.warnings.push_back(
        fmt::format("'{}' is best, but {}: {}", best.name, to_string(best.outcome), best.reason));
  std::vector<double> scores;
  for (const CandidateFit& fit : selection.candidates)
    scores.push_back(-2.0 * fit.value.leave_one_out_log_density);
  const Leader predicted = smallest(scores);
  if (predicted.index >= 0 && predicted.index != selection.best) {
    const auto other = static_cast<std::size_t>(predicted.index);
    selection.warnings.push_back(fmt::format(
        "the likelihood prefers '{}' (by {:.3g}), the leave-one-out density prefers '{}' (by {:.3g})",
        best.name, selection.candidates[other].penalised_criterion - best.penalised_criterion,
        selection.candidates[other].name, scores[index] - scores[other]));
  }
  const auto reached =
      std::count_if(best.searches.begin(), best.searches.end(), [&](const SearchRecord& search) {
        return search.penalised_criterion <= best.penalised_criterion + 1.0;
      });
  if (best.searches.size() > 1 && reached == 1)
    selection.warnings.push_back(
        fmt::format("only one of {} searches of '{}' came within 1 of its minimum: there may be a lower one",
                    best.searches.size(), best.name));
}

// Refuses what cannot be compared before anything is computed.
void check(const std::vector<Candidate>& candidates) {
  require(!candidates.empty(), "number of candidates", candidates.size(), "must be at least 1");
  for (const Candidate& candidate : candidates) {
    require(candidate.family != nullptr, fmt::format("family of '{}'", candidate.name), "null",
            "must be given");
    require(candidate.family->size() == candidates.front().family->size(),
            fmt::format("number of rows of '{}'", candidate.name), candidate.family->size(),
            "must be the same for all candidates");
  }
}

// First searches for all, then further starts for those that are near the best of them.
void search_all(std::vector<CandidateSearch>& searches, const SelectionOptions& options) {
  const auto run = [&](CandidateSearch& search, int start, double done) {
    const double all = static_cast<double>(searches.size()) * options.starts;
    report_progress(options.progress, fmt::format("choosing the operator: {}", search.name()), done / all);
    search.run(start, [&](int evaluations) {
      report_progress(options.progress, fmt::format("choosing the operator: {}", search.name()),
                      (done + static_cast<double>(evaluations) / options.max_evaluations) / all);
    });
  };
  double done = 0.0, best = std::numeric_limits<double>::infinity();
  for (CandidateSearch& search : searches) {
    if (search.possible()) run(search, 0, done);
    best = std::min(best, search.best());
    ++done;
  }
  for (CandidateSearch& search : searches) {
    if (!search.possible()) continue;
    const double limit = best + options.prune_margin;
    if (options.starts > 1 && search.after_a_third() > limit && search.best() > limit) search.prune();
  }
  for (int start = 1; start < options.starts; ++start)
    for (std::size_t k = 0; k < searches.size(); ++k, ++done)
      if (searches[k].possible() && !searches[k].pruned()) run(searches[k], start, done);
}

}  // namespace

void SelectionOptions::check() const {
  require(starts >= 1, "starts", starts, "must be >= 1");
  require(spread > 0.0 && std::isfinite(spread), "spread", spread, "must be positive");
  require(max_evaluations >= 2, "max_evaluations", max_evaluations, "must be >= 2");
  require(tolerance > 0.0, "tolerance", tolerance, "must be positive");
  require(prune_margin >= 0.0, "prune_margin", prune_margin, "must be >= 0");
  require(lowest_lambda < 1.0 && lowest_lambda >= -10.0, "lowest_lambda", lowest_lambda,
          "must be in [-10, 1)");
  require(highest_lambda > 1.0 && highest_lambda <= 10.0, "highest_lambda", highest_lambda,
          "must be in (1, 10]");
  require(lowest_signal > 0.0 && lowest_signal < highest_signal && std::isfinite(highest_signal),
          "lowest_signal", lowest_signal, "must be positive and below highest_signal");
}

Selection select(const std::vector<Candidate>& candidates, const Response& response,
                 const FixedEffects& fixed, const SelectionOptions& options) {
  options.check();
  check(candidates);
  std::vector<CandidateSearch> searches;
  searches.reserve(candidates.size());
  for (const Candidate& candidate : candidates) searches.emplace_back(candidate, response, fixed, options);
  search_all(searches, options);
  Selection selection;
  std::vector<double> criteria;
  for (const CandidateSearch& search : searches) {
    selection.candidates.push_back(search.fit());
    criteria.push_back(selection.candidates.back().penalised_criterion);
  }
  selection.best = smallest(criteria).index;
  if (selection.best >= 0) warn(selection);
  return selection;
}

}  // namespace gradflow
