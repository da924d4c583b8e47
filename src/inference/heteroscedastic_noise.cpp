#include <Eigen/Cholesky>
#include <boost/math/distributions/chi_squared.hpp>
#include <cmath>
#include <utility>

#include "gradflow/base/error.h"
#include "gradflow/inference/noise_models.h"
#include "gradflow/spectrum/fixed_effects.h"

namespace gradflow {
namespace {

constexpr double largest_step = 1.0;  // of a row's log variance
constexpr double smallest_damping = 1.0 / 16.0;
constexpr double largest_range = 20.0;  // of the rows' log variances
constexpr const char* mean_name = "(fitted mean)";

double chi_squared_tail(double statistic, Index dof) {
  return boost::math::cdf(
      boost::math::complement(boost::math::chi_squared(static_cast<double>(dof)), std::max(0.0, statistic)));
}

// Columns with mean 0 and standard deviation 1, and those deviations.
struct Standardised {
  Matrix U;
  Vector scale;
};
Standardised standardise(const Matrix& columns) {
  Standardised result{columns.rowwise() - columns.colwise().mean(), Vector(columns.cols())};
  result.scale = (result.U.colwise().squaredNorm() / static_cast<double>(columns.rows())).cwiseSqrt();
  for (Index j = 0; j < columns.cols(); ++j) result.U.col(j) /= result.scale(j);
  return result;
}

void check_columns(ConstBlock columns, const std::vector<std::string>& names) {
  require(static_cast<Index>(names.size()) == columns.cols(), "names.size()", names.size(),
          "must be one per column");
  for (Index j = 0; j < columns.cols(); ++j) {
    const std::string& name = names[static_cast<std::size_t>(j)];
    if (!columns.col(j).allFinite())
      throw InputError(fmt::format("noise column '{}' has a value that is not finite", name));
    const double size = columns.col(j).cwiseAbs().maxCoeff();
    if (!((columns.col(j).array() - columns.col(j).mean()).abs().maxCoeff() > 1e-12 * size))
      throw InputError(fmt::format("noise column '{}' is constant: it cannot explain the noise", name));
  }
  if (columns.cols() == 0) return;
  require(columns.rows() > columns.cols() + 2, "rows", columns.rows(),
          "must be more than the noise columns + 2");
  Matrix design(columns.rows(), columns.cols() + 1);
  design << Vector::Ones(columns.rows()), standardise(columns).U;
  std::vector<std::string> all{"(intercept)"};
  all.insert(all.end(), names.begin(), names.end());
  const FixedEffects checked(design, all);  // throws, naming the column that depends on those before it
}

// One step of Fisher scoring for [intercept, gamma]; the intercept is s2's, which the refit estimates.
struct Scoring {
  Vector step;        // of gamma
  Matrix covariance;  // of gamma
  bool solved = false;
};
Scoring score(const WeightedFit& fit, const Vector& weights, const Matrix& U) {
  Matrix design(U.rows(), U.cols() + 1);
  design << Vector::Ones(U.rows()), U;
  const Eigen::ArrayXd k = fit.noise_variance / (weights.array() * fit.variances.array());
  const Eigen::ArrayXd squares = fit.residuals.array().square() * k / fit.variances.array();
  const Matrix information =
      fit.residual_operator.size() > 0
          ? Matrix(0.5 * design.transpose() * (fit.residual_operator.cwiseAbs2() * design))
          : Matrix(0.5 * design.transpose() * (k.matrix().asDiagonal() * design));
  const Eigen::LDLT<Matrix> solver(information);
  Scoring result;
  if (!(solver.vectorD().minCoeff() > 1e-12 * solver.vectorD().maxCoeff())) return result;
  const Vector right = 0.5 * design.transpose() * (squares - k).matrix();
  const Vector all = solver.solve(right);
  const Matrix inverse = solver.solve(Matrix::Identity(design.cols(), design.cols()));
  result.step = all.tail(U.cols());
  result.covariance = inverse.bottomRightCorner(U.cols(), U.cols());
  result.solved = true;
  return result;
}

double quadratic(const Matrix& covariance, const Vector& gamma) {
  return gamma.dot(covariance.ldlt().solve(gamma));
}

class NoiseSearch {
 public:
  NoiseSearch(const WeightedRefit& refit, ConstBlock columns, const HeteroscedasticOptions& options)
      : refit_(refit), given_(columns), options_(options), columns_(given_) {}

  HeteroscedasticNoise run();
  const Vector& scale() const { return current_.scale; }
  const Vector& gamma() const { return gamma_; }
  const Matrix& covariance() const { return scoring_.covariance; }
  bool has_mean() const { return columns_.cols() > given_.cols(); }

 private:
  // False when the fit cannot be used; the result then says why.
  bool refit(HeteroscedasticNoise& result);
  bool add_mean(HeteroscedasticNoise& result);
  void standardise_again();

  const WeightedRefit& refit_;
  Matrix given_;
  const HeteroscedasticOptions& options_;
  Matrix columns_;  // with the fitted mean
  Standardised current_;
  Vector gamma_;  // of the standardised columns
  Scoring scoring_;
};

bool NoiseSearch::refit(HeteroscedasticNoise& result) {
  result.fit = refit_(result.weights);
  ++result.iterations;
  if (!usable(result.fit.outcome)) {
    result.outcome = result.fit.outcome;
    result.reason = result.fit.reason;
    return false;
  }
  const Index n = given_.rows();
  require(result.fit.residuals.size() == n && result.fit.variances.size() == n, "residuals of the refit",
          result.fit.residuals.size(), "must be one per row");
  if (result.fit.noise_variance > 0.0 && std::isfinite(result.fit.noise_variance)) return true;
  result.outcome = Outcome::unidentified;
  result.reason = "the fit leaves no residuals: there is no noise to describe";
  return false;
}

// Appends or refreshes the column of the fitted mean; a constant one is left out.
bool NoiseSearch::add_mean(HeteroscedasticNoise& result) {
  const Vector& mean = result.fit.fitted;
  require(mean.size() == given_.rows(), "fitted values of the refit", mean.size(), "must be one per row");
  const double spread = (mean.array() - mean.mean()).abs().maxCoeff();
  if (!(spread > 1e-8 * std::sqrt(result.fit.noise_variance))) return false;
  columns_.conservativeResize(Eigen::NoChange, given_.cols() + 1);
  columns_.rightCols(1) = mean;
  return true;
}

// Keeps gamma per unit of the columns when the fitted mean changes its scale.
void NoiseSearch::standardise_again() {
  const Vector before = current_.scale;
  current_ = standardise(columns_);
  if (gamma_.size() == current_.scale.size())
    gamma_ = gamma_.cwiseProduct(current_.scale).cwiseQuotient(before);
  else
    gamma_ = Vector::Zero(current_.scale.size());
}

HeteroscedasticNoise NoiseSearch::run() {
  HeteroscedasticNoise result;
  result.weights = Vector::Ones(given_.rows());
  if (!refit(result)) return result;
  if (options_.on_fitted_mean && !add_mean(result) && given_.cols() == 0) {
    result.outcome = Outcome::unidentified;
    result.reason = "the fitted mean is constant: the noise cannot depend on it";
    return result;
  }
  standardise_again();
  result.outcome = Outcome::iteration_limit;
  result.reason = fmt::format("the noise variances did not settle in {} refits", options_.max_iterations);
  double damping = 1.0, before = std::numeric_limits<double>::infinity();
  while (true) {
    scoring_ = score(result.fit, result.weights, current_.U);
    if (!scoring_.solved) {
      result.outcome = Outcome::unidentified;
      result.reason = "the fit leaves too little of the rows to tell their noise apart";
      return result;
    }
    if (result.iterations == 1) result.score_statistic = quadratic(scoring_.covariance, scoring_.step);
    // Against the weights of the fit: a fitted mean that moved counts too.
    const Vector log_variance_now = -result.weights.array().log();
    const Vector change = current_.U * (gamma_ + scoring_.step) - log_variance_now;
    const double moved = change.cwiseAbs().maxCoeff();
    result.last_change = moved;
    if (moved <= options_.tolerance) {
      result.outcome = Outcome::converged;
      result.reason = "REML's score for the noise coefficients is zero";
      return result;
    }
    if (result.iterations >= options_.max_iterations) return result;
    // A fitted mean that follows the weights can make the steps go to and fro.
    if (has_mean() && moved > 0.9 * before) damping = std::max(0.5 * damping, smallest_damping);
    before = moved;
    const double part = std::min(damping, largest_step / moved);
    const Vector log_variance = log_variance_now + part * change;
    if (log_variance.maxCoeff() - log_variance.minCoeff() > largest_range) {
      result.outcome = Outcome::on_boundary;
      result.reason = "some rows seem to have no noise: the variances differ by more than exp(20)";
      return result;
    }
    gamma_ += part * scoring_.step;
    result.weights = (-log_variance).array().exp();
    if (!refit(result)) return result;
    if (has_mean()) {
      add_mean(result);
      standardise_again();
    }
  }
}

}  // namespace

void HeteroscedasticOptions::check() const {
  require(max_iterations >= 1, "max_iterations", max_iterations, "must be >= 1");
  require(tolerance > 0.0, "tolerance", tolerance, "must be positive");
}

HeteroscedasticNoise heteroscedastic_noise(const WeightedRefit& refit, ConstBlock columns,
                                           const std::vector<std::string>& names,
                                           const HeteroscedasticOptions& options) {
  options.check();
  check_columns(columns, names);
  require(columns.cols() > 0 || options.on_fitted_mean, "noise columns", columns.cols(),
          "there must be one, or on_fitted_mean");
  NoiseSearch search(refit, columns, options);
  HeteroscedasticNoise result = search.run();
  if (search.covariance().size() == 0) return result;
  if (options.on_fitted_mean && !search.has_mean())
    result.reason += "; the fitted mean is constant and was left out";
  result.tested = search.gamma().size();
  result.score_p_value = chi_squared_tail(result.score_statistic, result.tested);
  result.wald_statistic = quadratic(search.covariance(), search.gamma());
  result.wald_p_value = chi_squared_tail(result.wald_statistic, result.tested);
  for (Index j = 0; j < result.tested; ++j) {
    NoiseCoefficient coefficient;
    coefficient.name = j < columns.cols() ? names[static_cast<std::size_t>(j)] : mean_name;
    coefficient.estimate = search.gamma()(j) / search.scale()(j);
    coefficient.standard_error = std::sqrt(search.covariance()(j, j)) / search.scale()(j);
    const double z = coefficient.estimate / coefficient.standard_error;
    coefficient.p_value = chi_squared_tail(z * z, 1);
    result.coefficients.push_back(std::move(coefficient));
  }
  return result;
}

}  // namespace gradflow
