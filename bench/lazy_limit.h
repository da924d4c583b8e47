#pragma once

#include "bench_support.h"
#include "gradflow/inference/stopping.h"
#include "gradflow/operators/dense_operator.h"
#include "gradflow/spectrum/projected_spectrum.h"
#include "gradflow/training/run.h"

namespace gradflow::bench {

/// |f_network - f_flow| / |f_flow - f_0| at new points, trained to the time of reml-risk at its own operator.
inline Json lazy_limit(int seeds) {
  constexpr Index n = 100, d = 5, points = 200;
  Json json = Json::array();
  std::vector<double> log_width, log_distance;
  fmt::print("distance of the trained network from its flow at the stopping time, {} seeds\n", seeds);
  fmt::print("  {:>6} {:>22} {:>12} {:>10}\n", "width", "distance", "t lambda_1", "drift");
  for (const Index width : {64, 128, 256, 512, 1024, 2048, 4096}) {
    std::vector<double> distances, times, drifts;
    for (int seed = 1; seed <= seeds; ++seed) {
      const bench::Simulated data = bench::simulate(n + points, d, static_cast<std::uint64_t>(seed), 1.0);
      const TrainingSet set{data.X.topRows(n), data.y.head(n), Matrix::Ones(n, 1)};
      const Matrix X_new = data.X.bottomRows(points);
      Architecture architecture;
      architecture.widths = {width};
      architecture.parameterization = Parameterization::ntk;
      const auto network = make_trainable(
          DenseNetwork::initialise(architecture, d, static_cast<std::uint64_t>(seed)), Centring::copies);
      const DenseOperator H(network->kernel(set.X) / static_cast<double>(n));
      const Matrix H_cross = network->kernel_cross(X_new, set.X) / static_cast<double>(n);
      const FixedEffects fixed = FixedEffects::intercept(n);
      const ProjectedSpectrum M = project(H, fixed);
      TrainerOptions options;
      options.optimiser.learning_rate = 0.02 / M.values(0);
      Trainer trainer(*network, set, options);
      const Vector y = set.Y.col(0);
      const SpectralData spectral{M.values, M.coordinates(y), Vector(), M.trace};
      const double time =
          risk_time(spectral, fit_reml(spectral, Path{.kind = PathKind::ridge}), StoppingOptions{});
      const DualFit fit = dual_fit(H, fixed, M, y, {.kind = PathKind::flow, .time = time});
      const Vector flow = (H_cross * fit.alpha).array() + fit.beta(0);
      run_training(trainer, {.max_steps = 10000000, .stop_time = time});
      const Vector trained = trainer.predict(X_new, Matrix::Ones(points, 1)).col(0);
      distances.push_back((trained - flow).norm() / (flow.array() - y.mean()).matrix().norm());
      times.push_back(time * M.values(0));
      const Matrix before = static_cast<double>(n) * H.entries();
      drifts.push_back((network->kernel(set.X) - before).norm() / before.norm());
    }
    const Mean distance = mean_of(distances);
    log_width.push_back(std::log(static_cast<double>(width)));
    log_distance.push_back(std::log(distance.mean));
    fmt::print("  {:>6} {:>12.5f} ± {:.5f} {:>12.3g} {:>10.4f}\n", width, distance.mean,
               distance.standard_error, mean_of(times).mean, mean_of(drifts).mean);
    std::fflush(stdout);
    json.push_back({{"width", width}, {"distance", distance.mean}, {"distance_se", distance.standard_error}});
  }
  const Eigen::Map<const Vector> x(log_width.data(), static_cast<Index>(log_width.size()));
  const Eigen::Map<const Vector> y(log_distance.data(), static_cast<Index>(log_distance.size()));
  const Vector centred = x.array() - x.mean();
  fmt::print("  slope of log distance in log width: {:.3f}\n", centred.dot(y) / centred.squaredNorm());
  return json;
}

}  // namespace gradflow::bench
