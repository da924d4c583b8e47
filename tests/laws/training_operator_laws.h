#pragma once

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "gradflow/base/random.h"
#include "gradflow/operators/training_operator.h"

namespace gradflow::laws {

/// Names of the laws that H breaks at random vectors; empty means that H passed. Free of any test framework,
/// so that a user can hold an operator of their own to the same laws. `tolerance` is relative to |H v| |v|.
inline std::vector<std::string> broken_by(const TrainingOperator& H, RandomStream& random,
                                          double tolerance = 1e-12) {
  std::vector<std::string> broken;
  const auto law = [&broken](const char* name, bool holds) {
    if (!holds) broken.emplace_back(name);
  };
  const Index n = H.size();
  // No multiple of the columns that an operator may take together.
  constexpr Index columns = 7;
  const Matrix V = random.normals(n, columns);
  Matrix HV(n, columns), again(n, columns), column(n, 1);
  H.apply(V, HV);
  H.apply(V, again);
  const double scale = HV.norm() * V.norm() + 1e-300;

  law("size >= 1", n >= 1);
  law("description is one line", !H.description().empty() && H.description().find('\n') == std::string::npos);
  law("finite", HV.allFinite());
  law("repeated apply is bit-equal", (HV.array() == again.array()).all());
  law("symmetric: <u, Hv> = <Hu, v>",
      std::abs(V.col(0).dot(HV.col(1)) - HV.col(0).dot(V.col(1))) <= tolerance * scale);
  double least = 0.0, apart = 0.0;
  for (Index j = 0; j < columns; ++j) {
    least = std::min(least, V.col(j).dot(HV.col(j)));
    H.apply(V.col(j), column);
    apart = std::max(apart, (column - HV.col(j)).norm() * V.norm());
  }
  law("semidefinite: <v, Hv> >= 0", least >= -tolerance * scale);
  law("block apply = column by column", apart <= tolerance * scale);
  H.apply(2.0 * V + V.rowwise().reverse(), again);
  law("linear", (again - 2.0 * HV - HV.rowwise().reverse()).norm() * V.norm() <= 10.0 * tolerance * scale);
  const Matrix entries = H.matrix();
  const double size = entries.norm() + 1e-300;
  law("matrix() is n x n", entries.rows() == n && entries.cols() == n);
  law("matrix() agrees with apply", (entries * V - HV).norm() * V.norm() <= tolerance * scale);
  law("diagonal agrees with matrix()", (entries.diagonal() - H.diagonal()).norm() <= tolerance * size);
  law("trace agrees with matrix()",
      std::abs(entries.trace() - H.trace()) <= tolerance * size * std::sqrt(double(n)));
  return broken;
}

}  // namespace gradflow::laws
