#include <algorithm>
#include <array>
#include <boost/math/distributions/binomial.hpp>
#include <boost/math/distributions/students_t.hpp>
#include <cmath>
#include <numeric>

#include "base/special_values.h"
#include "gradflow/base/error.h"
#include "gradflow/base/parallel.h"
#include "model/run_detail.h"

namespace gradflow {
namespace {

constexpr double leverage_one = 1e-10;  // P_ii below this: the fixed effects alone determine the row
constexpr std::size_t residuals_listed = 12;
constexpr std::array coverage_levels{0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99};

// P_ii = sum_k basis_ik^2 phi_k
Vector residual_maker_diagonal(const ProjectedSpectrum& spectrum, const Vector& phi) {
  Vector diagonal = Vector::Zero(spectrum.basis.rows());
  // Column by column, so that every entry is the same sum however the rows are shared out.
  parallel_for(diagonal.size(), 64, [&](Index begin, Index end) {
    for (Index k = 0; k < phi.size(); ++k)
      diagonal.segment(begin, end - begin).array() +=
          phi(k) * spectrum.basis.col(k).segment(begin, end - begin).array().square();
  });
  return diagonal;
}

double student(double dof, double level) {
  return boost::math::quantile(boost::math::students_t(dof), 0.5 + 0.5 * level);
}

void add_intervals(const Analysis& analysis, const Observations& observations, double level, RowFits& rows) {
  const Index n = rows.observed.size();
  const double N = analysis.data.count(), s2 = analysis.ridge.noise_variance;
  const Vector phi = analysis.ridge.path.phi(analysis.spectrum.values);
  const Vector P = residual_maker_diagonal(analysis.spectrum, phi);
  const Vector Pw = analysis.spectrum.basis * phi.cwiseProduct(analysis.data.z.head(phi.size()));
  const double t_in = student(N, level), t_out = N > 1.0 ? student(N - 1.0, level) : not_a_number;
  for (Index i = 0; i < n; ++i) {
    const double root = observations.weights.size() > 0 ? std::sqrt(observations.weights(i)) : 1.0;
    const double half = t_in * std::sqrt(s2 * (2.0 - std::min(1.0, P(i)))) / root;
    rows.lower(i) = rows.fitted(i) - half;
    rows.upper(i) = rows.fitted(i) + half;
    if (!(P(i) > leverage_one) || !(N > 1.0)) continue;
    const double e = Pw(i) / P(i);
    const double variance = (N * s2 - P(i) * e * e) / (N - 1.0);
    if (!(variance > 0.0)) continue;
    const double sd = std::sqrt(variance / P(i));
    rows.standardised(i) = e / sd;
    rows.left_out(i) = rows.observed(i) - e / root;
    rows.left_out_lower(i) = rows.left_out(i) - t_out * sd / root;
    rows.left_out_upper(i) = rows.left_out(i) + t_out * sd / root;
  }
}

std::string why_no_intervals(const Analysis& analysis) {
  if (analysis.krylov)
    return "intervals and rows left out need single eigenvectors, which the Krylov engine does not compute "
           "(--engine dense does)";
  if (!usable(analysis.ridge.outcome))
    return fmt::format("ridge has no variance components ({})", analysis.ridge.reason);
  if (!std::isfinite(analysis.ridge.path.time)) return "the variance components are not finite";
  return "";
}

}  // namespace

RowFits row_fits(const Job& job, const JobResult& result) {
  const Analysis& analysis = result.analysis;
  const Observations& observations = result.prepared.observations;
  const Index n = observations.y.size();
  RowFits rows;
  rows.ids = result.prepared.dataset.ids;
  rows.observed = observations.y;
  rows.fitted = rows.lower = rows.upper = rows.left_out = rows.left_out_lower = rows.left_out_upper =
      rows.standardised = Vector::Constant(n, not_a_number);
  if (analysis.is_usable() && analysis.fit.fitted.size() == n)
    rows.fitted = observations.f0 + analysis.fit.fitted;
  rows.reason = why_no_intervals(analysis);
  if (rows.reason.empty() && result.noise && result.noise->model.kind == NoiseModelKind::student)
    rows.reason =
        "rows left out are not shown: the weights of Student t noise have seen the responses that would be "
        "left "
        "out";
  if (rows.reason.empty()) add_intervals(analysis, observations, job.analysis.level, rows);
  const ResponseTransform& transform = result.prepared.transform;
  if (transform.kind != TransformKind::none)
    for (Vector* values : {&rows.observed, &rows.fitted, &rows.lower, &rows.upper, &rows.left_out,
                           &rows.left_out_lower, &rows.left_out_upper})
      for (double& value : *values)
        if (std::isfinite(value)) value = transform.inverse(value);
  return rows;
}

Directions directions_of(const Analysis& analysis) {
  Directions directions;
  if (analysis.krylov) {
    directions.reason =
        "the Krylov engine knows the spectrum by quadrature, not direction by direction (--engine dense "
        "does)";
    return directions;
  }
  const Index N = analysis.spectrum.values.size();
  directions.eigenvalue = analysis.spectrum.values;
  directions.signal = analysis.data.z.head(N).cwiseAbs2();
  if (analysis.is_usable())
    directions.residual =
        analysis.chosen_path.phi(directions.eigenvalue).cwiseAbs2().cwiseProduct(directions.signal);
  directions.loss = analysis.decorrelation.losses;
  return directions;
}

std::vector<CoverageCount> coverage_of(const RowFits& rows, const Analysis& analysis, double level) {
  std::vector<CoverageCount> coverage;
  const double N = analysis.data.count();
  std::vector<double> sizes;
  for (const double value : rows.standardised)
    if (std::isfinite(value)) sizes.push_back(std::abs(value));
  if (sizes.empty() || !(N > 1.0)) return coverage;
  std::vector<double> levels(coverage_levels.begin(), coverage_levels.end());
  if (std::ranges::find(levels, level) == levels.end()) levels.push_back(level);
  std::ranges::sort(levels);
  using Binomial = boost::math::binomial_distribution<>;
  const auto m = static_cast<Index>(sizes.size());
  for (const double nominal : levels) {
    const double limit = student(N - 1.0, nominal);
    const auto inside =
        static_cast<Index>(std::ranges::count_if(sizes, [&](double x) { return x <= limit; }));
    const auto trials = static_cast<double>(m), successes = static_cast<double>(inside);
    const double lower = inside == 0 ? 0.0 : Binomial::find_lower_bound_on_p(trials, successes, 0.025);
    const double upper = inside == m ? 1.0 : Binomial::find_upper_bound_on_p(trials, successes, 0.025);
    coverage.push_back({.nominal = nominal, .inside = inside, .rows = m, .interval = {lower, upper, 0.95}});
  }
  return coverage;
}

std::vector<Index> largest_residuals(const RowFits& rows) {
  const bool left_out = rows.standardised.size() > 0 && rows.standardised.array().isFinite().any();
  const Vector size =
      left_out ? Vector(rows.standardised.cwiseAbs()) : Vector((rows.observed - rows.fitted).cwiseAbs());
  std::vector<Index> order;
  for (Index i = 0; i < size.size(); ++i)
    if (std::isfinite(size(i))) order.push_back(i);
  const std::size_t listed = std::min(residuals_listed, order.size());
  std::partial_sort(order.begin(), order.begin() + static_cast<std::ptrdiff_t>(listed), order.end(),
                    [&](Index a, Index b) { return size(a) > size(b) || (size(a) == size(b) && a < b); });
  order.resize(listed);
  return order;
}

}  // namespace gradflow
