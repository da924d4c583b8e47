#include <Eigen/Dense>
#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "gradflow/base/error.h"
#include "gradflow/base/linear_algebra.h"
#include "gradflow/base/parallel.h"
#include "inference/krylov_engine.h"

namespace gradflow {
namespace {

constexpr Index most_probed_entries = 1 << 25;   // n x probes x paths at once: 256 MB
constexpr Index pairs_at_once = 32;              // eigenvectors formed together, n doubles each
constexpr Index most_kept_squares = 1 << 23;     // n x pairs: 64 MB
constexpr double largest_relative_error = 0.03;  // of the root mean square, beyond which none is given
constexpr double parabola_step = 0.1;            // in log time, for the minimiser's standard error
constexpr double rival_step = 1.4;               // in log time, between the times that may be as good
constexpr int rivals_each_side = 3;

// phi ~ a + b lambda over the part of the spectrum that the probes stand for.
struct Line {
  double a = 1.0, b = 0.0;
};

Line line_through(const Vector& phi, const Vector& values, const Vector& multiplicity) {
  const double total = multiplicity.sum();
  if (!(total > 0.0)) return {};
  const double mean_value = values.dot(multiplicity) / total, mean_phi = phi.dot(multiplicity) / total;
  const Vector centred = values.array() - mean_value;
  const double spread = centred.cwiseAbs2().dot(multiplicity);
  if (!(spread > 1e-24 * mean_value * mean_value * total)) return {mean_phi, 0.0};
  const double b = centred.cwiseProduct(phi).dot(multiplicity) / spread;
  return {mean_phi - b * mean_value, b};
}

// What may say something of a row's divisor before its own probes do: the covered shares of P and M, and how
// well the row is fitted.
Matrix row_features(const Vector& identity, const Vector& diagonal, const Vector& residual) {
  const auto scaled = [](const Vector& v) {
    const double mean = v.cwiseAbs().mean();
    return Eigen::ArrayXd(v.array() / (mean > 0.0 ? mean : 1.0));
  };
  const Eigen::ArrayXd a = scaled(identity), b = scaled(diagonal), r = scaled(residual.cwiseAbs()).min(4.0);
  Matrix features(residual.size(), 9);
  features << Vector::Ones(residual.size()), a, a * a, b, b * b, a * b, r, r * r, r * b;
  return features;
}

// Residuals over divisors of which `known` is exact and the probes' mean estimates the rest, without bias but
// noisily. The rest is first predicted by its regression on the rows' features; what a row's estimate adds to
// that is believed by the share of its spread that is not error. Given all that, E[1/d^2] is 1/mean^2 (1 + 3
// variance/mean^2) to second order.
struct Quotients {
  Vector residuals;
  double
      relative_error;  // of their root mean square: near interpolation a few small divisors make most of it
};

using Column = Eigen::Map<const Vector>;
Column column_of(const Matrix& matrix, Index j) { return {matrix.col(j).data(), matrix.rows()}; }

Quotients divide(ConstVector residual, ConstVector known, const std::vector<Column>& probed,
                 const Matrix& features) {
  const auto R = static_cast<double>(probed.size());
  Vector estimate = Vector::Zero(known.size()), squares = Vector::Zero(known.size());
  for (const Column& x : probed) {
    estimate += x / R;
    squares += x.cwiseAbs2();
  }
  const double error =
      probed.empty() ? 0.0 : (squares - R * estimate.cwiseAbs2()).mean() / (R * std::max(1.0, R - 1.0));
  const Matrix gram = features.transpose() * features;
  const Vector predicted =
      features * gram.completeOrthogonalDecomposition().solve(features.transpose() * estimate);
  const Vector beyond = estimate - predicted;
  const double seen = beyond.squaredNorm() / static_cast<double>(beyond.size());
  const double between = std::max(0.0, seen - error);
  const double believed = between > 0.0 ? between / (between + error) : 0.0;
  const double variance = believed * std::max(0.0, error);
  const Eigen::ArrayXd d = (known + predicted + believed * beyond).array().max(std::sqrt(variance));
  const Eigen::ArrayXd squared = (d > 0.0).select((residual.array() / d).square(), 0.0);
  const double relative_error =
      std::sqrt((d > 0.0).select(squared.square() * error / d.square(), 0.0).sum()) / squared.sum();
  return {(d > 0.0).select(residual.array() / d * (1.0 + 3.0 * variance / d.square()).sqrt(), 0.0),
          probed.size() == 1 ? std::numeric_limits<double>::infinity() : relative_error};
}

// Minimiser in log time of the parabola through three mean squares, relative to the middle one.
double parabola_minimiser(const Vector& value) {
  const double bend = value(0) - 2.0 * value(1) + value(2);
  return bend > 0.0 ? 0.5 * parabola_step * (value(0) - value(2)) / bend
                    : std::numeric_limits<double>::quiet_NaN();
}

}  // namespace

ProbedLeaveOneOut::ProbedLeaveOneOut(const KrylovEngine& engine) : engine_(engine), data_(engine.data()) {}

Matrix ProbedLeaveOneOut::fitted_residuals(const std::vector<Path>& paths) const {
  const KrylovSpace& space = engine_.space();
  const Ritz pairs = ritz(space.tridiagonal());
  const Vector values = pairs.values.cwiseMax(0.0);
  Matrix fitted(values.size(), static_cast<Index>(paths.size()));
  for (std::size_t p = 0; p < paths.size(); ++p)
    fitted.col(static_cast<Index>(p)) =
        paths[p].filter(values).cwiseProduct(pairs.vectors.row(0).transpose());
  // Q phi w = w - Q (1 - phi) w: what the space does not reach stays in the residual.
  Matrix coefficients = -(pairs.vectors * fitted);
  coefficients.row(0).array() += 1.0;
  return space.start_norm() * space.basis().times(coefficients);
}

// Entries of eigenvectors, squared: pairs_at_once columns from `first` on. Kept where they are not many.
Matrix ProbedLeaveOneOut::squared_pairs(Index first) const {
  const Eigenpairs& pairs = engine_.pairs();
  const Index width = std::min(pairs_at_once, pairs.count() - first);
  const auto squares = [&] {
    return Matrix(pairs.basis->times(pairs.coordinates.middleCols(first, width)).cwiseAbs2());
  };
  if (pairs.basis->rows() * pairs.count() > most_kept_squares) return squares();
  if (first >= squares_.cols()) {
    squares_.conservativeResize(pairs.basis->rows(), first + width);
    squares_.rightCols(width) = squares();
  }
  return squares_.middleCols(first, width);
}

ProbedLeaveOneOut::Divisors ProbedLeaveOneOut::divisors(const std::vector<Path>& paths) const {
  const auto columns = static_cast<Index>(paths.size());
  const ProjectedOperator& M = engine_.projected();
  const Eigenpairs& pairs = engine_.pairs();
  const Index n = M.rows(), rest = data_.values.size() - pairs.count() - engine_.space().steps() -
                                   engine_.replicate_values();
  const Vector nodes = data_.values.segment(pairs.count(), rest),
               counts = data_.multiplicity.segment(pairs.count(), rest);
  const Matrix Q1 = M.fixed().orthonormal_design();
  Vector identity = Vector::Ones(n), diagonal = M.diagonal();
  if (Q1.cols() > 0) identity -= Q1.rowwise().squaredNorm();

  const SerialBlas serial;
  Divisors result{Matrix::Zero(n, columns), {}, {}, {}};
  for (Index first = 0; first < pairs.count(); first += pairs_at_once) {
    const Matrix squares = squared_pairs(first);
    const Vector theta = pairs.values.segment(first, squares.cols());
    Matrix phi(theta.size(), columns);
    for (Index p = 0; p < columns; ++p) phi.col(p) = paths[static_cast<std::size_t>(p)].phi(theta);
    multiply(squares, Transpose::no, phi, Transpose::no, result.known, 1.0, 1.0);
    identity -= squares.rowwise().sum();
    diagonal -= squares * theta;
  }
  std::vector<Line> lines;
  for (Index p = 0; p < columns; ++p) {
    lines.push_back(line_through(paths[static_cast<std::size_t>(p)].phi(nodes), nodes, counts));
    result.known.col(p) += lines.back().a * identity + lines.back().b * diagonal;
  }
  result.identity = std::move(identity);
  result.diagonal = std::move(diagonal);
  struct Probe {
    const SpectralProbes* batch;
    Index number;
    Vector theta;
  };
  std::vector<Probe> probes;
  for (const SpectralProbes* batch : engine_.kept())
    for (Index j = 0; j < batch->count(); ++j) {
      Vector theta = batch->ritz_of(j).values.cwiseMax(0.0);
      if (theta.size() > 0) probes.push_back({batch, j, std::move(theta)});
    }
  result.probed.resize(probes.size());
  parallel_for(static_cast<Index>(probes.size()), 1, [&](Index i, Index) {
    const auto& [batch, j, theta] = probes[static_cast<std::size_t>(i)];
    Matrix rho(theta.size(), columns);
    for (Index p = 0; p < columns; ++p) {
      const Line& line = lines[static_cast<std::size_t>(p)];
      rho.col(p) = paths[static_cast<std::size_t>(p)].phi(theta).array() - line.a - line.b * theta.array();
    }
    result.probed[static_cast<std::size_t>(i)] = batch->starts().col(j).asDiagonal() * batch->combine(j, rho);
  });
  return result;
}

Matrix ProbedLeaveOneOut::residuals_along(const std::vector<Path>& paths) const {
  Matrix all(engine_.projected().rows(), static_cast<Index>(paths.size()));
  Index probes = 1;
  for (const SpectralProbes* batch : engine_.kept()) probes += batch->count();
  const auto at_once =
      static_cast<std::size_t>(std::max<Index>(4, most_probed_entries / (all.rows() * probes)));
  for (std::size_t first = 0; first < paths.size(); first += at_once) {
    const std::size_t last = std::min(paths.size(), first + at_once);
    const std::vector<Path> some(paths.begin() + static_cast<std::ptrdiff_t>(first),
                                 paths.begin() + static_cast<std::ptrdiff_t>(last));
    const Divisors d = divisors(some);
    const Matrix r = fitted_residuals(some);
    parallel_for(r.cols(), 1, [&](Index p, Index) {
      std::vector<Column> probed;
      for (const Matrix& x : d.probed) probed.push_back(column_of(x, p));
      const Quotients quotients =
          divide(r.col(p), d.known.col(p), probed, row_features(d.identity, d.diagonal, r.col(p)));
      if (quotients.relative_error > largest_relative_error)
        all.col(static_cast<Index>(first) + p).setConstant(std::numeric_limits<double>::quiet_NaN());
      else
        all.col(static_cast<Index>(first) + p) = quotients.residuals;
    });
  }
  return all;
}

Vector ProbedLeaveOneOut::mean_squares(const std::vector<Path>& paths) const {
  return residuals_along(paths).cwiseAbs2().colwise().mean().transpose();
}

Vector ProbedLeaveOneOut::residuals(const Path& path) const { return residuals_along({path}).col(0); }

double ProbedLeaveOneOut::log_time_standard_error(const Path& path) const {
  constexpr double none = std::numeric_limits<double>::quiet_NaN();
  if (!(path.time > 0.0) || !std::isfinite(path.time)) return none;
  // The parabola's three times first, then those far away whose mean square may be as small.
  std::vector<double> offsets{-parabola_step, 0.0, parabola_step};
  for (int k = 1; k <= rivals_each_side; ++k)
    for (const int side : {-k, k}) offsets.push_back(side * rival_step);
  std::vector<Path> paths;
  for (const double offset : offsets) paths.push_back(path.at(path.time * std::exp(offset)));
  const Divisors d = divisors(paths);
  const Matrix r = fitted_residuals(paths);
  const std::size_t R = d.probed.size();
  if (R == 0) return 0.0;
  if (R < 4) return none;
  std::vector<Matrix> features;
  for (Index p = 0; p < r.cols(); ++p) features.push_back(row_features(d.identity, d.diagonal, r.col(p)));
  const auto mean_squares = [&](auto&& keeps) {
    Vector value(r.cols());
    parallel_for(r.cols(), 1, [&](Index p, Index) {
      std::vector<Column> probed;
      for (std::size_t j = 0; j < R; ++j)
        if (keeps(j)) probed.push_back(column_of(d.probed[j], p));
      const Matrix& known_of_rows = features[static_cast<std::size_t>(p)];
      value(p) = divide(r.col(p), d.known.col(p), probed, known_of_rows).residuals.cwiseAbs2().mean();
    });
    return value;
  };
  const Vector all = mean_squares([](std::size_t) { return true; });
  const Vector first_half = mean_squares([R](std::size_t i) { return i < R / 2; }),
               second_half = mean_squares([R](std::size_t i) { return i >= R / 2; });
  Matrix left_out(r.cols(), static_cast<Index>(R));
  for (std::size_t j = 0; j < R; ++j)
    left_out.col(static_cast<Index>(j)) = mean_squares([j](std::size_t i) { return i != j; });
  const auto error_of = [&](auto&& estimate) {
    Vector values(left_out.cols());
    for (Index j = 0; j < values.size(); ++j) values(j) = estimate(left_out.col(j));
    const double shift = 0.5 * (estimate(first_half) + estimate(second_half)) - estimate(all);
    const double factor = static_cast<double>(R - 1) / static_cast<double>(R);
    return std::sqrt(factor * (values.array() - values.mean()).square().sum() + shift * shift);
  };
  double error = error_of([](const Vector& value) { return parabola_minimiser(value); });
  for (Index p = 3; p < r.cols(); ++p) {
    const auto excess = [p](const Vector& value) { return value(p) - value(1); };
    // A rival within two standard errors is within two of the time.
    if (excess(all) <= 2.0 * error_of(excess))
      error = std::max(error, 0.5 * std::abs(offsets[static_cast<std::size_t>(p)]));
  }
  return error;
}

}  // namespace gradflow
