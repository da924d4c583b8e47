#pragma once

#include <limits>
#include <string>
#include <vector>

#include "gradflow/inference/reml.h"
#include "gradflow/training/run.h"

namespace gradflow {

/// How much longer to train when the operator moves.
///
/// M_s = Q'H_s Q is the operator at the present weights, elapsed flow time s; w the projected residual at the
/// start and r the present one. Up to now training has been linear in w along its path, r = R w with
///
///     R = time-ordered product of exp(-ds M),      R <- exp(-(ds/2) M_now) exp(-(ds/2) M_before) R
///
/// from checkpoint to checkpoint, and if M_s stayed, u more would leave exp(-u M_s) R w.
///
/// **flow** (follows reml-flow). The flow is the BLUP under Var(w) = s2 (exp(-u M_s) R)^-1, whose
/// log-determinant is the integral of tr M so far plus u tr M_s:
///
///     minimise over u >= 0   N log( w' exp(-u M_s) r ) + u tr M_s
///     stop when              N w' M_s r <= tr M_s w'r
///
/// Neither R nor s is needed. With a_i = w_i r_i in M_s's eigenvectors, u is the first root of
/// g(u) = sum a_i (N lambda_i - tr M_s) exp(-u lambda_i). When w'r <= 0 the path leaves no noise variance:
/// the fitted values account for all of w'w; the remaining time is 0. When the sum w'exp(-uM)r falls to zero
/// before a root of g, the remaining time is bounded by that u (on_boundary).
///
/// **risk** (follows reml-risk, the default). The function is drawn from N(0, s2 K), K = tau M + kappa M^2,
/// with components estimated by REML from w, the residual at the start (r has been trained on: its likelihood
/// would be of something else), and the operator M named by `components`. The network u later is the linear
/// smoother I - A, A = exp(-u M_s) R, with expected squared error over s2
///
///     risk(u) = tr A (K + I) A' - 2 tr A + N
///             = sum_i exp(-2 u lambda_i) a_i - 2 exp(-u lambda_i) b_i + N,
///     a = diag U'R (K + I) R'U,   b = diag U'R U,   M_s = U diag(lambda) U'
///
/// and the remaining time is its global minimiser over u >= 0; training stops when that is at most
/// `tolerance` s.
///
/// **gcv** (follows gcv). Generalised cross-validation of that smoother, from what it has left of the data:
///
///     minimise over u >= 0   N |exp(-u M_s) r|^2 / (tr exp(-u M_s) R)^2,   tr exp(-u M_s) R >= N / 100
///
/// It asks nothing of the operator about the function, and sees what the network has fitted, not what a model
/// of it should have.
///
/// Law, of all three: while the operator does not move, R = exp(-s M) and s + u is the one-shot time, at
/// every s. Restarting either criterion from r alone breaks it: at a fixed operator the flow's then stops at
/// half.
enum class FollowKind { flow, risk, gcv };

/// What remains by the flow's criterion; values, w and r in M_s's eigenvectors, trace = tr M_s.
struct Remaining {
  Outcome outcome = Outcome::not_run;
  std::string reason{};
  double time = std::numeric_limits<double>::quiet_NaN();
};
Remaining remaining_flow_time(const Vector& values, const Vector& w, const Vector& r, double trace);

/// The same by the risk, from a and b above.
Remaining remaining_risk_time(const Vector& values, const Vector& a, const Vector& b);

/// And by generalised cross-validation, from r and b.
Remaining remaining_gcv_time(const Vector& values, const Vector& r, const Vector& b);

/// Which operator the components of `risk` are estimated with: the one at theta_0, that has not seen the
/// response, or the present one.
enum class ComponentsAt { initial, present };

struct FollowOptions {
  FollowKind kind = FollowKind::risk;
  ComponentsAt components = ComponentsAt::present;
  double growth = 1.3;             ///< of elapsed time (or steps, for adam) from look to look, > 1
  double tolerance = 0.02;         ///< the remaining part of the elapsed time that is not worth a step, >= 0
  double first_part = 1.0 / 16.0;  ///< first look at this part of the first remaining time, in (0, 1]
  Index first_steps = 20;          ///< adam: first look after these
  Index least_steps = 1;           ///< nothing stops before
  RemlOptions reml{};
  void check() const;
};

/// One look.
struct FollowRecord {
  Index step = 0;
  double time = 0.0;       ///< s: flow time, or that matched from look to look for adam
  double remaining = 0.0;  ///< u
  Outcome outcome = Outcome::not_run;
  std::string reason{};
  double alignment = 1.0;                                           ///< w'r / (|w| |r|)
  double trace = 0.0;                                               ///< tr M_s
  double tau_largest = std::numeric_limits<double>::quiet_NaN();    ///< tau lambda_1 of the components
  double kappa_largest = std::numeric_limits<double>::quiet_NaN();  ///< kappa lambda_1^2
  double tracking = std::numeric_limits<double>::quiet_NaN();       ///< |R w - r| / |w|: how well R is known
  double dof = std::numeric_limits<double>::quiet_NaN();            ///< tr (I - R), degrees of freedom so far
};

/// Ends a training when nothing remains. Squared loss and one output only. Cost of a look: the kernel of all
/// rows, one eigendecomposition and, but for `flow`, three products of N x N matrices; memory 4 n^2 doubles.
class FollowingStop final : public Monitor {
 public:
  /// At theta_0 of the trainer, which the first look must see. Throws InputError for another loss or K > 1.
  FollowingStop(const Trainer& trainer, FollowOptions options);

  Due due() const override { return due_; }
  std::string look(const Trainer& trainer) override;
  void save(TensorFile& file) const override;
  void restore(const TensorFile& file) override;

  const std::vector<FollowRecord>& records() const noexcept { return records_; }

 private:
  struct Spectrum {
    Vector values;   // ascending, >= 0
    Matrix vectors;  // in coordinates of Q
  };
  Spectrum spectrum_of(const Trainer& trainer) const;
  double elapsed_since(const Trainer& trainer, const Vector& r) const;
  void track(double step, const Spectrum& now);
  Remaining by_smoother(const Spectrum& now, FollowRecord& record);
  Remaining by_risk(const Spectrum& now, const Vector& b, FollowRecord& record);
  void plan(const Trainer& trainer, double remaining);

  FollowOptions options_;
  Due due_;
  Vector w_, r_before_;
  Spectrum before_, initial_;
  Matrix path_;  // U'R of the last look
  double elapsed_ = 0.0, time_before_ = 0.0;
  std::vector<FollowRecord> records_;
};

}  // namespace gradflow
