#include "gradflow/inference/conformal.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "base/special_values.h"
#include "gradflow/base/error.h"
#include "gradflow/base/linear_algebra.h"
#include "gradflow/base/parallel.h"
#include "inference/leverage.h"
#include "inference/new_point_projection.h"

namespace gradflow {
namespace {

// ceil(level (n + 1)), without the rounding of 0.9 x 10.
Index order(double level, Index n) {
  return static_cast<Index>(std::ceil(level * static_cast<double>(n + 1) - 1e-9));
}

Index fewest_rows(double level) {
  return static_cast<Index>(std::max(1.0, std::ceil(level / (1.0 - level) - 1e-9)));
}

// The k-th smallest, infinity when there are fewer.
double smallest(std::vector<double>& values, Index k) {
  if (k > static_cast<Index>(values.size())) return infinity;
  const auto place = values.begin() + (k - 1);
  std::nth_element(values.begin(), place, values.end());
  return *place;
}

Matrix lifted(const FixedEffects& fixed) {
  return fixed.reduce(Matrix::Identity(fixed.rows(), fixed.rows()));
}

void check_inputs(const TrainingOperator& H, const FixedEffects& fixed, const Vector& response, double tau) {
  require(tau >= 0.0 && std::isfinite(tau), "tau", tau, "must be finite and >= 0");
  require(H.size() == fixed.rows(), "H.size()", H.size(), "must equal the rows of the fixed effects");
  require(response.size() == H.size(), "response.size()", response.size(), "must equal H.size()");
}

}  // namespace

void ConformalOptions::check() const {
  require(level > 0.0 && level < 1.0, "level", level, "must be between 0 and 1");
}

ConformalRidge ConformalRidge::from_spectrum(const TrainingOperator& H, const FixedEffects& fixed,
                                             const ProjectedSpectrum& spectrum, const Vector& response,
                                             double tau) {
  check_inputs(H, fixed, response, tau);
  require(spectrum.basis.rows() == H.size(), "spectrum.basis.rows()", spectrum.basis.rows(),
          "must equal H.size()");
  // P = (QU) phi (QU)'
  const Vector root = (1.0 + tau * spectrum.values.array()).rsqrt();
  const Matrix scaled = spectrum.basis * root.asDiagonal();
  Matrix P(H.size(), H.size());
  rank_update_lower(scaled, P);
  mirror_lower(P);
  return {H, fixed, response, tau, std::move(P)};
}

ConformalRidge ConformalRidge::for_ridge(const TrainingOperator& H, const FixedEffects& fixed,
                                         const Vector& response, double tau) {
  check_inputs(H, fixed, response, tau);
  Matrix factor = tau * fixed.project(H.matrix());
  factor.diagonal().array() += 1.0;
  if (!cholesky_lower(factor))
    throw InternalError(fmt::format("I + tau M is not positive definite at tau = {}", tau));
  // P = (L^-1 Q')'(L^-1 Q')
  Matrix half = lifted(fixed);
  solve_lower(factor, Transpose::no, half);
  const Matrix transposed = half.transpose();
  Matrix P(H.size(), H.size());
  rank_update_lower(transposed, P);
  mirror_lower(P);
  return {H, fixed, response, tau, std::move(P)};
}

ConformalRidge::ConformalRidge(const TrainingOperator& H, const FixedEffects& fixed, const Vector& response,
                               double tau, Matrix P)
    : projection_(std::make_shared<NewPointProjection>(H, fixed)),
      response_(response),
      tau_(tau),
      P_(std::move(P)),
      residuals_(P_ * response),
      variances_(P_.rows()) {
  const Vector free =
      Vector::Ones(P_.rows()) - fixed.orthonormal_design().rowwise().squaredNorm();  // diag QQ'
  for (Index i = 0; i < P_.rows(); ++i) {
    const bool alone = free(i) <= leverage_one;
    alone_ += alone ? 1 : 0;
    residuals_(i) = alone ? infinity : residuals_(i) / P_(i, i);
    variances_(i) = alone ? infinity : 1.0 / P_(i, i);
  }
}

ConformalRidge::Influence ConformalRidge::influence(const NewPoints& points) const {
  const ProjectedPoints projected = (*projection_)(points);
  Influence result;
  const Matrix CP = multiply(projected.C, Transpose::no, P_, Transpose::no);
  // l_x = X (X'X)^-1 x + tau P c_x
  result.weights = tau_ * CP;
  if (projection_->fixed().count() > 0)
    result.weights += points.design * projection_->averaging().transpose();
  result.prediction = result.weights * response_;
  // 1 + tau hq_xx - tau^2 c_x'P c_x + x'(X'X)^-1 x
  const Vector quadratic = CP.cwiseProduct(projected.C).rowwise().sum();
  Vector variance = tau_ * projected.prior - tau_ * tau_ * quadratic + projected.leverage;
  clamp_rounding(variance, projected.prior, tau_);
  result.variance = 1.0 + variance.array();
  return result;
}

Matrix ConformalRidge::leave_one_out_predictions(const NewPoints& points, const Vector& f0) const {
  const Influence at = influence(points);
  const Vector mean = at.prediction + offsets(f0, at.prediction.size());
  const Vector e = residuals_.array().isFinite().select(residuals_, 0.0);
  return mean.replicate(1, e.size()) - at.weights * e.asDiagonal();
}

ConformalIntervals ConformalRidge::at(const NewPoints& points, const Vector& f0,
                                      const ConformalOptions& options) const {
  options.check();
  const Influence influence_at = influence(points);
  const Index m = influence_at.prediction.size(), n = residuals_.size(), k = order(options.level, n);
  const bool plus = options.method == ConformalMethod::jackknife_plus;
  ConformalIntervals result;
  result.prediction = influence_at.prediction + offsets(f0, m);
  result.lower.resize(m);
  result.upper.resize(m);
  parallel_for(m, 64, [&](Index begin, Index end) {
    std::vector<double> below(static_cast<std::size_t>(n)), above(static_cast<std::size_t>(n));
    for (Index x = begin; x < end; ++x) {
      for (Index i = 0; i < n; ++i) {
        const bool alone = std::isinf(residuals_(i));
        const double l = alone ? 0.0 : influence_at.weights(x, i), e = alone ? 0.0 : residuals_(i);
        const double moved = plus ? l * e : 0.0;
        const double spread = influence_at.variance(x) + (plus && !alone ? l * l * variances_(i) : 0.0);
        const double ratio = options.studentised && !alone ? std::sqrt(spread / variances_(i)) : 1.0;
        const double width = alone ? infinity : std::abs(e) * ratio;
        above[static_cast<std::size_t>(i)] = width - moved;
        below[static_cast<std::size_t>(i)] = width + moved;
      }
      // The k-th largest of mu_-i - |e_i| is minus the k-th smallest of its negative.
      result.upper(x) = result.prediction(x) + smallest(above, k);
      result.lower(x) = result.prediction(x) - smallest(below, k);
    }
  });
  result.level = options.level;
  result.rows_needed = fewest_rows(options.level) + alone_;
  if (plus && !options.tuned_on_same_rows) result.guaranteed_level = std::max(0.0, 2.0 * options.level - 1.0);
  result.statements = statements(options, k <= n - alone_);
  return result;
}

std::vector<std::string> ConformalRidge::statements(const ConformalOptions& options, bool finite) const {
  std::vector<std::string> said;
  const double percent = 100.0 * options.level;
  const double guaranteed = std::max(0.0, 2.0 * percent - 100.0);
  if (options.method == ConformalMethod::jackknife_plus)
    said.push_back(fmt::format(
        "Jackknife+ intervals: if the rows and the new row are exchangeable, they hold the new response with "
        "probability at least {:g} %, whatever the distribution; {:g} % is what to expect when the fit does "
        "not hang on single rows.",
        guaranteed, percent));
  else
    said.push_back(fmt::format(
        "Leave-one-out intervals: about {:g} % of new responses lie inside when the fit does not hang on "
        "single rows; unlike jackknife+ they have no guarantee that holds for every distribution.",
        percent));
  if (options.tuned_on_same_rows)
    said.emplace_back(
        "tau or the operator was chosen on the same rows: the leave-one-out residuals are then somewhat too "
        "small and the guarantee holds only approximately; it is exact when they are chosen beforehand or on "
        "other rows.");
  said.emplace_back(
      "The probability is over rows and new row together, not for every new row by itself, and not for rows "
      "from elsewhere.");
  if (alone_ > 0)
    said.push_back(
        fmt::format("{} row{} alone determine{} a fixed effect and cannot be predicted from the others: "
                    "counted as residuals beyond every bound.",
                    alone_, alone_ == 1 ? "" : "s", alone_ == 1 ? "s" : ""));
  if (!finite)
    said.push_back(
        fmt::format("The intervals are infinite: {} rows are too few for {:g} %, which needs at "
                    "least {}.",
                    residuals_.size(), percent, fewest_rows(options.level) + alone_));
  return said;
}

}  // namespace gradflow
