#include "gradflow/training/train.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <memory>
#include <utility>

#include "gradflow/base/error.h"
#include "gradflow/base/parallel.h"
#include "gradflow/base/random.h"
#include "gradflow/data/file_stamp.h"
#include "gradflow/inference/stopping.h"
#include "gradflow/training/planned_time.h"
#include "gradflow/training/rate_follower.h"
#include "training/training_stop.h"
#include "training/validation_stop.h"

namespace gradflow {
namespace {

constexpr double adam_rate = 1e-3;
constexpr double gd_part = 0.2;  // of the largest stable rate
constexpr double momentum_part = 0.1;

bool squared(const TrainRequest& request) { return request.trainer.loss != TrainingLoss::cross_entropy; }

std::string fingerprint_of(const TrainingSet& data, const TrainableNetwork& network,
                           const TrainRequest& request) {
  const OptimiserOptions& o = request.trainer.optimiser;
  const Schedule& s = request.trainer.schedule;
  Fingerprint print;
  print.add(request.fingerprint);
  print.add(fmt::format("{}|{}|{}|{}|{}|{}|{}|{}|{}|{}|{}|{}|{}|{}|{}|{}|{}|{}|{}|{}|{}|{}",
                        to_string(o.kind), o.learning_rate, o.momentum, o.beta1, o.beta2, o.epsilon,
                        o.weight_decay, static_cast<int>(o.anchor), to_string(s.kind), s.period, s.factor,
                        s.floor, s.warm_up, to_string(request.trainer.loss), request.trainer.batch,
                        request.trainer.seed, to_string(request.stop), request.watch, request.watching.probes,
                        request.watching.growth, network.description(), request.validation_fraction));
  const TrainingSet& watched = request.held_out;
  for (const Matrix* part : {&data.X, &data.Y, &data.design, &watched.X, &watched.Y, &watched.design})
    print.add(part->data(), static_cast<std::size_t>(part->size()));
  print.add(network.parameters().data(), static_cast<std::size_t>(network.parameters().size()));
  return print.hex();
}

/// What one call of train() shares between its parts.
class Training {
 public:
  Training(TrainableNetwork& network, const TrainingSet& data, const TrainRequest& request)
      : network_(network), data_(data), request_(request) {}

  TrainReport go() {
    check();
    choose_rate();
    Trainer trainer(network_, data_, request_.trainer);
    report_.start_loss = trainer.start_loss();
    if (request_.stop == TrainingStop::validation) return validated(trainer);
    if (request_.stop == TrainingStop::cross_validation) return cross_validated(trainer);
    if (request_.stop == TrainingStop::follow_gdf) return by_used_freedom(trainer);
    RunOptions options = run_options(network_);
    options.max_steps = request_.stop == TrainingStop::steps ? request_.steps : request_.max_steps;
    if (!set_stop(trainer, options)) return finish(trainer);
    run(trainer, std::move(options));
    if (request_.stop != TrainingStop::steps) note_limit();
    return finish(trainer);
  }

 private:
  void check() const {
    require(request_.stop != TrainingStop::steps || request_.steps >= 1, "steps", request_.steps,
            "must be >= 1");
    require(request_.max_steps >= 1, "max_steps", request_.max_steps, "must be >= 1");
    require(request_.validation_fraction > 0.0 && request_.validation_fraction < 1.0, "validation_fraction",
            request_.validation_fraction, "must be in (0, 1)");
    const bool squared_only = needs_operator(request_.stop) || request_.stop == TrainingStop::follow_gdf;
    if (squared_only && !squared(request_))
      throw InputError(fmt::format("stop {} is for squared loss: give steps, validation or cross-validation",
                                   to_string(request_.stop)));
    if (request_.stop == TrainingStop::follow_gdf && !labels_of_indicators(data_.Y).empty())
      throw InputError(
          "stop follow-gdf takes the noise of all rows as one, which that of classes is not: give steps, "
          "validation, cross-validation, reml-risk or reml-flow");
    if (follows_operator(request_.stop) && network_.outputs() > 1)
      throw InputError(
          fmt::format("stop {} is for one output, and the network has {}: give steps, validation, "
                      "cross-validation, reml-risk or reml-flow",
                      to_string(request_.stop), network_.outputs()));
    const bool by_products = !follows_operator(request_.stop) && network_.outputs() == 1 &&
                             has_flow_time(request_.trainer.optimiser.kind);
    if (needs_operator(request_.stop) && !small() && !by_products)
      throw InputError(fmt::format(
          "stop {} with {}: for more than {} rows, and there are {}, give reml-risk or reml-flow with gd, "
          "momentum or nesterov and one output, or follow-gdf, validation, cross-validation or steps",
          to_string(request_.stop), to_string(request_.trainer.optimiser.kind), InitialFlow::most_rows,
          data_.X.rows()));
  }

  // Whether the operator at the start is made as a matrix.
  bool small() const { return data_.X.rows() <= InitialFlow::most_rows; }

  // lambda_1, from the spectrum where that is made anyway, and the learning rate with its limit.
  void choose_rate() {
    OptimiserOptions& optimiser = request_.trainer.optimiser;
    TrainerOptions any = request_.trainer;
    any.optimiser.learning_rate = 1.0;
    if (small() && squared(request_) && (needs_operator(request_.stop) || request_.watch))
      flow_ = std::make_unique<InitialFlow>(Trainer(network_, data_, any));
    // With K > 1 the flow's operator is a mean, and steps are limited by the whole one.
    report_.largest_eigenvalue =
        flow_ && network_.outputs() == 1 ? flow_->largest_eigenvalue() : largest_eigenvalue(network_, data_);
    const double halved = request_.trainer.loss == TrainingLoss::mse ? 0.5 : 1.0;
    report_.stable_rate = halved * largest_stable_rate(optimiser, report_.largest_eigenvalue);
    report_.learning_rate_chosen = std::isnan(request_.learning_rate);
    if (!has_flow_time(optimiser.kind))
      optimiser.learning_rate = report_.learning_rate_chosen ? adam_rate : request_.learning_rate;
    else if (report_.learning_rate_chosen)
      optimiser.learning_rate =
          report_.stable_rate * (optimiser.kind == OptimiserKind::gd ? gd_part : momentum_part);
    else
      optimiser.learning_rate = request_.learning_rate;
    report_.learning_rate = optimiser.learning_rate;
    if (squared(request_) && optimiser.learning_rate >= report_.stable_rate)
      throw InputError(fmt::format(
          "learning rate {:g}: must be below {:.6g}, above which {} is not stable at the largest eigenvalue "
          "{:.6g} of the operator at the start",
          optimiser.learning_rate, report_.stable_rate, to_string(optimiser.kind),
          report_.largest_eigenvalue));
  }

  RunOptions run_options(const TrainableNetwork& network) const {
    RunOptions options;
    options.checkpoint = request_.checkpoint;
    options.seconds_between_checkpoints = request_.seconds_between_checkpoints;
    options.fingerprint = fingerprint_of(data_, network, request_);
    options.progress = request_.progress;
    return options;
  }

  // False where the rule has no training to do.
  bool set_stop(const Trainer& trainer, RunOptions& options) {
    switch (request_.stop) {
      case TrainingStop::steps: return true;
      case TrainingStop::reml_risk:
      case TrainingStop::reml_flow: return set_time(trainer, options);
      case TrainingStop::follow:
      case TrainingStop::follow_flow:
      case TrainingStop::follow_gcv: {
        FollowOptions follow = request_.follow;
        follow.kind = follow_kind(request_.stop);
        follow_ = std::make_unique<FollowingStop>(trainer, follow);
        options.monitors.push_back(follow_.get());
        return true;
      }
      case TrainingStop::follow_gdf:
      case TrainingStop::validation:
      case TrainingStop::cross_validation: break;
    }
    throw InternalError("unnamed stop");
  }

  bool set_time(const Trainer& trainer, RunOptions& options) {
    if (flow_)
      plan(flow_->data());
    else
      plan_by_products(trainer);
    if (!usable(report_.outcome) || report_.planned_time == 0.0) return false;
    if (has_flow_time(request_.trainer.optimiser.kind)) {
      options.stop_time = report_.planned_time;
      return true;
    }
    matched_ = std::make_unique<MatchedTimeStop>(*flow_, report_.planned_time);
    options.monitors.push_back(matched_.get());
    return true;
  }

  void plan_by_products(const Trainer& trainer) {
    const bool risk = request_.stop == TrainingStop::reml_risk;
    const StoppingRule rule =
        planned_time(trainer, risk ? RuleKind::reml_risk : RuleKind::reml_path, request_.progress);
    report_.outcome = rule.outcome;
    report_.reason = rule.reason;
    if (usable(rule.outcome)) report_.planned_time = rule.time;
    report_.planned_log_time_standard_error = rule.log_time_standard_error;
  }

  void plan(const SpectralData& data) {
    if (request_.stop == TrainingStop::reml_flow) {
      const RemlFit fit = fit_reml(data, Path{});
      report_.outcome = fit.outcome;
      report_.reason = fit.reason;
      report_.planned_time = usable(fit.outcome) ? flow_time(data) : report_.planned_time;
    } else {
      const RemlFit ridge = fit_reml(data, Path{.kind = PathKind::ridge});
      report_.outcome = ridge.outcome;
      report_.reason = ridge.reason;
      if (usable(ridge.outcome)) {
        report_.planned_time = risk_time(data, ridge, StoppingOptions{});
        report_.reason = "least expected error at the operator at the start";
      }
    }
  }

  // Where the learning rate is ours: the user's is kept.
  std::unique_ptr<RateFollower> rate_follower(const Trainer& trainer) const {
    if (!report_.learning_rate_chosen || !has_flow_time(request_.trainer.optimiser.kind)) return nullptr;
    return std::make_unique<RateFollower>(trainer, request_.trainer.seed);
  }

  void run(Trainer& trainer, RunOptions options) {
    if (request_.watch) {
      watch_ = std::make_unique<Watch>(trainer, flow_.get(), request_.held_out, request_.watching);
      options.monitors.insert(options.monitors.begin(), watch_.get());
    }
    const auto follower = rate_follower(trainer);
    if (follower) options.monitors.push_back(follower.get());
    report_.run = run_training(trainer, options);
    if (report_.run.end == TrainingEnd::diverged) {
      report_.outcome = Outcome::unidentified;
      report_.reason = report_.run.reason;
    } else {
      if (!usable(report_.outcome)) report_.outcome = Outcome::converged;
      if (report_.reason.empty()) report_.reason = report_.run.reason;
    }
  }

  // Where the steps came to an end before the stop.
  void note_limit() {
    if (report_.run.end != TrainingEnd::steps) return;
    report_.outcome = Outcome::iteration_limit;
    report_.reason = fmt::format("{} steps were done before the stop", report_.run.steps);
    if (report_.planned_time > 0.0 && report_.run.time > 0.0)
      report_.reason += fmt::format(", flow time {:.4g} of {:.4g}", report_.run.time, report_.planned_time);
  }

  TrainingSet rows(const std::vector<Index>& which) const {
    return {data_.X(which, Eigen::all), data_.Y(which, Eigen::all),
            data_.design.cols() > 0 ? Matrix(data_.design(which, Eigen::all))
                                    : Matrix(static_cast<Index>(which.size()), 0)};
  }

  // At the network's present weights.
  Matrix scores_of(const TrainingSet& set, const Matrix& coefficients) const {
    Matrix scores = network_.output(set.X);
    if (set.design.cols() > 0) scores += set.design * coefficients;
    return scores;
  }

  // NaN where the responses are no indicators.
  static double accuracy_of(const Matrix& scores, const Matrix& Y) {
    const Labels labels = labels_of_indicators(Y);
    return labels.empty() ? std::numeric_limits<double>::quiet_NaN() : accuracy(scores, labels);
  }

  // Stop validation without refit: the best weights seen, of the rows `in`.
  TrainReport keep(const ValidationStop& best, const TrainingRun& run, const TrainingSet& in, Index held) {
    report_.run = run;
    report_.run.steps = best.best_steps();
    report_.run.time = best.best_time();
    report_.outcome = Outcome::converged;
    report_.reason = fmt::format("least loss on {} held-out rows, trained on {}", held, in.X.rows());
    report_.coefficients = best.best_coefficients();
    report_.loss = best.best_training_loss();
    report_.accuracy = accuracy_of(scores_of(in, report_.coefficients), in.Y);
    if (watch_) {
      watch_->cut(best.best_steps());
      report_.watch = watch_->records();
      report_.verdict = watch_->verdict();
    }
    return report_;
  }

  // Held-out rows first, then all rows to the time or the number of steps that was best.
  TrainReport validated(Trainer& trainer) {
    const RowSplit split = validation_split(data_.Y, request_.validation_fraction, request_.trainer.seed);
    const TrainingSet out = rows(split.held), in = rows(split.kept);
    const auto held = static_cast<Index>(split.held.size());
    const Vector start = network_.parameters();
    TrainerOptions options = request_.trainer;
    options.batch = std::min(options.batch, in.X.rows());
    Trainer part(network_, in, options);
    ValidationStop validation(part, out);
    RunOptions first = run_options(network_);
    first.max_steps = request_.max_steps;
    first.monitors = {&validation};
    if (!request_.checkpoint.empty()) first.checkpoint += ".validation";
    if (!request_.refit && request_.watch) {  // with refit it is the training on all rows that is watched
      watch_ = std::make_unique<Watch>(part, nullptr, out, request_.watching);
      first.monitors.insert(first.monitors.begin(), watch_.get());
    }
    const auto follower = rate_follower(part);
    if (follower) first.monitors.push_back(follower.get());
    const TrainingRun held_out_run = run_training(part, first);
    report_.validation_loss = validation.best_loss();
    report_.validation_steps = validation.best_steps();
    if (held_out_run.end == TrainingEnd::diverged) report_.warnings.push_back(held_out_run.reason);
    network_.set_parameters(validation.best_parameters());
    report_.validation_accuracy = accuracy_of(scores_of(out, validation.best_coefficients()), out.Y);
    if (!request_.refit) return keep(validation, held_out_run, in, held);
    network_.set_parameters(start);
    RunOptions again = run_options(network_);
    again.max_steps = request_.max_steps;
    if (std::isnan(validation.best_time()))
      again.max_steps = validation.best_steps();
    else
      again.stop_time = validation.best_time();
    run(trainer, std::move(again));
    if (report_.outcome == Outcome::converged)
      report_.reason = fmt::format("least loss on {} held-out rows, then trained on all", held);
    return finish(trainer);
  }

  // Of a rule that makes `count` trainings in turn before the one that is kept.
  TurnOptions in_turn(const char* suffix, int count) const {
    TurnOptions options;
    options.trainer = request_.trainer;
    options.follows_rate = report_.learning_rate_chosen && has_flow_time(request_.trainer.optimiser.kind);
    options.max_steps = request_.max_steps;
    if (!request_.checkpoint.empty()) options.checkpoint = request_.checkpoint + suffix;
    options.seconds_between_checkpoints = request_.seconds_between_checkpoints;
    options.fingerprint =
        fmt::format("{} {} {}", fingerprint_of(data_, network_, request_), count, request_.max_steps);
    options.progress = request_.progress;
    return options;
  }

  // All rows to the time or the number of steps that such a rule found best.
  TrainReport train_to(Trainer& trainer, const TurnCurve& found, const std::string& checkpoint) {
    report_.warnings.insert(report_.warnings.end(), found.warnings.begin(), found.warnings.end());
    RunOptions again = run_options(network_);
    again.max_steps = request_.max_steps;
    const bool limited = found.still_falling();
    if (!limited && found.in_time) again.stop_time = report_.planned_time = found.point();
    if (!limited && !found.in_time) again.max_steps = static_cast<Index>(found.point());
    run(trainer, std::move(again));
    if (limited || found.in_time) note_limit();
    if (!checkpoint.empty()) {
      std::error_code ignored;
      std::filesystem::remove(checkpoint, ignored);
    }
    return finish(trainer);
  }

  TrainReport cross_validated(Trainer& trainer) {
    const CrossValidationOptions options{in_turn(".folds", request_.folds), request_.folds};
    report_.cross_validation = cross_validate(network_, data_, options);
    const CrossValidation& cross = *report_.cross_validation;
    report_.validation_loss = cross.loss();
    report_.validation_accuracy = accuracy_of(cross.left_out, data_.Y);
    report_.reason = fmt::format("least loss on rows left out, of {} folds", cross.folds);
    return train_to(trainer, cross, options.checkpoint);
  }

  TrainReport by_used_freedom(Trainer& trainer) {
    const TrainedGcvOptions options{in_turn(".twins", request_.twins), request_.twins};
    report_.trained_gcv = trained_gcv(network_, data_, options);
    report_.reason =
        fmt::format("least generalised cross-validation, {:.4g} of {} degrees of freedom used",
                    report_.trained_gcv->at_best(report_.trained_gcv->dof), report_.trained_gcv->freedom);
    return train_to(trainer, *report_.trained_gcv, options.checkpoint);
  }

  TrainReport finish(const Trainer& trainer) {
    report_.loss = trainer.loss();
    report_.coefficients = trainer.coefficients();
    report_.accuracy = accuracy_of(trainer.fitted(), data_.Y);
    if (flow_) report_.matched_time = flow_->matched_time(trainer.residual());
    if (follow_) report_.follow = follow_->records();
    if (watch_) {
      watch_->finish(trainer);
      report_.watch = watch_->records();
      report_.verdict = watch_->verdict();
    }
    return report_;
  }

  TrainableNetwork& network_;
  const TrainingSet& data_;
  TrainRequest request_;
  TrainReport report_;
  std::unique_ptr<InitialFlow> flow_;
  std::unique_ptr<MatchedTimeStop> matched_;
  std::unique_ptr<FollowingStop> follow_;
  std::unique_ptr<Watch> watch_;
};

}  // namespace

double largest_eigenvalue(TrainableNetwork& network, const TrainingSet& data) {
  constexpr int iterations = 40;
  constexpr double settled = 1e-5;  // relative, of the last iteration's movement
  constexpr double relative_step = 1e-4;
  const auto n = static_cast<double>(data.X.rows());
  const Matrix Q1 = orthonormal_columns(data.design);
  const Vector theta = network.parameters();
  const auto pass = network.make_pass();
  Matrix v = RandomStream(1, "largest eigenvalue").normals(data.X.rows(), network.outputs());
  double value = 0.0;
  for (int k = 0; k < iterations; ++k) {
    v = without_columns(Q1, std::move(v));
    v /= v.norm();
    pass->forward(data.X);
    const Vector g = pass->pull_back(v);
    const double last = std::exchange(value, g.squaredNorm() / n);  // v'Mv, which rises
    if (!(value > 0.0) || value - last <= settled * value) break;
    // J g by central differences
    const double h = relative_step * std::max(1.0, theta.norm()) / g.norm();
    network.set_parameters(theta + h * g);
    const Matrix up = pass->forward(data.X);
    network.set_parameters(theta - h * g);
    v = (up - pass->forward(data.X)) / (2.0 * h);
    network.set_parameters(theta);
  }
  return value;
}

TrainReport train(TrainableNetwork& network, const TrainingSet& data, const TrainRequest& request) {
  const SerialBlas serial;  // the same bits for any number of threads, of eigenvalues too
  return Training(network, data, request).go();
}

}  // namespace gradflow
