#pragma once

#include <memory>

#include "gradflow/network/dense_network.h"
#include "gradflow/operators/dense_operator.h"
#include "gradflow/operators/kernel_sum.h"

namespace gradflow {

/// The training operator H = Theta(X, X) / n of a network at its present parameters, or of a sum of
/// kernels, as a dense matrix. X is n x d with n >= 1. Costs are in finite_ntk.h and kernel_sum.h.
std::unique_ptr<DenseOperator> make_operator(const Network& network, ConstBlock X);
std::unique_ptr<DenseOperator> make_operator(const KernelSum& kernel, ConstBlock X);

/// One line: "NTK of a network relu:128x2 with 17921 parameters", "infinite-width NTK, relu, 2 hidden layers,
/// sw2 = 2, sb2 = 0.1", "rbf kernel", "kernel ntk:relu:2 + 0.3*linear, with relevances". What make_operator's
/// description() says.
std::string describe(const Network& network);
std::string describe(const InfiniteArchitecture& architecture);
std::string describe(const KernelSum& kernel);

}  // namespace gradflow
