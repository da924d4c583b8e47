#pragma once

#include "gradflow/inference/reml.h"
#include "gradflow/spectrum/projected_spectrum.h"
#include "gradflow/training/run.h"

namespace gradflow {

/// The time at which the flow of an operator comes nearest: argmin_t |exp(-t Lambda) from - to|, both in its
/// eigenvectors; 0 where the operator is zero.
double matched_flow_time(const Vector& values, ConstBlock from, ConstBlock to);  ///< of one or more columns

/// The flow of the network linearised at theta_0: what training would do if its operator stayed.
///
///     M = Q'HQ,   w = P (Y - F_0), n x K,   residual at time t:  exp(-tM) w
///
/// Squared loss. K > 1 outputs share one operator and one time: H = (1/K) sum_k J_k J_k'/n, J_k =
/// df_k/dtheta, the mean of the diagonal blocks of the nK x nK operator. It is that operator where the blocks
/// between outputs vanish and those on the diagonal are equal, as at infinite width (there an output's
/// weights are its own, and the hidden layers' parts J_k J_l' average to zero). At finite width the true flow
/// of the linearised network departs from this one by the blocks left out: residual() is then an
/// approximation. The K columns of w have one noise variance, so that likelihood and rules see z_i = |row i
/// of U'w|. Cost: the kernel of all rows and one eigendecomposition; memory 3 n^2 doubles while it is made,
/// n^2 after.
class InitialFlow {
 public:
  static constexpr Index most_rows = 4000;

  /// At theta_0 of the trainer. Throws InputError for cross-entropy and more than most_rows rows.
  explicit InitialFlow(const Trainer& trainer);

  const SpectralData& data() const noexcept { return data_; }
  double largest_eigenvalue() const { return data_.values(0); }
  double start_norm() const { return data_.z.norm(); }  ///< |w|

  Matrix residual(double time) const;  ///< n x K
  double effective_dof(double time) const;

  /// The time at which this flow's residual is nearest to r (n x K): argmin |exp(-tM) w - r|. How far a
  /// training without a flow time of its own has come.
  double matched_time(ConstBlock r) const;

  /// Leading directions learned: in order of descending eigenvalue and groups of 1, 2, 4, ..., those before
  /// the first group in which more than half of the residual's length is left, sum r_i^2 > 1/4 sum w_i^2.
  Index learned_directions(ConstBlock r) const;
  /// tr r'Mr / (lambda_1 tr r'r), in [0, 1]: where in the spectrum the residual lies.
  double position(ConstBlock r) const;
  /// lambda_{k+1} / lambda_1, k = learned_directions: what is being learned now; 0 when all are learned.
  double frontier(Index learned) const;

 private:
  ProjectedSpectrum spectrum_;
  Matrix start_;  // U'w, N x K
  SpectralData data_;
};

/// Ends a training without a flow time of its own when the matched time reaches `time`. Looks every 5 % of
/// the steps so far, so the end may be that much late.
class MatchedTimeStop final : public Monitor {
 public:
  MatchedTimeStop(const InitialFlow& flow, double time) : flow_(flow), time_(time) {}
  Due due() const override { return {next_, std::numeric_limits<double>::infinity()}; }
  std::string look(const Trainer& trainer) override;
  void save(TensorFile& file) const override;
  void restore(const TensorFile& file) override;
  double matched() const noexcept { return matched_; }

 private:
  const InitialFlow& flow_;
  double time_, matched_ = 0.0;
  Index next_ = 0;
};

}  // namespace gradflow
