#include "gradflow/model/operator_spec.h"

#include <utility>

#include "gradflow/base/error.h"
#include "gradflow/model/data_source.h"
#include "gradflow/operators/finite_ntk.h"
#include "gradflow/operators/make_operator.h"

namespace gradflow {
namespace {

[[noreturn]] void no_kernel() { throw InternalError("a user's matrix has no kernel function"); }

}  // namespace

std::string_view to_string(OperatorKind kind) {
  switch (kind) {
    case OperatorKind::finite: return "finite";
    case OperatorKind::infinite: return "infinite";
    case OperatorKind::matrix: break;
  }
  return "matrix";
}

std::string OperatorSpec::text() const {
  if (kind == OperatorKind::finite) return layered ? to_string(*layered) : to_string(network);
  if (kind == OperatorKind::infinite) return layered_kernel ? to_string(*layered_kernel) : to_string(kernel);
  return matrix;
}

std::vector<Index> OperatorSpec::array_shape() const {
  const LayeredArchitecture* layers = layered          ? &*layered
                                      : layered_kernel ? &layered_kernel->architecture
                                                       : nullptr;
  return layers != nullptr && layers->input.size() > 1 ? layers->input : std::vector<Index>();
}

void OperatorSpec::take_shape(const std::vector<Index>& shape) {
  if (shape.empty()) return;
  if (layered && layered->input.empty()) layered->input = shape;
  if (layered_kernel && layered_kernel->architecture.input.empty())
    layered_kernel->architecture.input = shape;
}

KernelSource::KernelSource(DenseNetwork network) : network_(std::move(network)) {}
KernelSource::KernelSource(LayeredNetwork network) : layered_(std::move(network)) {}
KernelSource::KernelSource(KernelSum kernel) : kernel_(std::move(kernel)) {}
KernelSource::KernelSource(LayeredKernel kernel) : layered_kernel_(std::move(kernel)) {}

KernelSource KernelSource::make(const OperatorSpec& spec, Index inputs) {
  if (spec.kind == OperatorKind::matrix) no_kernel();
  if (spec.kind == OperatorKind::infinite) {
    if (spec.layered_kernel) {
      spec.layered_kernel->check(inputs);
      return KernelSource(*spec.layered_kernel);
    }
    spec.kernel.check(inputs);
    return KernelSource(spec.kernel);
  }
  if (spec.layered)
    return KernelSource(spec.weights.empty()
                            ? LayeredNetwork::initialise(*spec.layered, inputs, spec.seed)
                            : LayeredNetwork::from_file(spec.weights, *spec.layered, inputs));
  if (spec.weights.empty()) return KernelSource(DenseNetwork::initialise(spec.network, inputs, spec.seed));
  DenseNetwork network = DenseNetwork::from_file(spec.weights, spec.network);
  if (network.inputs() != inputs)
    throw InputError(fmt::format("weights '{}' take {} features, and the data have {} (after encoding)",
                                 spec.weights, network.inputs(), inputs));
  return KernelSource(std::move(network));
}

const Network* KernelSource::finite() const noexcept {
  if (network_) return &*network_;
  return layered_ ? &*layered_ : nullptr;
}

OperatorKind KernelSource::kind() const noexcept {
  return finite() != nullptr ? OperatorKind::finite : OperatorKind::infinite;
}

std::string KernelSource::description() const {
  if (finite() != nullptr) return describe(*finite());
  return layered_kernel_ ? describe(*layered_kernel_) : describe(kernel_.value());
}

std::string KernelSource::text() const {
  if (finite() != nullptr) return finite()->text();
  return layered_kernel_ ? to_string(*layered_kernel_) : to_string(kernel_.value());
}

std::unique_ptr<DenseOperator> KernelSource::training(ConstBlock X) const {
  if (finite() != nullptr) return make_operator(*finite(), X);
  return layered_kernel_ ? make_operator(*layered_kernel_, X) : make_operator(kernel_.value(), X);
}

Vector KernelSource::output(ConstBlock X) const {
  return finite() != nullptr ? finite()->output(X) : Vector(Vector::Zero(X.rows()));
}

CrossKernel KernelSource::cross(ConstBlock X_new, ConstBlock X) const {
  CrossKernel cross;
  if (finite() != nullptr) {
    cross.H_cross = ntk_cross(*finite(), X_new, X);
    cross.H_self = ntk_diagonal(*finite(), X_new);
  } else if (layered_kernel_) {
    cross.H_cross = kernel_cross(*layered_kernel_, X_new, X);
    cross.H_self = kernel_diagonal(*layered_kernel_, X_new);
  } else {
    cross.H_cross = kernel_cross(kernel_.value(), X_new, X);
    cross.H_self = kernel_diagonal(kernel_.value(), X_new);
  }
  const auto n = static_cast<double>(X.rows());
  cross.H_cross /= n;
  cross.H_self /= n;
  cross.output = output(X_new);
  return cross;
}

Matrix read_operator_matrix(const std::string& path, Index rows) {
  Matrix H = read_array(path).as_matrix(path);
  if (H.rows() != H.cols())
    throw InputError(
        fmt::format("'{}' has shape ({}, {}): a training operator is square", path, H.rows(), H.cols()));
  if (rows != 0 && H.rows() != rows)
    throw InputError(fmt::format("'{}' is {} x {}, and the data have {} rows: they must agree", path,
                                 H.rows(), H.cols(), rows));
  return H;
}

}  // namespace gradflow
