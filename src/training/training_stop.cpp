#include "training/training_stop.h"

#include <array>

#include "gradflow/base/error.h"

namespace gradflow {
namespace {

constexpr std::array stops{
    TrainingStop::steps,      TrainingStop::reml_risk,   TrainingStop::reml_flow,
    TrainingStop::follow,     TrainingStop::follow_flow, TrainingStop::follow_gcv,
    TrainingStop::follow_gdf, TrainingStop::validation,  TrainingStop::cross_validation};

}  // namespace

std::string_view to_string(TrainingStop stop) {
  switch (stop) {
    case TrainingStop::steps: return "steps";
    case TrainingStop::reml_risk: return "reml-risk";
    case TrainingStop::reml_flow: return "reml-flow";
    case TrainingStop::follow: return "follow";
    case TrainingStop::follow_flow: return "follow-flow";
    case TrainingStop::follow_gcv: return "follow-gcv";
    case TrainingStop::follow_gdf: return "follow-gdf";
    case TrainingStop::validation: return "validation";
    case TrainingStop::cross_validation: return "cross-validation";
  }
  throw InternalError("unnamed stop of a training");
}

TrainingStop parse_training_stop(const std::string& text) {
  for (const TrainingStop stop : stops)
    if (text == to_string(stop)) return stop;
  throw InputError(fmt::format(
      "stop '{}': must be steps, reml-risk, reml-flow, follow, follow-flow, follow-gcv, follow-gdf, "
      "validation or cross-validation",
      text));
}

bool follows_operator(TrainingStop stop) {
  return stop == TrainingStop::follow || stop == TrainingStop::follow_flow ||
         stop == TrainingStop::follow_gcv;
}

bool needs_operator(TrainingStop stop) {
  return follows_operator(stop) || stop == TrainingStop::reml_risk || stop == TrainingStop::reml_flow;
}

FollowKind follow_kind(TrainingStop stop) {
  if (stop == TrainingStop::follow_flow) return FollowKind::flow;
  return stop == TrainingStop::follow_gcv ? FollowKind::gcv : FollowKind::risk;
}

}  // namespace gradflow
