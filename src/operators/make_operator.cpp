#include "gradflow/operators/make_operator.h"

#include <utility>

#include "gradflow/base/error.h"
#include "gradflow/operators/finite_ntk.h"

namespace gradflow {
namespace {

std::unique_ptr<DenseOperator> divide_by_rows(Matrix theta, std::string name) {
  if (theta.rows() > 0) theta /= static_cast<double>(theta.rows());
  return std::make_unique<DenseOperator>(std::move(theta), std::move(name));
}

}  // namespace

std::string describe(const DenseNetwork& network) {
  return fmt::format("NTK of a network {} with {} parameters", to_string(network.architecture()),
                     network.parameters().count());
}

std::string describe(const InfiniteArchitecture& architecture) {
  return fmt::format("infinite-width {}, {}, {} hidden layer{}, sw2 = {}, sb2 = {}",
                     architecture.kind == InfiniteArchitecture::KernelKind::ntk ? "NTK" : "NNGP",
                     to_string(architecture.activation), architecture.depth,
                     architecture.depth == 1 ? "" : "s", architecture.sw2, architecture.sb2);
}

std::unique_ptr<DenseOperator> make_operator(const DenseNetwork& network, ConstBlock X) {
  return divide_by_rows(ntk_gram(network, X), describe(network));
}

std::unique_ptr<DenseOperator> make_operator(const InfiniteArchitecture& architecture, ConstBlock X) {
  return divide_by_rows(kernel_gram(architecture, X), describe(architecture));
}

}  // namespace gradflow
