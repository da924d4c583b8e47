#include "gradflow/training/following_stop.h"

#include <algorithm>
#include <array>
#include <boost/math/tools/toms748_solve.hpp>
#include <cmath>
#include <cstdint>
#include <utility>

#include "base/special_values.h"
#include "gradflow/base/error.h"
#include "gradflow/base/linear_algebra.h"
#include "gradflow/inference/stopping.h"
#include "gradflow/training/initial_flow.h"
#include "training/time_grid.h"

namespace gradflow {
namespace {

constexpr int grid_points = 240;
constexpr Index numbers_per_record = 10;

double at_root(const std::function<double(double)>& g, double low, double high) {
  std::uintmax_t iterations = 200;
  const auto root = boost::math::tools::toms748_solve(
      g, low, high, boost::math::tools::eps_tolerance<double>(50), iterations);
  return 0.5 * (root.first + root.second);
}

constexpr std::array outcomes{Outcome::not_run,     Outcome::converged,    Outcome::at_zero,
                              Outcome::on_boundary, Outcome::unidentified, Outcome::iteration_limit};

Outcome outcome_at(double index) { return outcomes.at(static_cast<std::size_t>(index)); }

double index_of(Outcome outcome) {
  return static_cast<double>(std::find(outcomes.begin(), outcomes.end(), outcome) - outcomes.begin());
}

}  // namespace

Remaining remaining_flow_time(const Vector& values, const Vector& w, const Vector& r, double trace) {
  const Eigen::ArrayXd a = w.array() * r.array(), lambda = values.array();
  const auto N = static_cast<double>(values.size());
  const double largest = lambda.maxCoeff();
  if (!(largest > 0.0)) return {Outcome::unidentified, "the operator is zero", not_a_number};
  if (!(a.sum() > 0.0))
    return {Outcome::at_zero, "w'r <= 0: the fitted values account for all of w'w, no noise is left", 0.0};
  const auto mass = [&](double u) { return (a * (-u * lambda).exp()).sum(); };
  const auto g = [&](double u) { return (a * (N * lambda - trace) * (-u * lambda).exp()).sum(); };
  if (!(g(0.0) > 0.0)) return {Outcome::at_zero, "N w'Mr <= tr M w'r", 0.0};
  double before = 0.0;
  for (const double u : times_seen(largest)) {
    const bool root = !(g(u) > 0.0), emptied = !(mass(u) > 0.0);
    if (root && !emptied) return {Outcome::converged, "N w'Mr = tr M w'r", at_root(g, before, u)};
    if (emptied) {
      const double empty = at_root(mass, before, u);
      if (root && !(g(empty) > 0.0))
        return {Outcome::converged, "N w'Mr = tr M w'r", at_root(g, before, empty)};
      return {Outcome::on_boundary, "w'exp(-uM)r falls to zero first", empty};
    }
    before = u;
  }
  return {Outcome::on_boundary, "the criterion falls for ever", infinity};
}

Remaining remaining_risk_time(const Vector& values, const Vector& a, const Vector& b) {
  double high = 0.0;
  const double largest = values.maxCoeff();
  if (!(largest > 0.0)) return {Outcome::unidentified, "the operator is zero", not_a_number};
  // Direction i alone is best where exp(-u lambda_i) = b_i / a_i.
  for (Index i = 0; i < values.size(); ++i)
    if (values(i) > 1e-14 * largest && b(i) > 0.0 && a(i) > b(i))
      high = std::max(high, std::log(a(i) / b(i)) / values(i));
  if (!(high > 0.0)) return {Outcome::at_zero, "more training raises the expected error", 0.0};
  const auto risk = [&](double u) {
    const Eigen::ArrayXd decay = (-u * values.array()).exp();
    return (decay * (decay * a.array() - 2.0 * b.array())).sum() + static_cast<double>(values.size());
  };
  const Minimum minimum = minimise_over_time(risk, log_grid(1e-8 * high, 1.01 * high, grid_points), false);
  return {outcome_of(minimum), "least expected error", minimum.time};
}

Remaining remaining_gcv_time(const Vector& values, const Vector& r, const Vector& b) {
  const double largest = values.maxCoeff(), N = static_cast<double>(values.size());
  if (!(largest > 0.0)) return {Outcome::unidentified, "the operator is zero", not_a_number};
  const auto gcv = [&](double u) {
    const Eigen::ArrayXd decay = (-u * values.array()).exp();
    const double left = (decay * b.array()).sum();
    return left < 0.01 * N ? infinity : N * (decay * r.array()).square().sum() / (left * left);
  };
  if (std::isinf(gcv(0.0))) return {Outcome::at_zero, "99 % of the degrees of freedom are used", 0.0};
  const TimeGrid grid = times_seen(largest);
  const Minimum minimum = minimise_over_time(gcv, grid, false);
  return {outcome_of(minimum), "least generalised cross-validation", minimum.time};
}

void FollowOptions::check() const {
  require(growth > 1.0, "growth", growth, "must be > 1");
  require(tolerance >= 0.0, "tolerance", tolerance, "must be >= 0");
  require(first_part > 0.0 && first_part <= 1.0, "first_part", first_part, "must be in (0, 1]");
  require(first_steps >= 1, "first_steps", first_steps, "must be >= 1");
  reml.check();
}

FollowingStop::FollowingStop(const Trainer& trainer, FollowOptions options) : options_(options) {
  options_.check();
  if (trainer.options().loss == TrainingLoss::cross_entropy || trainer.network().outputs() != 1)
    throw InputError("the following stop is for squared loss and one output");
  w_ = trainer.fixed().reduce(trainer.residual());
  r_before_ = w_;
  due_.step = 0;
}

FollowingStop::Spectrum FollowingStop::spectrum_of(const Trainer& trainer) const {
  const Matrix& X = trainer.data().X;
  auto eigen =
      symmetric_eigen(trainer.fixed().project(trainer.network().kernel(X) / static_cast<double>(X.rows())));
  return {eigen.values.cwiseMax(0.0), std::move(eigen.vectors)};
}

// Flow time since the last look: the clock's, or that at which the flow of the operator then comes nearest to
// what training has made of the residual.
double FollowingStop::elapsed_since(const Trainer& trainer, const Vector& r) const {
  if (!std::isnan(trainer.time())) return trainer.time() - time_before_;
  return matched_flow_time(before_.values, before_.vectors.transpose() * r_before_,
                           before_.vectors.transpose() * r);
}

// U_now'R <- exp(-(ds/2) lambda_now) U_now' U_before exp(-(ds/2) lambda_before) (U_before'R)
void FollowingStop::track(double step, const Spectrum& now) {
  if (path_.size() == 0) {
    path_ = now.vectors.transpose();
    return;
  }
  path_.array().colwise() *= (-0.5 * step * before_.values.array()).exp();
  const Matrix turn = multiply(now.vectors, Transpose::yes, before_.vectors, Transpose::no);
  path_ = multiply(turn, Transpose::no, path_, Transpose::no);
  path_.array().colwise() *= (-0.5 * step * now.values.array()).exp();
}

Remaining FollowingStop::by_smoother(const Spectrum& now, FollowRecord& record) {
  // b = diag U'R U
  const Vector b = path_.cwiseProduct(now.vectors.transpose()).rowwise().sum();
  record.dof = static_cast<double>(w_.size()) - b.sum();
  record.tracking = (now.vectors * (path_ * w_) - r_before_).norm() / w_.norm();
  if (options_.kind == FollowKind::risk) return by_risk(now, b, record);
  return remaining_gcv_time(now.values, now.vectors.transpose() * r_before_, b);
}

Remaining FollowingStop::by_risk(const Spectrum& now, const Vector& b, FollowRecord& record) {
  const Spectrum& model = options_.components == ComponentsAt::present ? now : initial_;
  SpectralData data;
  data.values = model.values;
  data.z = model.vectors.transpose() * w_;
  const RemlFit ridge = fit_reml(data, Path{.kind = PathKind::ridge}, options_.reml);
  const TwoComponentFit fit = fit_two_components(data, ridge, options_.reml);
  if (!usable(fit.outcome)) return {fit.outcome, ridge.reason, not_a_number};
  const double largest = model.values.maxCoeff();
  record.tau_largest = fit.tau * largest;
  record.kappa_largest = fit.kappa * largest * largest;
  // a = diag G (p + 1) G', G = U'R U_model
  const Matrix G = multiply(path_, Transpose::no, model.vectors, Transpose::no);
  const Vector a = G.cwiseAbs2() * (fit.prior(model.values).array() + 1.0).matrix();
  return remaining_risk_time(now.values, a, b);
}

void FollowingStop::plan(const Trainer& trainer, double remaining) {
  due_ = {};
  if (std::isnan(trainer.time())) {
    const auto grown = static_cast<Index>(std::ceil(options_.growth * static_cast<double>(trainer.steps())));
    due_.step = std::max(grown, trainer.steps() + options_.first_steps);
    return;
  }
  const double s = trainer.time();
  double ahead = remaining > 0.0 ? remaining : (options_.growth - 1.0) * s;
  if (s > 0.0)
    ahead = std::min(ahead, (options_.growth - 1.0) * s);
  else if (std::isfinite(ahead))
    ahead *= options_.first_part;
  if (std::isfinite(ahead) && ahead > 0.0)
    due_.time = s + ahead;
  else
    due_.step = trainer.steps() + options_.first_steps;
}

std::string FollowingStop::look(const Trainer& trainer) {
  const Vector r = trainer.fixed().reduce(trainer.residual());
  FollowRecord record;
  record.step = trainer.steps();
  const Spectrum now = spectrum_of(trainer);
  if (records_.empty()) {
    initial_ = now;
    before_ = now;
  }
  const double step = records_.empty() ? 0.0 : elapsed_since(trainer, r);
  elapsed_ += step;
  record.time = elapsed_;
  record.trace = now.values.sum();
  record.alignment = w_.dot(r) / (w_.norm() * r.norm());
  r_before_ = r;
  Remaining left;
  if (options_.kind != FollowKind::flow) {
    track(step, now);
    left = by_smoother(now, record);
  } else {
    left = remaining_flow_time(now.values, now.vectors.transpose() * w_, now.vectors.transpose() * r,
                               record.trace);
  }
  record.outcome = left.outcome;
  record.reason = left.reason;
  record.remaining = left.time;
  records_.push_back(record);
  before_ = now;
  time_before_ = trainer.time();
  plan(trainer, left.time);
  const bool done = left.time <= options_.tolerance * elapsed_ || left.time == 0.0;
  if (!done || trainer.steps() < options_.least_steps) return "";
  return fmt::format("nothing remains at flow time {:.6g} by the operator then ({})", elapsed_, left.reason);
}

void FollowingStop::save(TensorFile& file) const {
  Matrix numbers(numbers_per_record, static_cast<Index>(records_.size()));
  for (std::size_t k = 0; k < records_.size(); ++k) {
    const FollowRecord& record = records_[k];
    numbers.col(static_cast<Index>(k)) << static_cast<double>(record.step), record.time, record.remaining,
        index_of(record.outcome), record.alignment, record.trace, record.tau_largest, record.kappa_largest,
        record.tracking, record.dof;
    file.metadata[fmt::format("follow.reason.{}", k)] = record.reason;
  }
  write_state(file, "follow.records", numbers);
  const double due_step = due_.step == Due::never ? -1.0 : static_cast<double>(due_.step);
  write_state(file, "follow.numbers", Vector(Eigen::Vector4d(due_step, due_.time, elapsed_, time_before_)));
  write_state(file, "follow.start", w_);
  write_state(file, "follow.residual", r_before_);
  write_state(file, "follow.values", before_.values);
  write_state(file, "follow.vectors", before_.vectors);
  write_state(file, "follow.initial_values", initial_.values);
  write_state(file, "follow.initial_vectors", initial_.vectors);
  write_state(file, "follow.path", path_);
}

void FollowingStop::restore(const TensorFile& file) {
  const Matrix numbers = read_state(file, "follow.records");
  records_.clear();
  for (Index k = 0; k < numbers.cols(); ++k) {
    const auto v = numbers.col(k);
    const auto reason = file.metadata.find(fmt::format("follow.reason.{}", k));
    records_.push_back({static_cast<Index>(v(0)), v(1), v(2), outcome_at(v(3)),
                        reason == file.metadata.end() ? std::string() : reason->second, v(4), v(5), v(6),
                        v(7), v(8), v(9)});
  }
  const Matrix state = read_state(file, "follow.numbers");
  due_.step = state(0) < 0.0 ? Due::never : static_cast<Index>(state(0));
  due_.time = state(1);
  elapsed_ = state(2);
  time_before_ = state(3);
  w_ = read_state(file, "follow.start");
  r_before_ = read_state(file, "follow.residual");
  before_ = {read_state(file, "follow.values"), read_state(file, "follow.vectors")};
  initial_ = {read_state(file, "follow.initial_values"), read_state(file, "follow.initial_vectors")};
  path_ = read_state(file, "follow.path");
}

}  // namespace gradflow
