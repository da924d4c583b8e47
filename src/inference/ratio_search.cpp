#include "inference/ratio_search.h"

#include <cmath>
#include <utility>
#include <vector>

#include "gradflow/base/linear_algebra.h"

namespace gradflow {
namespace {

// From where time 0 cannot be told apart to the bound; whole numbers on descent.
TimeGrid times_of(const Path& family, double largest_value, double bound, int points) {
  const bool whole = family.kind == PathKind::descent;
  const double unit = whole ? family.learning_rate * largest_value : largest_value;
  const double low = std::min(1e-5 / unit, 1e-3 * bound);
  TimeGrid grid = log_grid(whole ? std::max(low, 0.5) : low, bound, points);
  if (whole)
    for (double& time : grid) time = std::max(1.0, std::round(time));
  return grid;
}

}  // namespace

double chi_square(RandomStream& random, double dof) {
  if (dof == 1.0) {
    const double x = random.normal();
    return x * x;
  }
  // Gamma(a) for a >= 1; below, Gamma(a) = Gamma(a + 1) U^(1/a).
  const double shape = 0.5 * dof, a = shape < 1.0 ? shape + 1.0 : shape;
  const double d = a - 1.0 / 3.0, c = 1.0 / std::sqrt(9.0 * d);
  for (;;) {
    const double x = random.normal(), root = 1.0 + c * x, u = random.uniform();
    if (root <= 0.0) continue;
    const double v = root * root * root;
    if (std::log(u) >= 0.5 * x * x + d * (1.0 - v + std::log(v))) continue;
    return 2.0 * d * v * (shape < 1.0 ? std::pow(random.uniform(), 1.0 / shape) : 1.0);
  }
}

RatioSearch::RatioSearch(Vector values, Vector multiplicity, double trace, const Path& family, double bound,
                         int points)
    : values_(std::move(values)),
      multiplicity_(std::move(multiplicity)),
      count_(multiplicity_.sum()),
      trace_(trace),
      family_(family),
      grid_(times_of(family, values_.maxCoeff(), bound, points)),
      phi_(points, values_.size()),
      shift_(points),
      log_determinant_(points) {
  for (Index g = 0; g < points; ++g) {
    const double time = grid_[static_cast<std::size_t>(g)];
    const Eigen::ArrayXd v = log_phi(time);
    shift_(g) = v.maxCoeff();
    phi_.row(g) = (v - shift_(g)).exp().transpose();
    log_determinant_(g) = log_determinant(v, time);
  }
}

Eigen::ArrayXd RatioSearch::log_phi(double time) const {
  switch (family_.kind) {
    case PathKind::flow: return -time * values_.array();
    case PathKind::ridge: return -(time * values_.array()).log1p();
    case PathKind::implicit: return -family_.iterations * (time * values_.array()).log1p();
    default: return family_.at(time).log_phi(values_).array();
  }
}

double RatioSearch::log_determinant(const Eigen::ArrayXd& log_phi, double time) const {
  return family_.kind == PathKind::flow ? time * trace_ : -(log_phi * multiplicity_.array()).sum();
}

RatioSearch::Maxima RatioSearch::maximise(const Matrix& squares) const {
  const auto points = static_cast<Index>(grid_.size()), columns = squares.cols();
  const Matrix sums = multiply(phi_, Transpose::no, squares, Transpose::no);
  Maxima maxima{Vector(columns), Vector(columns)};
  std::vector<double> negative(grid_.size());
  for (Index j = 0; j < columns; ++j) {
    const auto u = squares.col(j).array();
    const double log_total = std::log(u.sum());
    for (Index g = 0; g < points; ++g)
      negative[static_cast<std::size_t>(g)] =
          -count_ * (log_total - std::log(sums(g, j)) - shift_(g)) + log_determinant_(g);
    const auto criterion = [&](double time) {
      if (time == 0.0) return 0.0;
      const Eigen::ArrayXd v = log_phi(time);
      const double shift = v.maxCoeff();
      return -count_ * (log_total - std::log(((v - shift).exp() * u).sum()) - shift) +
             log_determinant(v, time);
    };
    const Minimum minimum =
        refine_minimum(criterion, grid_, negative, 0.0, family_.kind == PathKind::descent);
    maxima.ratio(j) = minimum.at_zero ? 0.0 : -minimum.value;
    maxima.time(j) = minimum.time;
  }
  return maxima;
}

Matrix RatioSearch::null_squares(RandomStream& random, Index columns) const {
  Matrix squares(values_.size(), columns);
  for (Index j = 0; j < columns; ++j)
    for (Index k = 0; k < values_.size(); ++k) squares(k, j) = chi_square(random, multiplicity_(k));
  return squares;
}

RatioSearch make_ratio_search(const SpectralData& data, const Path& family, double bound) {
  std::vector<double> values, multiplicity;
  for (Index i = 0; i < data.values.size(); ++i) {
    const double m = data.multiplicity.size() == 0 ? 1.0 : data.multiplicity(i);
    if (!(m > 0.0)) continue;
    if (!values.empty() && values.back() == data.values(i)) {
      multiplicity.back() += m;
    } else {
      values.push_back(data.values(i));
      multiplicity.push_back(m);
    }
  }
  const auto size = static_cast<Index>(values.size());
  return {Eigen::Map<const Vector>(values.data(), size), Eigen::Map<const Vector>(multiplicity.data(), size),
          data.trace_of_M(), family, bound};
}

}  // namespace gradflow
