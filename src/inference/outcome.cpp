#include "gradflow/inference/outcome.h"

#include "gradflow/base/error.h"

namespace gradflow {

std::string_view to_string(Outcome outcome) {
  switch (outcome) {
    case Outcome::not_run: return "not_run";
    case Outcome::converged: return "converged";
    case Outcome::at_zero: return "at_zero";
    case Outcome::on_boundary: return "on_boundary";
    case Outcome::unidentified: return "unidentified";
    case Outcome::iteration_limit: return "iteration_limit";
  }
  throw InternalError("unnamed outcome");
}

}  // namespace gradflow
