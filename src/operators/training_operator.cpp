#include "gradflow/operators/training_operator.h"

#include "gradflow/base/error.h"

namespace gradflow {

void TrainingOperator::apply(ConstBlock X, Block Y) const {
  require(X.rows() == size(), "TrainingOperator::apply X.rows", X.rows(), "must equal size()");
  require(Y.rows() == size(), "TrainingOperator::apply Y.rows", Y.rows(), "must equal size()");
  require(Y.cols() == X.cols(), "TrainingOperator::apply Y.cols", Y.cols(), "must equal X.cols");
  do_apply(X, Y);
}

Matrix TrainingOperator::entries(const std::vector<Index>& rows, const std::vector<Index>& cols) const {
  for (const std::vector<Index>* indices : {&rows, &cols})
    for (const Index index : *indices)
      require(index >= 0 && index < size(), "TrainingOperator::entries index", index,
              "must be in [0, size())");
  return do_entries(rows, cols);
}

Matrix TrainingOperator::do_entries(const std::vector<Index>& rows, const std::vector<Index>& cols) const {
  return matrix()(rows, cols);
}

Matrix TrainingOperator::do_matrix() const {
  Matrix H(size(), size());
  apply(Matrix::Identity(size(), size()), H);
  return H;
}

}  // namespace gradflow
