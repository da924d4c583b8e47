#pragma once

#include <memory>

#include "gradflow/network/dense_network.h"
#include "gradflow/operators/dense_operator.h"
#include "gradflow/operators/infinite_ntk.h"

namespace gradflow {

/// The training operator H = Theta(X, X) / n of a network at its present parameters, or of an infinite-width
/// kernel, as a dense matrix. X is n x d with n >= 1. Costs are in finite_ntk.h and infinite_ntk.h.
std::unique_ptr<DenseOperator> make_operator(const DenseNetwork& network, ConstBlock X);
std::unique_ptr<DenseOperator> make_operator(const InfiniteArchitecture& architecture, ConstBlock X);

/// One line: "NTK of a network relu:128x2 with 17921 parameters", "infinite-width NTK, relu, 2 hidden layers,
/// sw2 = 2, sb2 = 0.1". What make_operator's description() says.
std::string describe(const DenseNetwork& network);
std::string describe(const InfiniteArchitecture& architecture);

}  // namespace gradflow
