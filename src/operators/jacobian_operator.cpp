#include "gradflow/operators/jacobian_operator.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>
#include <vector>

#include "gradflow/base/error.h"
#include "gradflow/operators/finite_ntk.h"
#include "gradflow/operators/make_operator.h"
#include "operators/jacobian_passes.h"

namespace gradflow {
namespace {

double scalar_bytes(Precision precision) { return precision == Precision::float32 ? 4.0 : 8.0; }

/// What the costs depend on.
struct Sizes {
  Index parameters = 0;
  Index above_first =
      0;  ///< entries of hidden weight matrices but the first: what a reverse sweep multiplies
  Index units = 0, widest = 0;  ///< hidden
  Index stored = 0;             ///< entries of A_l and D_l per example over the hidden layers
};

Sizes sizes_of(const Architecture& architecture, Index inputs) {
  const Index bias = architecture.bias ? 1 : 0;
  Sizes sizes;
  Index width_in = inputs;
  for (const Index width : architecture.widths) {
    sizes.parameters += width * (width_in + bias);
    if (sizes.units > 0) sizes.above_first += width * width_in;
    sizes.units += width;
    sizes.stored += 2 * width + bias;
    sizes.widest = std::max(sizes.widest, width);
    width_in = width;
  }
  sizes.parameters += width_in + bias;
  return sizes;
}

void check_features(const Network& network, ConstBlock X) {
  if (X.cols() != network.inputs())
    throw InputError(
        fmt::format("the features have {} columns: the network takes {} inputs", X.cols(), network.inputs()));
  require(X.rows() >= 1, "examples", X.rows(), "must be >= 1");
}

}  // namespace

JacobianOperator::JacobianOperator(DenseNetwork network, ConstBlock X, const JacobianOptions& options) {
  check_features(network, X);
  require(options.cache_bytes >= 0.0, "JacobianOptions::cache_bytes", options.cache_bytes, "must be >= 0");
  cached_ = sweep_bytes(network.architecture(), X.cols(), X.rows(), options.precision) <= options.cache_bytes;
  auto passes = make_jacobian_passes(network, X, options.precision, cached_ ? Kept::sweeps : Kept::features);
  network_ = std::make_unique<const DenseNetwork>(std::move(network));
  start(std::move(passes), options.precision);
}

JacobianOperator::JacobianOperator(LayeredNetwork network, ConstBlock X, const JacobianOptions& options) {
  check_features(network, X);
  require(options.cache_bytes >= 0.0, "JacobianOptions::cache_bytes", options.cache_bytes, "must be >= 0");
  const LayeredSizes sizes = sizes_of(network.architecture(), X.cols());
  cached_ = sweep_bytes(sizes, X.rows()) <= options.cache_bytes;
  auto own = std::make_unique<const LayeredNetwork>(std::move(network));
  auto passes = make_jacobian_passes(*own, X, cached_ ? Kept::sweeps : Kept::features);
  network_ = std::move(own);
  start(std::move(passes), Precision::float64);
}

void JacobianOperator::start(std::unique_ptr<JacobianPasses> passes, Precision precision) {
  passes->first_pass(output_, diagonal_);
  for (Index i = 0; i < size(); ++i)
    if (!std::isfinite(output_[i]) || !std::isfinite(diagonal_[i]))
      throw InputError(
          fmt::format("example {} (0-based): the network's output or gradient is not finite in {}", i,
                      to_string(precision)));
  diagonal_ /= static_cast<double>(size());
  passes_ = std::move(passes);
}

JacobianOperator::~JacobianOperator() = default;

std::string JacobianOperator::description() const { return describe(*network_); }

void JacobianOperator::do_apply(ConstBlock X, Block Y) const {
  const Index width = columns_per_pass(network_->parameters().count());
  for (Index first = 0; first < X.cols(); first += width) {
    const Index columns = std::min(width, X.cols() - first);
    Matrix U = passes_->pull(X.middleCols(first, columns));
    U /= static_cast<double>(size());
    passes_->push(std::move(U), Y.middleCols(first, columns));
  }
}

Matrix JacobianOperator::do_matrix() const {
  std::vector<Index> all(static_cast<std::size_t>(size()));
  std::iota(all.begin(), all.end(), Index{0});
  return ntk_gram(*network_, passes_->features(all)) / static_cast<double>(size());
}

Matrix JacobianOperator::do_entries(const std::vector<Index>& rows, const std::vector<Index>& cols) const {
  return ntk_cross(*network_, passes_->features(rows), passes_->features(cols)) / static_cast<double>(size());
}

Parameters JacobianOperator::pullback(ConstVector alpha) const {
  require(alpha.size() == size(), "JacobianOperator::pullback alpha.size", alpha.size(), "must equal size()");
  return network_->parameters().unflatten(passes_->pull(alpha).col(0) / static_cast<double>(size()));
}

double JacobianOperator::sweep_bytes(const Architecture& architecture, Index inputs, Index n,
                                     Precision precision) {
  return scalar_bytes(precision) * static_cast<double>(n) *
         static_cast<double>(sizes_of(architecture, inputs).stored);
}

double JacobianOperator::working_bytes(const Architecture& architecture, Index inputs, Index n,
                                       Precision precision) {
  const Sizes sizes = sizes_of(architecture, inputs);
  const Index rows = inputs + (architecture.bias ? 1 : 0);
  // features; output and diagonal; the network itself; a pass
  return scalar_bytes(precision) * static_cast<double>(n) * static_cast<double>(rows) +
         16.0 * static_cast<double>(n) + 8.0 * static_cast<double>(sizes.parameters) +
         pass_bytes(sizes.parameters, rows, sizes.units, sizes.widest, n, precision);
}

double JacobianOperator::sweep_bytes(const LayeredSizes& sizes, Index n) {
  return 8.0 * static_cast<double>(n) * sizes.swept;
}

double JacobianOperator::working_bytes(const LayeredSizes& sizes, Index inputs, Index n) {
  // features; output and diagonal; the network itself; a pass
  return 8.0 * static_cast<double>(n) * (static_cast<double>(inputs) + 2.0) + 8.0 * sizes.parameters +
         layered_pass_bytes(sizes, n);
}

double JacobianOperator::flops_per_apply(const LayeredSizes& sizes, Index n, bool cached) {
  // J'v and J u; a sweep is a forward and a reverse pass
  return static_cast<double>(n) * sizes.multiply_adds * (cached ? 4.0 : 12.0);
}

double JacobianOperator::flops_per_apply(const Architecture& architecture, Index inputs, Index n,
                                         bool cached) {
  const Sizes sizes = sizes_of(architecture, inputs);
  const double products = 4.0 * static_cast<double>(n) * static_cast<double>(sizes.parameters);
  const double sweep =
      2.0 * static_cast<double>(n) * static_cast<double>(sizes.parameters + sizes.above_first);
  return cached ? products : products + 2.0 * sweep;
}

Parameters full_batch_gradient(const DenseNetwork& network, ConstBlock X, ConstVector residual,
                               Precision precision) {
  check_features(network, X);
  require(residual.size() == X.rows(), "full_batch_gradient residual.size", residual.size(),
          "must equal the number of examples");
  const auto passes = make_jacobian_passes(network, X, precision, Kept::nothing);
  return network.parameters().unflatten(passes->pull(residual).col(0) / static_cast<double>(X.rows()));
}

}  // namespace gradflow
