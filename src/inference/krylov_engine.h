#pragma once

#include <functional>
#include <limits>
#include <memory>
#include <vector>

#include "gradflow/inference/analysis.h"
#include "gradflow/spectrum/block_lanczos.h"
#include "gradflow/spectrum/spectral_density.h"

namespace gradflow {

/// The response's Krylov space and the probes of the spectrum, for one set of fixed effects: from them the
/// test, the likelihoods and the rules get their SpectralData.
class KrylovEngine {
 public:
  /// Which decisions must be sharp before the engine is content.
  enum class Need { test, path_rule, every_rule };

  /// H, fixed and options outlive this.
  KrylovEngine(const TrainingOperator& H, const FixedEffects& fixed, const Vector& response,
               const PureError& pure, const AnalysisOptions& options);

  void solve(Need need);

  const ProjectedOperator& projected() const noexcept { return M_; }
  const KrylovSpace& space() const noexcept { return space_; }
  const Eigenpairs& pairs() const noexcept { return pairs_; }
  bool covered() const;  ///< they leave no direction for probes
  /// Probes whose vectors were kept.
  std::vector<const SpectralProbes*> kept() const;
  Index probe_steps() const { return batches_.empty() ? 0 : batches_.front()->steps(); }
  const KrylovReport& report() const noexcept { return report_; }
  /// Largest shrinkage (tau lambda_1) that the likelihood may be searched to.
  double largest_shrinkage() const noexcept { return report_.resolved_shrinkage; }
  /// The same for the path and its square.
  double reach() const;

  SpectralData data() const { return data_from(rules()); }
  ScoreTest test() const;
  /// Values at the end of data() that stand for replicates: 1 or 0.
  Index replicate_values() const noexcept { return pure_.dof > 0 ? 1 : 0; }

  /// Standard error of an estimate by leaving out one probe, or one of sixteen groups of probes, at a time,
  /// and with it the difference to the probes' other rule, Gauss-Radau's. 0 where no direction was left for
  /// probes; NaN where one probe is all there is.
  double standard_error(const std::function<double(const SpectralData&)>& estimate) const;

 private:
  struct Decision {
    Vector value, tolerance;
    AveragedSignal signal;  // rule expected-loo
  };
  struct ProbeRules {
    std::vector<Quadrature> probes, all;  // all: with those of the moment probes; empty where there are none
  };
  // Variances of estimates: what the probes leave, and the moment probes.
  struct Spread {
    Vector probes, moments;
    Vector error() const { return (probes + moments).cwiseSqrt(); }
  };

  Index most_steps() const;
  bool at_limit() const;
  void extend(Index steps);  // the response's space
  void solve_flow();
  void solve_ridge();
  void start_probes(Need need);
  void sharpen_probes(Need need);
  Index wanted_at_least(Need need) const;
  struct Wanted {
    Index probes = 0, moments = 0;
  };
  Wanted wanted(const Spread& spread, const Vector& tolerance) const;
  bool moments_pay() const;
  bool pays_to_regrow(const Wanted& enough, Index least) const;
  bool keeps(Need need) const;  // whether the next probes' vectors are kept for rule loo
  bool regrow(Need need);
  bool in_blocks() const { return M_.H().columns_at_once() > 1; }  // a block is cheaper than its columns
  bool deflate(Need need);         // grows the space of the random block by half; false: no further
  Eigenpairs found_pairs() const;  // of the random block's space where there is one
  bool settle_space();  // until the space resolves what the spectrum asks of it; true if that took steps
  double resolved_shrinkage() const;
  Index batch_columns() const;  // probes that share a product
  void add_probes(Index count, Index steps, bool keep);
  void add_moment_probes(Index count);
  Index probes() const;
  Index moment_probes() const { return static_cast<Index>(moment_rules_.size()); }
  void settle_steps(Need need);
  Decision decide(const SpectralData& data, Need need) const;
  Vector decided(const SpectralData& data, const Decision& all) const;  // the values, of part of the probes
  double log10_p(const SpectralData& data) const;
  StoppingOptions stopping() const;
  RemlFit fit_ridge(const SpectralData& data, bool interval) const;
  Spread jackknife(const std::function<Vector(const SpectralData&)>& estimate) const;
  ProbeRules rules() const { return rules_by(&SpectralProbes::rule); }
  ProbeRules radau_rules() const { return rules_by(&SpectralProbes::radau); }  // they bound the steps' error
  ProbeRules rules_by(Quadrature (SpectralProbes::*rule)(Index) const) const;
  SpectralData data_from(const ProbeRules& rules) const;
  ScoreTest test_of(const SpectralData& data) const;
  double count() const;      // N, with the directions of replicates
  double quadratic() const;  // w'Mw
  void progress(const std::string& stage, double fraction) const;

  const AnalysisOptions& options_;
  ProjectedOperator M_;
  PureError pure_;
  Vector w_;
  Index products_ = 0;
  KrylovSpace space_;
  std::unique_ptr<BlockKrylovSpace> deflation_;  // of a random block; null: pairs are the space's
  Eigenpairs pairs_;
  std::vector<std::unique_ptr<SpectralProbes>> batches_;
  Index kept_batches_ = 0;                // the first ones
  std::vector<Quadrature> moment_rules_;  // of the moment probes, whose vectors are not kept
  int regrowths_ = 0;
  Index wanted_before_ = std::numeric_limits<Index>::max();  // probes, at the last of them
  double squared_norm_ = -1.0;  // tr M^2; negative: not asked for yet, NaN: not known
  KrylovReport report_;
};

/// Leave-one-out residuals from the Krylov space and the kept probes: (Q phi Q')_ii as the eigenpairs' share,
/// what a line in lambda says of the rest (exact, from the diagonals of P and M), and the probes' mean of v_i
/// (rho(M) x)_i for the remainder rho, shrunk towards its regression on what is known of the row by the share
/// of the spread that is error. The residuals carry the posterior expectation of 1/divisor^2; NaN where the
/// probes do not know the divisors.
class ProbedLeaveOneOut final : public LeaveOneOut {
 public:
  /// The engine outlives this; its kept probes are used.
  explicit ProbedLeaveOneOut(const KrylovEngine& engine);

  Vector mean_squares(const std::vector<Path>& paths) const override;
  Vector residuals(const Path& path) const override;
  /// From leaving out one probe at a time, and the shift that half of the probes would have made, which is of
  /// the size of the bias that is left; at least half the way to a time, up to a factor of 67 away, whose
  /// mean square is within two standard errors of the smallest.
  double log_time_standard_error(const Path& path) const override;

 private:
  struct Divisors {
    Matrix known;                // n x paths: eigenpairs and line
    std::vector<Matrix> probed;  // per probe, n x paths
    Vector identity, diagonal;   // of P and M beyond the eigenpairs, n
  };
  Matrix squared_pairs(Index first) const;
  Divisors divisors(const std::vector<Path>& paths) const;
  Matrix fitted_residuals(const std::vector<Path>& paths) const;  // Q phi(M) w, n x paths
  Matrix residuals_along(const std::vector<Path>& paths) const;

  const KrylovEngine& engine_;
  SpectralData data_;
  mutable Matrix squares_;  // of the first eigenvectors, n x as many as were asked for
};

}  // namespace gradflow
