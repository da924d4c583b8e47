#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <optional>
#include <utility>

#include "gradflow/base/error.h"
#include "gradflow/base/linear_algebra.h"
#include "gradflow/base/parallel.h"
#include "gradflow/inference/component_test.h"
#include "gradflow/spectrum/projected_spectrum.h"
#include "inference/ratio_search.h"

namespace gradflow {
namespace {

constexpr Index draws_at_once = 64;  // from one random stream
// Shares of the second operator at which the likelihood ratio is maximised over the total: odds 1/32 to 8.
constexpr std::array<double, 10> second_shares{1.0 / 33, 1.0 / 17, 1.0 / 9, 1.0 / 5, 1.0 / 3,
                                               1.0 / 2,  2.0 / 3,  4.0 / 5, 8.0 / 9, 1.0};

// Everything in the eigenbasis of M_1 (columns of spectrum.basis), where V is diagonal.
struct Model {
  ProjectedSpectrum spectrum{};
  Matrix M2{};          // N x N
  Matrix M2_squared{};  // its entries' squares
  Vector z{};           // coordinates of the response
  Path family{.kind = PathKind::ridge};
  double bound = 0.0;  // of tau_1; 0: M_1 explains nothing

  Index size() const { return spectrum.values.size(); }
  const Vector& values() const { return spectrum.values; }
  RatioSearch search() const { return {values(), Vector::Ones(size()), spectrum.trace, family, bound}; }
};

// tau_1 that maximises the restricted likelihood under H0, per column of coordinates.
struct Fitted {
  Vector time;
  Vector ratio;  // likelihood ratio against tau_1 = 0
};

Fitted fit_null(const std::optional<RatioSearch>& search, const Matrix& squares) {
  if (!search) return {Vector::Zero(squares.cols()), Vector::Zero(squares.cols())};
  RatioSearch::Maxima maxima = search->maximise(squares);
  return {std::move(maxima.time), std::move(maxima.ratio)};
}

// S of every column of coordinates z, each with its own V^-1 = diag(D).
Vector standardised_scores(const Model& model, const Matrix& z, const Vector& time) {
  const auto N = static_cast<double>(model.size());
  Matrix D(z.rows(), z.cols());
  for (Index j = 0; j < z.cols(); ++j) D.col(j) = (1.0 + time(j) * model.values().array()).inverse();
  const Matrix Dz = D.cwiseProduct(z);
  const Matrix M2Dz = multiply(model.M2, Transpose::no, Dz, Transpose::no);
  const Matrix M2D = multiply(model.M2_squared, Transpose::no, D, Transpose::no);
  const Eigen::ArrayXd quadratic = Dz.cwiseProduct(M2Dz).colwise().sum().transpose();
  const Eigen::ArrayXd norm = z.cwiseProduct(Dz).colwise().sum().transpose();
  const Eigen::ArrayXd trace = (D.transpose() * model.M2.diagonal()).array();
  const Eigen::ArrayXd trace_of_square = D.cwiseProduct(M2D).colwise().sum().transpose();
  return (N * quadratic / norm - trace) / (2.0 * (trace_of_square - trace.square() / N)).sqrt();
}

// Coordinates of draws from the fitted null, one block per random stream. The noise is drawn in the space of
// the rows, so that no choice of eigenvectors changes a draw.
Matrix draw_null(const Model& model, double time, std::uint64_t seed, Index first, Index columns) {
  RandomStream random(seed, fmt::format("component test {}", first / draws_at_once));
  Matrix z = model.spectrum.coordinates(random.normals(model.spectrum.basis.rows(), columns));
  z.array().colwise() *= (1.0 + time * model.values().array()).sqrt();
  return z;
}

struct Draws {
  Matrix z;      // coordinates, N x R; kept for the likelihood ratio only
  Vector score;  // S
  Vector ratio;  // likelihood ratio of the null fit against tau_1 = 0
};

Draws bootstrap(const Model& model, const std::optional<RatioSearch>& search, double time,
                const ComponentTestOptions& options) {
  const Index R = options.draws;
  Draws draws{Matrix(model.size(), options.likelihood_ratio ? R : 0), Vector(R), Vector(R)};
  const SerialBlas serial;
  parallel_for(R, draws_at_once, [&](Index begin, Index end) {
    const Matrix z = draw_null(model, time, options.seed, begin, end - begin);
    const Fitted fitted = fit_null(search, z.cwiseAbs2());
    draws.score.segment(begin, end - begin) = standardised_scores(model, z, fitted.time);
    draws.ratio.segment(begin, end - begin) = fitted.ratio;
    if (options.likelihood_ratio) draws.z.middleCols(begin, end - begin) = z;
  });
  return draws;
}

// Likelihood ratio of both operators against tau_1 = tau_2 = 0, for every column of z: the largest over the
// shares, each a single operator, (1 - share) M_1 / s_1 + share M_2 / s_2, with its own eigenbasis.
Vector joint_ratio(const Model& model, const Matrix& z, double largest_shrinkage) {
  const double first = model.values().sum(), second = model.M2.trace();
  Vector best = Vector::Zero(z.cols());
  for (const double share : second_shares) {
    Matrix M = (share / second) * model.M2;
    if (first > 0.0) M.diagonal() += (1.0 - share) / first * model.values();
    SymmetricEigen eigen = symmetric_eigen(std::move(M));
    const Vector values = (eigen.values.array() <= 1e-14 * eigen.values.maxCoeff()).select(0.0, eigen.values);
    const RatioSearch search(values, Vector::Ones(values.size()), values.sum(), model.family,
                             largest_shrinkage / values.maxCoeff());
    const SerialBlas serial;
    parallel_for(z.cols(), draws_at_once, [&](Index begin, Index end) {
      const Matrix rotated =
          multiply(eigen.vectors, Transpose::yes, z.middleCols(begin, end - begin), Transpose::no);
      best.segment(begin, end - begin) =
          best.segment(begin, end - begin).cwiseMax(search.maximise(rotated.cwiseAbs2()).ratio);
    });
  }
  return best;
}

Model make_model(const TrainingOperator& H_1, const TrainingOperator& H_2, const FixedEffects& fixed,
                 ConstVector y, double largest_shrinkage) {
  Model model{.spectrum = project(H_1, fixed)};
  const Matrix HB = multiply(H_2.matrix(), Transpose::no, model.spectrum.basis, Transpose::no);
  model.M2 = multiply(model.spectrum.basis, Transpose::yes, HB, Transpose::no);
  mirror_lower(model.M2);
  model.M2_squared = model.M2.cwiseAbs2();
  model.z = model.spectrum.coordinates(y);
  const Vector& values = model.values();
  const double largest = values.size() > 0 ? values.maxCoeff() : 0.0;
  const double spread = values.size() > 0 ? largest - values.minCoeff() : 0.0;
  if (spread > 1e-12 * static_cast<double>(values.size()) * largest)
    model.bound = largest_shrinkage / largest;
  return model;
}

// The part of tau_2's information that is not tau_1's is rounding: A is a multiple of V^-1/2 M_1 V^-1/2 and
// of the identity.
bool explained_by_first(const Model& model, double time) {
  const auto N = static_cast<double>(model.size());
  const Eigen::ArrayXd d = (1.0 + time * model.values().array()).inverse(), b = model.values().array() * d;
  const Eigen::ArrayXd diagonal = model.M2.diagonal().array() * d;
  const double trace = diagonal.sum();
  const double own = d.matrix().dot(model.M2_squared * d.matrix()) - trace * trace / N;
  const double other = (b - b.mean()).square().sum(), both = ((b - b.mean()) * diagonal).sum();
  return other > 0.0 && own - both * both / other <= 1e-10 * own;
}

// The score test of A, exact given tau_1. Rounding of M_2 stays in A also where V takes nearly all of M_2
// away, and is zero there.
ScoreTest test_given(const Model& model, double time) {
  const Vector d = (1.0 + time * model.values().array()).inverse(), root = d.cwiseSqrt();
  const Vector Dz = d.cwiseProduct(model.z);
  Vector values = symmetric_eigenvalues(root.asDiagonal() * model.M2 * root.asDiagonal()).reverse();
  const double rounding = static_cast<double>(model.size()) * std::numeric_limits<double>::epsilon() *
                          std::max(model.M2.diagonal().maxCoeff(), values(0));
  require(values.minCoeff() >= -std::max(1e-8 * values(0), rounding), "eigenvalue of the second operator",
          values.minCoeff(), "a training operator must be positive semidefinite");
  values = (values.array() <= rounding).select(0.0, values);
  return score_test(values, {}, Dz.dot(model.M2 * Dz), Dz.dot(model.z));
}

ComponentTest unidentified(ComponentTest test, std::string reason) {
  test.outcome = Outcome::unidentified;
  test.reason = std::move(reason);
  return test;
}

void add_bootstrap(const Model& model, const std::optional<RatioSearch>& search,
                   const ComponentTestOptions& options, ComponentTest& test) {
  const Draws draws = bootstrap(model, search, test.null_time, options);
  const auto reached = [](const Vector& values, double observed) {
    return (values.array() >= observed - 1e-10 * std::max(1.0, std::abs(observed))).count();
  };
  test.bootstrap = resampled_p_value(reached(draws.score, test.standardised), options.draws, options.seed);
  test.reason += fmt::format(", {} bootstrap draws{}", options.draws,
                             test.bootstrap.upper_bound ? "; none reached it: p is an upper bound" : "");
  if (!options.likelihood_ratio) return;
  const Vector joint = joint_ratio(model, draws.z, options.largest_shrinkage);
  const Vector ratio = (joint - draws.ratio).cwiseMax(0.0);
  test.likelihood_ratio_bootstrap =
      resampled_p_value(reached(ratio, test.likelihood_ratio), options.draws, options.seed);
}

}  // namespace

void ComponentTestOptions::check() const {
  require(draws >= 0, "component test draws", draws, "must be >= 0");
  require(largest_shrinkage > 1.0, "largest_shrinkage", largest_shrinkage, "must be > 1");
}

ComponentTest component_test(const TrainingOperator& H_1, const TrainingOperator& H_2,
                             const FixedEffects& fixed, ConstVector y, const ComponentTestOptions& options) {
  options.check();
  for (const TrainingOperator* H : {&H_1, &H_2})
    require(H->size() == fixed.rows(), "training operator size", H->size(), "must equal the number of rows");
  require(y.size() == fixed.rows(), "number of responses", y.size(), "must equal the number of rows");
  require(y.allFinite(), "response", "not finite", "every response must be finite");
  ComponentTest test;
  const Model model = make_model(H_1, H_2, fixed, y, options.largest_shrinkage);
  if (!(model.z.norm() > 1e-12 * y.norm()))
    return unidentified(test, "the fixed effects explain the response exactly: nothing is left to test");
  std::optional<RatioSearch> search;
  if (model.bound > 0.0) search = model.search();
  const Fitted null = fit_null(search, model.z.cwiseAbs2());
  test.null_time = null.time(0);
  test.null_outcome = test.null_time < model.bound ? Outcome::converged : Outcome::on_boundary;
  if (test.null_time == 0.0) test.null_outcome = Outcome::at_zero;
  test.given = test_given(model, test.null_time);
  if (!usable(test.given.outcome)) return unidentified(test, "second operator: " + test.given.reason);
  if (explained_by_first(model, test.null_time))
    return unidentified(test,
                        "after the fixed effects the second operator is a combination of the first one and "
                        "the identity: nothing of it is left to test");
  test.statistic = test.given.statistic;
  test.standardised = standardised_scores(model, model.z, null.time)(0);
  if (options.likelihood_ratio)
    test.likelihood_ratio =
        std::max(0.0, joint_ratio(model, model.z, options.largest_shrinkage)(0) - null.ratio(0));
  test.outcome = Outcome::converged;
  test.reason = "score given the first operator";
  if (options.draws > 0) add_bootstrap(model, search, options, test);
  return test;
}

}  // namespace gradflow
