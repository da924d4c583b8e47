#include "inference/box_minimum.h"

#include <nlopt.h>

#include <cmath>
#include <exception>
#include <memory>

namespace gradflow {
namespace {

struct BoxSearch {
  const BoxProblem& problem;
  int max_evaluations;
  BoxMinimum best{};
  double first = 0.0, worst = 0.0;  // of the finite values
  std::exception_ptr error{};       // NLopt is C: nothing may be thrown through it
  nlopt_opt optimiser = nullptr;
};

// Where f is not defined the optimiser is told a value above all others, rising as it goes on, and no slope:
// its line search then goes back.
double undefined_value(BoxSearch& search) {
  search.worst += std::max(1.0, std::abs(search.worst - search.best.value));
  return search.worst / search.problem.scale;
}

double evaluate(BoxSearch& search, const Vector& x, Vector& gradient) {
  const double value = search.problem.objective(x, gradient);
  BoxMinimum& best = search.best;
  ++best.evaluations;
  if (std::isfinite(value) && value < best.value) {
    best.value = value;
    best.x = x;
  }
  best.best_after.push_back(best.value);
  if (!std::isfinite(value) || !gradient.allFinite()) {
    gradient.setZero(x.size());
    return std::isfinite(best.value) ? undefined_value(search) : HUGE_VAL;
  }
  search.worst = std::max(search.worst, value);
  return value / search.problem.scale;
}

double callback(unsigned count, const double* x, double* gradient, void* data) {
  BoxSearch& search = *static_cast<BoxSearch*>(data);
  const Index size = static_cast<Index>(count);
  if (search.best.evaluations >= search.max_evaluations || search.error) {
    nlopt_force_stop(search.optimiser);
    return HUGE_VAL;
  }
  try {
    Vector slope = Vector::Zero(size);
    const double value = evaluate(search, Eigen::Map<const Vector>(x, size), slope);
    if (gradient != nullptr) Eigen::Map<Vector>(gradient, size) = slope / search.problem.scale;
    return value;
  } catch (...) {
    search.error = std::current_exception();
    nlopt_force_stop(search.optimiser);
    return HUGE_VAL;
  }
}

nlopt_algorithm algorithm(Optimiser optimiser) {
  switch (optimiser) {
    case Optimiser::slsqp: return NLOPT_LD_SLSQP;
    case Optimiser::variable_metric: return NLOPT_LD_VAR2;
    case Optimiser::lbfgs: break;
  }
  return NLOPT_LD_LBFGS;
}

std::string describe(nlopt_result result, const BoxSearch& search) {
  if (search.best.evaluations >= search.max_evaluations) return "limit of evaluations";
  switch (result) {
    case NLOPT_SUCCESS: return "optimum";
    case NLOPT_FTOL_REACHED: return "the criterion no longer falls";
    case NLOPT_XTOL_REACHED: return "the parameters no longer move";
    case NLOPT_ROUNDOFF_LIMITED: return "limited by rounding";
    default: return "the line search found no lower point";
  }
}

}  // namespace

BoxMinimum minimise_in_box(const BoxProblem& problem, Optimiser optimiser, int max_evaluations,
                           double tolerance) {
  BoxSearch search{problem, max_evaluations};
  search.best.x = problem.start.cwiseMax(problem.lower).cwiseMin(problem.upper);
  const unsigned size = static_cast<unsigned>(problem.start.size());
  const std::unique_ptr<nlopt_opt_s, decltype(&nlopt_destroy)> opt(nlopt_create(algorithm(optimiser), size),
                                                                   &nlopt_destroy);
  if (!opt) throw std::bad_alloc();
  search.optimiser = opt.get();
  nlopt_set_min_objective(opt.get(), callback, &search);
  nlopt_set_lower_bounds(opt.get(), problem.lower.data());
  nlopt_set_upper_bounds(opt.get(), problem.upper.data());
  nlopt_set_ftol_abs(opt.get(), tolerance / problem.scale);
  Vector x = search.best.x;
  double value = 0.0;
  const nlopt_result result = nlopt_optimize(opt.get(), x.data(), &value);
  if (search.error) std::rethrow_exception(search.error);
  search.best.converged = result > 0 || result == NLOPT_ROUNDOFF_LIMITED;
  search.best.reason = describe(result, search);
  return search.best;
}

}  // namespace gradflow
