#pragma once

#include <memory>
#include <vector>

#include "gradflow/network/dense_network.h"
#include "gradflow/network/layered_network.h"
#include "gradflow/operators/precision.h"

namespace gradflow {

/// What stays in memory between passes over the data. With `nothing` the features are read where the caller
/// keeps them, which must outlive the passes.
enum class Kept { nothing, features, sweeps };

/// Groups of examples whose sums are added in order, threads() of them in memory at once: fewer would not
/// occupy many threads.
inline constexpr Index wanted_groups = 32;

/// Passes over n examples, without n x n or n x P storage: equations, costs and determinism in
/// jacobian_operator.h. Arguments are checked by the callers.
class JacobianPasses {
 public:
  JacobianPasses() = default;
  JacobianPasses(const JacobianPasses&) = delete;
  JacobianPasses& operator=(const JacobianPasses&) = delete;
  virtual ~JacobianPasses() = default;

  /// J'V, P x b, rows in the order of Parameters::flatten(); V is n x b.
  virtual Matrix pull(ConstBlock V) const = 0;
  /// Y <- J U, n x b; U is P x b.
  virtual void push(Matrix U, Block Y) const = 0;
  /// f(X) and the diagonal of J J', n each. It fills the kept sweeps: to be called first and once when they
  /// are kept.
  virtual void first_pass(Vector& output, Vector& squared_norms) = 0;
  /// Rows of the kept features, as stored.
  virtual Matrix features(const std::vector<Index>& rows) const = 0;
};

std::unique_ptr<JacobianPasses> make_jacobian_passes(const DenseNetwork& network, ConstBlock X,
                                                     Precision precision, Kept kept);

/// The same in float64; the network must outlive the passes. Not for Kept::nothing.
std::unique_ptr<JacobianPasses> make_jacobian_passes(const LayeredNetwork& network, ConstBlock X, Kept kept);

/// Columns of a block that one pass serves, so that their accumulators stay small: >= 1.
Index columns_per_pass(Index parameters);

/// Bytes that a pass over one column needs beside what is kept, with P = parameters and `units` hidden units
/// of which the widest layer has `widest`.
double pass_bytes(Index parameters, Index inputs, Index units, Index widest, Index n, Precision precision);
/// The same of a network of layers.
double layered_pass_bytes(const LayeredSizes& sizes, Index n);

}  // namespace gradflow
