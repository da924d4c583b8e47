#include "gradflow/operators/operator_family.h"

#include "gradflow/base/linear_algebra.h"

namespace gradflow {

Vector OperatorFamily::Point::contract_low_rank(const LowRankWeights& W) const {
  Matrix formed = W.diagonal.asDiagonal();
  multiply(W.factors * W.coefficients.asDiagonal(), Transpose::no, W.factors, Transpose::yes, formed, 1.0,
           1.0);
  return contract(0.5 * (formed + formed.transpose()));
}

}  // namespace gradflow
