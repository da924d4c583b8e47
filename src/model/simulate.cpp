#include "gradflow/model/simulate.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>
#include <vector>

#include "gradflow/base/error.h"
#include "gradflow/base/linear_algebra.h"
#include "gradflow/base/parallel.h"
#include "gradflow/base/random.h"
#include "gradflow/model/memory.h"

namespace gradflow {
namespace {

// Each part of a data set is a stream of its own: what one part draws does not move another.
RandomStream stream_of(const char* part, std::uint64_t seed, std::uint64_t replicate) {
  return {seed, fmt::format("simulate {} {}", part, replicate)};
}

double normal_distribution(double z) { return 0.5 * std::erfc(-z / std::numbers::sqrt2); }

Index groups_of(Index rows, Index size) { return (rows - 1) / size + 1; }

// Rows of the matrix, or entries of the vector, that belong to the n rows when each serves `size` of them.
template <typename Drawn>
Drawn spread(const Drawn& drawn, Index n, Index size) {
  Drawn all(n, drawn.cols());
  for (Index i = 0; i < n; ++i) all.row(i) = drawn.row(i / size);
  return all;
}

// z_1 = e_1, z_j = rho z_(j-1) + sqrt(1 - rho^2) e_j: every column is N(0, 1).
Matrix correlated_normals(RandomStream& stream, Index m, Index d, double rho) {
  Matrix Z = stream.normals(m, d);
  const double fresh = std::sqrt((1.0 - rho) * (1.0 + rho));
  if (rho != 0.0)
    for (Index j = 1; j < d; ++j) Z.col(j) = rho * Z.col(j - 1) + fresh * Z.col(j);
  return Z;
}

Matrix draw_features(const SimulationOptions& options, Index m, Index d) {
  RandomStream stream = stream_of("features", options.seed, options.fixed_inputs ? 0 : options.replicate);
  Matrix X = correlated_normals(stream, m, d, options.correlation);
  const auto uniform = [&X](Index j, double low, double high) {
    for (double& x : X.col(j)) x = low + (high - low) * normal_distribution(x);
  };
  constexpr double pi = std::numbers::pi;
  switch (options.function) {
    case TestFunction::friedman1:
      for (Index j = 0; j < d; ++j) uniform(j, 0.0, 1.0);
      break;
    case TestFunction::friedman2:
    case TestFunction::friedman3:
      uniform(0, 0.0, 100.0);
      uniform(1, 40.0 * pi, 560.0 * pi);
      uniform(2, 0.0, 1.0);
      uniform(3, 1.0, 11.0);
      break;
    case TestFunction::parity: X = X.unaryExpr([](double z) { return z < 0.0 ? -1.0 : 1.0; }); break;
    default: break;
  }
  return X;
}

double draw_noise(RandomStream& stream, NoiseKind kind) {
  switch (kind) {
    case NoiseKind::t3: {
      const double z = stream.normal();
      const Vector chi = stream.normals(3);
      return z / chi.norm();  // t_3 = z / sqrt(chi2_3 / 3), over its standard deviation sqrt(3)
    }
    case NoiseKind::skewed: return -std::log1p(-stream.uniform()) - 1.0;
    case NoiseKind::normal: break;
  }
  return stream.normal();
}

// A with A A' = C for positive semidefinite C: Cholesky, or the eigenvectors where C is singular to rounding.
// One thread, so that the bits do not depend on their number.
Matrix root_of(const Matrix& C) {
  const SerialBlas serial;
  Matrix L = C;
  if (cholesky_lower(L)) return L.triangularView<Eigen::Lower>();
  SymmetricEigen eigen = symmetric_eigen(C);
  return eigen.vectors * eigen.values.cwiseMax(0.0).cwiseSqrt().asDiagonal();
}

struct RandomEffect {
  Vector f;
  double tau;
};

// f0 + N(0, s^2 tau H) at the m distinct inputs of n rows.
RandomEffect draw_random_effect(const SimulationOptions& options, const Matrix& X, double noise) {
  require_memory(X.rows(), 3.0);
  const KernelSource kernel = KernelSource::make(options.operator_spec, X.cols());
  const auto m = static_cast<double>(X.rows()), n = static_cast<double>(options.rows);
  const Matrix H = kernel.training(X)->entries() * (m / n);
  const double ratio = options.signal_to_noise > 0.0 ? options.signal_to_noise : 1.0;
  const double tau = options.tau >= 0.0 ? options.tau : ratio / H.diagonal().mean();
  const Vector z = stream_of("effect", options.seed, options.replicate).normals(X.rows());
  return {kernel.output(X) + noise * std::sqrt(tau) * (root_of(H) * z), tau};
}

void require_room(Index n, Index d) {
  const double needed = 8.0 * static_cast<double>(n) * (2.0 * static_cast<double>(d) + 8.0);
  const double available = available_memory();
  if (available > 0.0 && needed > available)
    throw InputError(
        fmt::format("{} rows of {} features need about {:.3g} GB of memory, and this machine has "
                    "{:.3g} GB available",
                    n, d, needed / 1e9, available / 1e9));
}

double variance(const Vector& f) {
  return (f.array() - f.mean()).square().sum() / static_cast<double>(f.size());
}

double noise_of(const SimulationOptions& options, double signal) {
  if (options.signal_to_noise > 0.0 && options.function != TestFunction::model)
    return std::sqrt(signal / options.signal_to_noise);
  return options.noise < 0.0 ? default_noise(options.function) : options.noise;
}

// Classes by the values at which they begin; all rows of one value are of one class.
Vector cut(const Vector& latent, const std::vector<Index>& first_rank) {
  std::vector<double> sorted(latent.begin(), latent.end());
  std::sort(sorted.begin(), sorted.end());
  std::vector<double> first_value;
  for (const Index rank : first_rank) first_value.push_back(sorted[static_cast<std::size_t>(rank)]);
  Vector classes(latent.size());
  Vector count = Vector::Zero(static_cast<Index>(first_rank.size()) + 1);
  for (Index i = 0; i < latent.size(); ++i) {
    const auto after = std::upper_bound(first_value.begin(), first_value.end(), latent(i));
    const Index k = after - first_value.begin();
    classes(i) = static_cast<double>(k);
    count(k) += 1.0;
  }
  if (count.minCoeff() == 0.0)
    throw InputError(
        fmt::format("{} classes: one would be empty, because too many rows have equal values", count.size()));
  return classes;
}

std::vector<Index> class_ranks(const SimulationOptions& options) {
  const auto n = static_cast<double>(options.rows);
  if (options.binary_rate > 0.0) {
    const auto ones = static_cast<Index>(std::lround(options.binary_rate * n));
    return {options.rows - std::clamp<Index>(ones, 1, options.rows - 1)};
  }
  std::vector<Index> ranks;
  for (Index k = 1; k < options.classes; ++k)
    ranks.push_back(static_cast<Index>(static_cast<double>(k) * n / static_cast<double>(options.classes)));
  return ranks;
}

}  // namespace

std::string_view to_string(NoiseKind kind) {
  switch (kind) {
    case NoiseKind::normal: return "normal";
    case NoiseKind::t3: return "t3";
    case NoiseKind::skewed: break;
  }
  return "skewed";
}

NoiseKind parse_noise_kind(const std::string& text) {
  for (const NoiseKind kind : {NoiseKind::normal, NoiseKind::t3, NoiseKind::skewed})
    if (text == to_string(kind)) return kind;
  throw InputError(fmt::format("noise kind '{}': must be normal, t3 or skewed", text));
}

SimulatedData simulate(const SimulationOptions& options) {
  options.check();
  const Index n = options.rows;
  const Index d = options.features > 0 ? options.features : default_features(options.function);
  require_room(n, d);
  const Index same_inputs = options.copies * options.replicates;
  const Index inputs = groups_of(n, same_inputs), draws = groups_of(n, options.copies);
  const Matrix X = draw_features(options, inputs, d);

  SimulatedData data;
  data.X = spread(X, n, same_inputs);
  if (options.function == TestFunction::model) {
    const RandomEffect effect = draw_random_effect(options, X, noise_of(options, 0.0));
    data.f = spread(effect.f, n, same_inputs);
    data.tau = effect.tau;
  } else {
    data.f = spread(evaluate(options.function, X), n, same_inputs);
  }
  const double signal = variance(data.f);
  data.noise = noise_of(options, signal);
  data.signal_to_noise =
      data.noise > 0.0 ? signal / (data.noise * data.noise) : std::numeric_limits<double>::infinity();

  RandomStream stream = stream_of("noise", options.seed, options.replicate);
  Vector noise(draws);
  for (double& e : noise) e = draw_noise(stream, options.noise_kind);
  data.y = data.f + data.noise * spread(noise, n, options.copies);
  if (options.classes > 0 || options.binary_rate > 0.0) data.y = cut(data.y, class_ranks(options));
  return data;
}

}  // namespace gradflow
