#pragma once

#include <vector>

#include "gradflow/training/turns.h"

namespace gradflow {

/// Of squared loss.
struct TrainedGcvOptions : TurnOptions {
  static constexpr int most_twins = 1000;
  int twins = 3;      ///< J, 1 to most_twins
  double size = 0.1;  ///< of the disturbance, in standard deviations of the response; > 0
};

/// Generalised cross-validation of a training with the degrees of freedom that the training itself has used:
///
///     GCV(t) = |r(t)|^2 / N / (1 - dof(t) / N)^2,      best = argmin_t GCV(t)
///     dof(t) = tr dF(t)/dY,   the generalised degrees of freedom
///
/// F(t) the network's outputs at its training rows, r = P (Y - F), N = K (n - q). A fixed operator has dof =
/// tr (I - exp(-tM)), and the best time is that of rule gcv: GCV(t) and dof(t) are then unbiased for that
/// rule's. An operator that moves because of Y has used more: what learning it has cost is in the derivative.
/// J twins are trained beside the network from the same theta_0 and with the same batches, their responses
/// disturbed by random signs z_j, projected off the fixed effects:
///
///     dof(t) = mean_j <P z_j, F_j(t) - F(t)> / e,   Y_j = Y + e P z_j,   e = size sd(P Y)
///     standard error <= sqrt( 2 mean_j |F_j - F|^2 / (e^2 J) )
///
/// No row is held out, no operator is made, and any squared loss, optimiser, number of rows and of outputs
/// will do. The noise of all rows and outputs is taken as one variance: of indicators of classes, whose noise
/// lies where the classes meet, and the network's freedom too, GCV is too small and the time too long. Ye
/// (1998), "On measuring and correcting the effects of data mining and model selection", JASA 93; the
/// estimator: Ramani, Blu and Unser (2008), "Monte-Carlo SURE", IEEE Trans. Image Processing 17. The
/// difference is one-sided; its error is of second order in e, as random signs have no third moments, but for
/// what projecting them adds.
///
/// `settled` asks that GCV is higher at the last point by two of its standard errors.
struct TrainedGcv : TurnCurve {
  int twins = 0;
  Index freedom = 0;  ///< N
  /// At the points: GCV (infinite beyond 99 % of N), in squared units of Y, the dof with its standard error,
  /// and |r|^2 / N.
  std::vector<double> gcv{}, dof{}, dof_standard_error{}, mean_square{};

  double at_best(const std::vector<double>& curve) const { return curve[static_cast<std::size_t>(best)]; }
};

/// Trains the network and its twins in turn, until GCV has settled. The network has the parameters it came
/// with at the end. What divergence or max_steps cuts short ends there for all of them, with a warning.
///
/// The same seed gives the same bits for any number of threads, and an interrupted run goes on from its
/// checkpoint to the same bits. Cost: J + 1 trainings to twice the best time or more, and (J + 1) n K numbers
/// for each look between two comparisons: some forty before the first, then five. Throws InputError for
/// options out of range, cross-entropy, no more rows than fixed effects, a checkpoint of another run, and
/// what Trainer throws.
TrainedGcv trained_gcv(TrainableNetwork& network, const TrainingSet& data, const TrainedGcvOptions& options);

}  // namespace gradflow
