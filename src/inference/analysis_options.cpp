#include <algorithm>
#include <cmath>

#include "gradflow/base/error.h"
#include "gradflow/inference/analysis.h"

namespace gradflow {

std::string_view to_string(Engine engine) { return engine == Engine::dense ? "dense" : "krylov"; }

void KrylovOptions::check() const {
  require(max_steps >= 2, "Krylov steps", max_steps, "must be >= 2");
  require(time_tolerance > 0.0, "time tolerance", time_tolerance, "must be > 0");
  require(fit_tolerance > 0.0, "fit tolerance", fit_tolerance, "must be > 0");
  require(probes == 0 || probes >= 2, "probes", probes, "must be >= 2 (a standard error needs two), or 0");
  require(max_probes >= 2, "largest number of probes", max_probes, "must be >= 2");
}

void AnalysisOptions::loosen_for_float32() {
  krylov.time_tolerance = std::max(krylov.time_tolerance, 1e-6);
  krylov.fit_tolerance = std::max(krylov.fit_tolerance, 1e-3);
  largest_shrinkage = std::min(largest_shrinkage, 1e6);
}

void AnalysisOptions::check() const {
  krylov.check();
  require(level > 0.0 && level < 1.0, "level", level, "must be between 0 and 1");
  require(std::isnan(learning_rate) || (learning_rate > 0.0 && std::isfinite(learning_rate)), "learning rate",
          learning_rate, "must be > 0");
  require(validation_fraction > 0.0 && validation_fraction < 1.0, "validation fraction", validation_fraction,
          "must be between 0 and 1");
  require(path.decay >= 0.0 && std::isfinite(path.decay), "decay rate", path.decay, "must be >= 0");
  require(path.iterations >= 1, "implicit steps", path.iterations, "must be >= 1");
  require(path.kind != PathKind::descent || path.learning_rate > 0.0, "learning rate", path.learning_rate,
          "must be > 0 on path 'descent', whose steps have that size");
}

}  // namespace gradflow
