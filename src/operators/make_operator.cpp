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

std::string describe(const Network& network) {
  return fmt::format("NTK of a network {} with {} parameters", network.text(), network.parameters().count());
}

std::string describe(const InfiniteArchitecture& architecture) {
  return fmt::format("infinite-width {}, {}, {} hidden layer{}, sw2 = {}, sb2 = {}",
                     architecture.kind == InfiniteArchitecture::KernelKind::ntk ? "NTK" : "NNGP",
                     to_string(architecture.activation), architecture.depth,
                     architecture.depth == 1 ? "" : "s", architecture.sw2, architecture.sb2);
}

std::string describe(const KernelSum& kernel) {
  const char* const relevances = is_scaled(kernel) ? ", with relevances" : "";
  if (kernel.terms.size() != 1 || kernel.terms.front().weight != 1.0)
    return fmt::format("kernel {}{}", to_string(kernel), relevances);
  const KernelTerm& term = kernel.terms.front();
  if (term.kind == KernelTerm::Kind::network) return describe(term.network) + relevances;
  return fmt::format("{} kernel{}", to_string(term.kind), relevances);
}

std::unique_ptr<DenseOperator> make_operator(const Network& network, ConstBlock X) {
  return divide_by_rows(ntk_gram(network, X), describe(network));
}

std::unique_ptr<DenseOperator> make_operator(const KernelSum& kernel, ConstBlock X) {
  return divide_by_rows(kernel_gram(kernel, X), describe(kernel));
}

}  // namespace gradflow
