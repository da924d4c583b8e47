#pragma once

#include "gradflow/training/run.h"

namespace gradflow {

/// Lowers the learning rate as the operator grows, so that eta lambda_1 stays at most what it was at theta_0:
///
///     factor = min(1, lambda_1(0) / lambda_1(s))
///
/// on at most 100 seeded probe rows, projected off the fixed effects there. Without it
/// gradient descent on a kernel that grows fivefold ends at the edge of stability, where the loss oscillates
/// and flow time means nothing. Looks at theta_0, after the first step and then every 15 % of the steps so
/// far. Cost of a look: the kernel of the probes and 30 products with it.
class RateFollower final : public Monitor {
 public:
  /// At theta_0 of the trainer.
  RateFollower(const Trainer& trainer, std::uint64_t seed);

  Due due() const override { return {next_, std::numeric_limits<double>::infinity()}; }
  std::string look(const Trainer& trainer) override;
  double rate_factor() const override { return factor_; }
  void save(TensorFile& file) const override;
  void restore(const TensorFile& file) override;

 private:
  double largest(const Trainer& trainer) const;

  Matrix probes_;
  Matrix basis_;  // orthonormal, of the fixed effects at the probes
  double at_start_ = 0.0, factor_ = 1.0;
  Index next_ = 1;
};

}  // namespace gradflow
