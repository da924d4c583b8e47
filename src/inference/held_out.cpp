#include "gradflow/inference/held_out.h"

#include <Eigen/QR>
#include <limits>

#include "gradflow/base/error.h"
#include "gradflow/base/linear_algebra.h"

namespace gradflow {
namespace {

std::vector<Index> rows_kept(const std::vector<Index>& held, Index n) {
  std::vector<bool> out(static_cast<std::size_t>(n), false);
  for (const Index row : held) {
    require(row >= 0 && row < n, "row held out", row, fmt::format("must be in [0, {})", n));
    out[static_cast<std::size_t>(row)] = true;
  }
  std::vector<Index> kept;
  for (Index row = 0; row < n; ++row)
    if (!out[static_cast<std::size_t>(row)]) kept.push_back(row);
  require(!held.empty() && !kept.empty(), "number of rows held out", held.size(),
          fmt::format("must be from 1 to {}", n - 1));
  return kept;
}

}  // namespace

HeldOut predict_held_out(const Matrix& H, double tau, const Vector& w, const FixedEffects& fixed,
                         const std::vector<Index>& held) {
  const Index n = w.size(), q = fixed.count(), out = static_cast<Index>(held.size());
  require(H.rows() == n && H.cols() == n, "predict_held_out H.rows", H.rows(), "must equal the number of w");
  require(fixed.rows() == n, "predict_held_out fixed.rows", fixed.rows(), "must equal the number of w");
  const std::vector<Index> kept = rows_kept(held, n);
  const FixedEffects X(fixed.design()(kept, Eigen::all), fixed.names());
  HeldOut result;
  result.error = result.variance = Vector::Constant(out, std::numeric_limits<double>::quiet_NaN());
  Matrix L = tau * H(kept, kept);
  L.diagonal().array() += 1.0;
  if (!L.allFinite() || !cholesky_lower(L)) return result;
  // L^-1 (V_KI, X_K, w_K)
  Matrix white(X.rows(), out + q + 1);
  white << tau * H(kept, held), X.design(), w(kept);
  solve_lower(L, Transpose::no, white);
  const auto V = white.leftCols(out);
  const Matrix design = white.middleCols(out, q);
  const Vector response = white.col(out + q);
  const Matrix X_held = fixed.design()(held, Eigen::all), R = X_held - V.transpose() * design;
  result.variance = 1.0 + tau * H.diagonal()(held).array() - V.colwise().squaredNorm().transpose().array();
  result.error = w(held) - V.transpose() * response;
  if (q == 0) return result;
  const Eigen::HouseholderQR<Matrix> qr(design);
  result.error -= R * qr.solve(response);  // w_I - A w_K - R b
  Matrix share = R.transpose();            // T^-T R', T'T = X_K' V_KK^-1 X_K
  qr.matrixQR().topRows(q).triangularView<Eigen::Upper>().transpose().solveInPlace(share);
  result.variance += share.colwise().squaredNorm().transpose();
  return result;
}

}  // namespace gradflow
