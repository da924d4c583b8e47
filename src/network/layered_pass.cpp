#include "gradflow/network/layered_pass.h"

#include "gradflow/base/error.h"
#include "gradflow/base/linear_algebra.h"
#include "gradflow/base/parallel.h"
#include "network/layered_passes.h"

namespace gradflow {

LayeredPass::LayeredPass(const LayeredNetwork& network, double most_kept)
    : network_(network), most_kept_(most_kept) {}
LayeredPass::~LayeredPass() = default;

Matrix LayeredPass::forward(ConstBlock X) {
  network_.check_inputs(X);
  rows_ = X.rows();
  kept_ = static_cast<double>(rows_) * static_cast<double>(network_.kept_entries_) <= most_kept_;
  const Index block = network_.block_rows();
  tapes_.resize(kept_ ? static_cast<std::size_t>((rows_ + block - 1) / block) : 0);
  X_ = kept_ ? Matrix() : Matrix(X);
  Matrix F(rows_, network_.outputs());
  const LayerPasses passes{network_.parameters_, network_.bias_scale()};
  const SerialBlas serial;
  parallel_for(rows_, block, [&](Index begin, Index end) {
    std::vector<LayerTape>* tapes = kept_ ? &tapes_[static_cast<std::size_t>(begin / block)] : nullptr;
    F.middleRows(begin, end - begin) =
        passes.forward(network_.layers_, X.middleRows(begin, end - begin), tapes);
  });
  return F;
}

Parameters LayeredPass::pull_back(ConstBlock U) {
  require(U.rows() == rows_, "LayeredPass::pull_back U.rows", U.rows(),
          "must be the number of rows of the last forward pass");
  require(U.cols() == network_.outputs(), "LayeredPass::pull_back U.cols", U.cols(),
          "must be the number of outputs");
  if (!kept_) return network_.pull_back_at(X_, U);
  return network_.pull_back(U, [&](Index begin, Index, std::vector<LayerTape>&) -> std::vector<LayerTape>& {
    return tapes_[static_cast<std::size_t>(begin / network_.block_rows())];
  });
}

}  // namespace gradflow
