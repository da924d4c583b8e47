#pragma once

#include <cmath>

#include "gradflow/base/random.h"
#include "gradflow/inference/averaged_signal.h"

namespace gradflow {

/// Var(z_i) = 1 + p(lambda_i) of a model, with lambda_i = 2/i.
inline SpectralData drawn_from(const SignalModel& model, Index n, std::uint64_t seed) {
  SpectralData data{.values = Vector(n), .z = RandomStream(seed, "z").normals(n)};
  for (Index i = 0; i < n; ++i) data.values(i) = 2.0 / static_cast<double>(i + 1);
  data.z.array() *= (1.0 + model.prior(data.values, 2.0).array()).sqrt();
  return data;
}

}  // namespace gradflow
