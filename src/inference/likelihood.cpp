#include "gradflow/inference/likelihood.h"

#include <Eigen/QR>
#include <cmath>
#include <numbers>
#include <utility>

#include "gradflow/base/error.h"
#include "gradflow/base/linear_algebra.h"
#include "gradflow/base/parallel.h"
#include "inference/rounding.h"

namespace gradflow {
namespace {

// P_ii below this share of (V^-1)_ii is rounding: the fixed effects alone determine the row.
constexpr double determined = 1e-10;

double twice_log_diagonal(const Matrix& R, Index count) {
  return 2.0 * R.diagonal().head(count).array().abs().log().sum();
}

// sum_ij A_ij B_ij; blocks of columns in one order, for the same bits with any number of threads.
double inner_product(const Matrix& A, const Matrix& B) {
  constexpr Index block = 64;
  Vector sums((A.cols() + block - 1) / block);
  parallel_for(A.cols(), block, [&](Index begin, Index end) {
    sums(begin / block) =
        A.middleCols(begin, end - begin).cwiseProduct(B.middleCols(begin, end - begin)).sum();
  });
  return sums.sum();
}

Vector row_counts(const Response& response, Index n) {
  if (response.row.empty()) {
    require(response.y.size() == n, "number of responses", response.y.size(),
            fmt::format("must equal the number of rows, {}", n));
    return Vector::Ones(n);
  }
  require(static_cast<Index>(response.row.size()) == response.y.size(), "Response row.size",
          response.row.size(), "must equal the number of responses");
  Vector counts = Vector::Zero(n);
  for (const Index row : response.row) {
    require(row >= 0 && row < n, "Response row", row, fmt::format("must be in [0, {})", n));
    counts(row) += 1.0;
  }
  require((counts.array() > 0.0).all(), "Response row", "a row without a response", "must not occur");
  return counts;
}

void check(const Response& response, Index n, TransformKind transform) {
  require(response.y.allFinite(), "response", "NaN or infinity", "must be finite");
  require(response.scale.size() == 0 || response.scale.size() == n, "Response scale.size",
          response.scale.size(), fmt::format("must be 0 or the number of rows, {}", n));
  require((response.scale.array() > 0.0).all() && response.scale.allFinite(), "Response scale",
          "a value <= 0 or not finite", "must be positive");
  require(response.within_squares >= 0.0, "within_squares", response.within_squares, "must be >= 0");
  require(response.within_dof >= 0.0, "within_dof", response.within_dof, "must be >= 0");
  require(transform == TransformKind::none || (response.within_squares == 0.0 && response.within_dof == 0.0),
          "within_squares", response.within_squares,
          "cannot be transformed: give the observations themselves and their rows");
}

}  // namespace

struct RestrictedLikelihood::Rows {
  Vector w, w_slope;                                // n, and dw/dlambda
  double squares = 0.0, squares_slope = 0.0;        // s0
  double log_jacobian = 0.0, jacobian_slope = 0.0;  // sum_i log dg/dy
};

struct RestrictedLikelihood::Factor {
  Matrix L;                 // V = L L' in the lower triangle
  Matrix U;                 // n x q, orthonormal basis of L^-1 X
  double log_determinants;  // log|V| + log|X'V^-1X|
  bool positive_definite = false;
};

RestrictedLikelihood::RestrictedLikelihood(const OperatorFamily& family, Response response,
                                           FixedEffects fixed, TransformKind transform)
    : family_(family), response_(std::move(response)), fixed_(std::move(fixed)) {
  const Index n = family.size();
  require(fixed_.rows() == n, "FixedEffects rows", fixed_.rows(),
          fmt::format("must equal the family's number of rows, {}", n));
  check(response_, n, transform);
  counts_ = row_counts(response_, n);
  if (response_.scale.size() == 0) response_.scale = counts_.cwiseSqrt();
  transform_ = ResponseTransform::for_response(transform, response_.y);
  family_parameters_ = family.parameters();
  restricted_count_ = static_cast<double>(fixed_.residual_dimension()) + response_.within_dof +
                      static_cast<double>(response_.y.size() - n);
  if (fixed_.count() > 0)
    log_XX_ = twice_log_diagonal(Eigen::HouseholderQR<Matrix>(fixed_.design()).matrixQR(), fixed_.count());
}

std::vector<std::string> RestrictedLikelihood::names() const {
  std::vector<std::string> all = family_.names();
  all.emplace_back("log tau");
  if (transforms()) all.emplace_back("lambda");
  return all;
}

Index RestrictedLikelihood::row_of(Index observation) const {
  return response_.row.empty() ? observation : response_.row[static_cast<std::size_t>(observation)];
}

RestrictedLikelihood::Rows RestrictedLikelihood::rows_at(double lambda) const {
  const ResponseTransform g = transform_.at(lambda);
  Rows rows;
  const Vector z = g.forward(response_.y);
  Vector mean = Vector::Zero(counts_.size());
  for (Index i = 0; i < z.size(); ++i) mean(row_of(i)) += z(i);
  mean.array() /= counts_.array();
  rows.w = response_.scale.cwiseProduct(mean);
  rows.squares = response_.within_squares;
  const Vector weight = response_.scale.array().square() / counts_.array();
  for (Index i = 0; i < z.size(); ++i) {
    const double difference = z(i) - mean(row_of(i));
    rows.squares += weight(row_of(i)) * difference * difference;
    rows.log_jacobian += g.log_derivative(response_.y(i));
  }
  return rows;
}

void RestrictedLikelihood::add_derivative(double lambda, Rows& rows) const {
  const ResponseTransform g = transform_.at(lambda);
  const Vector mean = rows.w.cwiseQuotient(response_.scale);
  const Vector weight = response_.scale.array().square() / counts_.array();
  rows.w_slope = Vector::Zero(counts_.size());
  for (Index i = 0; i < response_.y.size(); ++i) {
    const double y = response_.y(i), slope = g.forward_by_lambda(y);
    const Index row = row_of(i);
    rows.w_slope(row) += response_.scale(row) / counts_(row) * slope;
    // The derivative of the mean meets deviations that sum to zero.
    rows.squares_slope += 2.0 * weight(row) * (g.forward(y) - mean(row)) * slope;
    rows.jacobian_slope += g.log_derivative_by_lambda(y);
  }
}

RestrictedLikelihood::Factor RestrictedLikelihood::factor(const OperatorFamily::Point& point,
                                                          double tau) const {
  const Index n = family_.size(), q = fixed_.count();
  require(point.H().rows() == n && point.H().cols() == n, "OperatorFamily::Point H.rows", point.H().rows(),
          "must equal the family's size");
  Factor result;
  result.L = tau * point.H();
  result.L.diagonal().array() += 1.0;
  result.U.resize(n, q);
  if (!std::isfinite(tau) || !result.L.allFinite() || !cholesky_lower(result.L)) return result;
  result.log_determinants = twice_log_diagonal(result.L, n);
  if (q > 0) {
    Matrix whitened = fixed_.design();
    solve_lower(result.L, Transpose::no, whitened);
    const Eigen::HouseholderQR<Matrix> qr(whitened);
    result.U.setIdentity();
    result.U.applyOnTheLeft(qr.householderQ());
    result.log_determinants += twice_log_diagonal(qr.matrixQR(), q);
  }
  result.positive_definite = std::isfinite(result.log_determinants);
  return result;
}

double RestrictedLikelihood::criterion(const Factor& factor, const Rows& rows, double squares) const {
  return restricted_count_ * std::log(squares / restricted_count_) + factor.log_determinants - log_XX_ -
         2.0 * rows.log_jacobian;
}

namespace {

// L^-1 w without its part in the span of U: |.|^2 = w'Pw, and L^-T of it is Pw.
Vector whitened_residual(const Matrix& L, const Matrix& U, const Vector& w) {
  Matrix u = w;
  solve_lower(L, Transpose::no, u);
  for (int repeat = 0; repeat < 2; ++repeat) u -= U * (U.transpose() * u);
  return u;
}

}  // namespace

LikelihoodValue RestrictedLikelihood::at(const Vector& parameters, bool with_gradient) const {
  require(parameters.size() == this->parameters(), "RestrictedLikelihood::at parameters.size",
          parameters.size(), "must equal parameters()");
  const std::unique_ptr<OperatorFamily::Point> point = family_.at(parameters.head(family_parameters_));
  return at(*point, parameters(family_parameters_), transforms() ? parameters(family_parameters_ + 1) : 1.0,
            with_gradient);
}

LikelihoodValue RestrictedLikelihood::at(const OperatorFamily::Point& point, double log_tau, double lambda,
                                         bool with_gradient) const {
  LikelihoodValue value;
  if (with_gradient) value.gradient = Vector::Zero(parameters());
  Rows rows = rows_at(lambda);
  const double tau = std::exp(log_tau);
  Factor V = factor(point, tau);
  if (!V.positive_definite || !rows.w.allFinite()) return value;
  const Vector whitened = whitened_residual(V.L, V.U, rows.w);
  const double squares = whitened.squaredNorm() + rows.squares;
  if (!(squares > explained_share * rows.w.squaredNorm()) || !std::isfinite(squares)) return value;
  value.criterion = criterion(V, rows, squares);
  value.noise_variance = squares / restricted_count_;
  if (!with_gradient) return value;
  if (transforms()) add_derivative(lambda, rows);
  add_gradient(point, tau, V, rows, whitened, value);
  return value;
}

void RestrictedLikelihood::add_gradient(const OperatorFamily::Point& point, double tau, Factor& factor,
                                        const Rows& rows, const Vector& whitened,
                                        LikelihoodValue& value) const {
  const Index q = factor.U.cols();
  Matrix C(whitened.size(), q + 1);  // L^-T (U, u): P = V^-1 - C_1 C_1', Pw its last column
  C << factor.U, whitened;
  solve_lower(factor.L, Transpose::yes, C);
  const Vector Pw = C.col(q);
  Matrix& W = factor.L;
  inverse_from_cholesky_lower(W);
  const Vector inverse = W.diagonal(), P = inverse - C.leftCols(q).rowwise().squaredNorm();
  value.effective_dof = static_cast<double>(fixed_.residual_dimension()) - P.sum();
  add_leave_one_out((P.array() > determined * inverse.array()).select(P, 0.0), Pw, rows, value);
  C.col(q) /= std::sqrt(value.noise_variance);
  rank_update_lower(C, W, -1.0, 1.0);  // P - Pw (Pw)'/s2
  mirror_lower(W);
  value.gradient.head(family_parameters_) = tau * point.contract(W);
  value.gradient(family_parameters_) = tau * inner_product(W, point.H());
  if (transforms())
    value.gradient(family_parameters_ + 1) =
        (2.0 * Pw.dot(rows.w_slope) + rows.squares_slope) / value.noise_variance - 2.0 * rows.jacobian_slope;
}

void RestrictedLikelihood::add_leave_one_out(const Vector& P_diagonal, const Vector& Pw, const Rows& rows,
                                             LikelihoodValue& value) const {
  const double s2 = value.noise_variance, nan = std::numeric_limits<double>::quiet_NaN();
  const double log_two_pi = std::log(2.0 * std::numbers::pi);
  value.leave_one_out_residual = Vector::Constant(Pw.size(), nan);
  value.leave_one_out_variance = Vector::Constant(Pw.size(), nan);
  // Deviations within the rows have density N(0, s2 c/d^2) each; c log(d/sqrt(c)) returns to the units of
  // g(y).
  const double within = restricted_count_ - static_cast<double>(fixed_.residual_dimension());
  double sum = rows.log_jacobian - 0.5 * within * (log_two_pi + std::log(s2)) - 0.5 * rows.squares / s2;
  sum += (counts_.array() * (response_.scale.array() / counts_.array().sqrt()).log()).sum();
  for (Index i = 0; i < Pw.size(); ++i) {
    if (P_diagonal(i) == 0.0) continue;
    const double e = Pw(i) / P_diagonal(i), variance = s2 / P_diagonal(i);
    value.leave_one_out_residual(i) = e;
    value.leave_one_out_variance(i) = variance;
    sum -= 0.5 * (log_two_pi + std::log(variance) + e * e / variance);
  }
  value.leave_one_out_log_density = sum;
}

Vector RestrictedLikelihood::criteria(const OperatorFamily::Point& point, double log_tau,
                                      const Vector& lambdas) const {
  Vector values = Vector::Constant(lambdas.size(), std::numeric_limits<double>::infinity());
  const Factor V = factor(point, std::exp(log_tau));
  if (!V.positive_definite) return values;
  for (Index k = 0; k < lambdas.size(); ++k) {
    const Rows rows = rows_at(lambdas(k));
    const double squares = whitened_residual(V.L, V.U, rows.w).squaredNorm() + rows.squares;
    if (squares > explained_share * rows.w.squaredNorm() && std::isfinite(squares))
      values(k) = criterion(V, rows, squares);
  }
  return values;
}

double RestrictedLikelihood::criterion_at_zero(double lambda) const {
  const Rows rows = rows_at(lambda);
  const double squares = fixed_.reduce(rows.w).squaredNorm() + rows.squares;
  if (!(squares > explained_share * rows.w.squaredNorm())) return -std::numeric_limits<double>::infinity();
  return restricted_count_ * std::log(squares / restricted_count_) - 2.0 * rows.log_jacobian;
}

}  // namespace gradflow
