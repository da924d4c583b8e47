#pragma once

#include <vector>

#include "gradflow/inference/reml.h"

namespace gradflow {

/// The values that a trace sees and those that the response sees: the same from an eigendecomposition, two
/// lists from a Krylov space.
struct Measures {
  Vector values, multiplicity;  ///< tr f(M) = sum multiplicity f(values)
  Vector seen, squares;         ///< w'f(M)w = sum squares f(seen)

  explicit Measures(const SpectralData& data) {
    std::vector<Index> counted, present;
    for (Index i = 0; i < data.values.size(); ++i) {
      if (data.multiplicity.size() == 0 || data.multiplicity(i) != 0.0) counted.push_back(i);
      if (data.z(i) != 0.0) present.push_back(i);
    }
    values = data.values(counted);
    multiplicity =
        data.multiplicity.size() == 0 ? Vector(Vector::Ones(values.size())) : data.multiplicity(counted);
    seen = data.values(present);
    squares = data.z(present).cwiseAbs2();
  }
};

}  // namespace gradflow
