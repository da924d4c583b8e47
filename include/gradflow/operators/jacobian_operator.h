#pragma once

#include <memory>

#include "gradflow/network/dense_network.h"
#include "gradflow/network/layered_network.h"
#include "gradflow/operators/precision.h"
#include "gradflow/operators/training_operator.h"

namespace gradflow {

class JacobianPasses;

struct JacobianOptions {
  /// Of the features, the weights, the sweeps and sums over at most 4096 examples. Longer sums and results
  /// are float64.
  Precision precision = Precision::float32;
  /// Sweeps are kept in memory when sweep_bytes(...) <= this, and otherwise recomputed on every pass. The
  /// results have the same bits. >= 0.
  double cache_bytes = 0.0;
};

/// The training operator of a network at its present parameters, matrix-free:
///
///     H = J J' / n,     J = df(X; theta)/dtheta,     J is n x P
///
/// Neither H nor J is formed. With A_l (w_in x batch) and D_l (w_out x batch) of DenseNetwork::sweep,
/// examples as columns, ws_l = weight_scale(l) and bs = bias_scale():
///
///     J'v:  U_l = ws_l sum_batches D_l diag(v) A_l',     u_l = bs sum_batches D_l v
///     J u:  (J u)_i = sum_l D_l,i' (ws_l U_l A_l,i + bs u_l)
///
/// Cost of a column: 4 n P flops, and unless the sweeps are kept, two sweeps of up to 4 n P flops that all
/// columns of a block share. Memory: sweep_bytes (if kept) + working_bytes. The same bits for any number of
/// threads: batches, groups of batches and the order of sums depend on n and the network only.
///
/// In float32 a product agrees with float64 to about 1e-6 relative. A unit whose z is within rounding of a
/// kink (relu, leaky_relu, abs) may fall on its other side. entries() and matrix() are computed in float64
/// from the features as stored, that is, rounded to float32; matrix() costs n^2 doubles and ntk_gram's time.
/// Source: theory, section 6.
///
/// Networks of layers are float64 throughout, whatever the option says; a layer that acts at several places
/// of an array has a column of A_l and D_l for each.
class JacobianOperator final : public TrainingOperator {
 public:
  /// X is n x inputs(), n >= 1; it is copied at the sweep's precision. Cost: one sweep. Throws InputError on
  /// a wrong shape, and if an output or gradient is not finite at this precision.
  JacobianOperator(DenseNetwork network, ConstBlock X, const JacobianOptions& options = {});
  JacobianOperator(LayeredNetwork network, ConstBlock X, const JacobianOptions& options = {});
  ~JacobianOperator() override;

  Index size() const noexcept override { return output_.size(); }
  std::string description() const override;  ///< as describe(network)
  const Network& network() const noexcept { return *network_; }
  const Vector& output() const noexcept { return output_; }  ///< f(X), n, at the sweep's precision
  bool cached() const noexcept { return cached_; }

  /// J' alpha / n: the change of the parameters whose prediction is network().jvp(X_new, pullback(alpha)).
  /// Cost: half an apply. Throws InputError unless alpha has size() entries.
  Parameters pullback(ConstVector alpha) const;

  /// Bytes of the kept sweeps: per example and hidden unit a and df/dz, and 1 per hidden layer with biases.
  static double sweep_bytes(const Architecture& architecture, Index inputs, Index n, Precision precision);
  /// Bytes of all else while a column is applied on threads() threads: the copy of the features, results per
  /// example, parameters, accumulators and batch buffers. A block of columns is cut so that its accumulators
  /// stay below about 600 MB or, if larger, what one column takes. Buffers live as long as the operator.
  static double working_bytes(const Architecture& architecture, Index inputs, Index n, Precision precision);
  static double sweep_bytes(const LayeredSizes& sizes, Index n);
  static double working_bytes(const LayeredSizes& sizes, Index inputs, Index n);
  /// Flops of one apply to one column.
  static double flops_per_apply(const Architecture& architecture, Index inputs, Index n, bool cached);
  static double flops_per_apply(const LayeredSizes& sizes, Index n, bool cached);

 private:
  void start(std::unique_ptr<JacobianPasses> passes, Precision precision);
  void do_apply(ConstBlock X, Block Y) const override;
  Vector do_diagonal() const override { return diagonal_; }
  Matrix do_matrix() const override;
  Matrix do_entries(const std::vector<Index>& rows, const std::vector<Index>& cols) const override;

  std::unique_ptr<const Network> network_;
  Vector output_, diagonal_;
  bool cached_ = false;
  std::unique_ptr<const JacobianPasses> passes_;
};

/// J' residual / n in one pass that keeps nothing: with residual = f(X) - y the gradient of the squared loss
/// sum_i (f(x_i) - y_i)^2 / (2 n) over all examples. X (n x inputs()) is converted batch by batch. Cost: one
/// sweep and 2 n P flops, up to 6 n P. Throws InputError on a shape mismatch.
Parameters full_batch_gradient(const DenseNetwork& network, ConstBlock X, ConstVector residual,
                               Precision precision);

}  // namespace gradflow
