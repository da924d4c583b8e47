#include "gradflow/model/choice_guard.h"

#include <cmath>
#include <numbers>
#include <utility>

#include "base/special_values.h"
#include "data/duplicates.h"
#include "gradflow/base/error.h"
#include "gradflow/base/parallel.h"
#include "gradflow/inference/held_out.h"
#include "gradflow/inference/left_out.h"
#include "gradflow/operators/scaled_family.h"

namespace gradflow {
namespace {

std::shared_ptr<const OperatorFamily> weighted(std::shared_ptr<const OperatorFamily> family,
                                               const Vector& scale) {
  if (scale.size() == 0) return family;
  return std::make_shared<ScaledFamily>(std::move(family), scale);
}

// The entrant's parameters, by some of the rows.
CandidateFit fit_to(const Entrant& entrant, const ChoiceRows& rows, const std::vector<Index>& kept,
                    const SelectionOptions& search) {
  const Vector scale = rows.scale.size() > 0 ? Vector(rows.scale(kept)) : Vector();
  const auto family = std::make_shared<KernelFamily>(entrant.family->sum_at(entrant.fit.parameters),
                                                     rows.X(kept, Eigen::all), entrant.free);
  const FixedEffects fixed(rows.fixed.design()(kept, Eigen::all), rows.fixed.names());
  const Response response{.y = rows.response.y(kept), .scale = scale};
  SelectionOptions options = search;
  options.starts = 1;
  options.transform = entrant.fit.transform.kind;
  return select({{entrant.name, weighted(family, scale), default_priors(*entrant.family)}}, response, fixed,
                options)
      .candidates.front();
}

Vector densities_of(const CandidateFit& fit, const Entrant& entrant, const ChoiceRows& rows,
                    const std::vector<Index>& held) {
  const auto n = static_cast<double>(rows.X.rows()), out = static_cast<double>(held.size());
  const std::shared_ptr<const OperatorFamily> family = weighted(entrant.family, rows.scale);
  Vector w = fit.transform.forward(rows.response.y);
  if (rows.scale.size() > 0) w.array() *= rows.scale.array();
  const double tau = fit.tau * n / (n - out);  // H is Theta/n
  const HeldOut left = predict_held_out(family->at(fit.parameters)->H(), tau, w, rows.fixed, held);
  Vector densities(left.error.size());
  for (Index i = 0; i < densities.size(); ++i) {
    const Index row = held[static_cast<std::size_t>(i)];
    const double variance = fit.value.noise_variance * left.variance(i);
    densities(i) =
        -0.5 * (std::log(2.0 * std::numbers::pi * variance) + left.error(i) * left.error(i) / variance) +
        fit.transform.log_derivative(rows.response.y(row));
    if (rows.scale.size() > 0) densities(i) += std::log(rows.scale(row));
  }
  return densities;
}

}  // namespace

Matrix left_out_densities(const std::vector<Entrant>& entrants, const ChoiceRows& rows, int folds,
                          const SelectionOptions& search) {
  const std::vector<Index> fold = assign_folds(first_equal_rows({rows.X}), folds, search.seed);
  const auto count = static_cast<Index>(entrants.size());
  Matrix densities(rows.X.rows(), count);
  parallel_for(count * folds, 1, [&](Index begin, Index end) {
    for (Index task = begin; task < end; ++task) {
      const Entrant& entrant = entrants[static_cast<std::size_t>(task / folds)];
      std::vector<Index> kept, held;
      for (std::size_t row = 0; row < fold.size(); ++row)
        (fold[row] == task % folds ? held : kept).push_back(static_cast<Index>(row));
      const CandidateFit fit = fit_to(entrant, rows, kept, search);
      densities(held, task / folds) = std::isfinite(fit.criterion)
                                          ? densities_of(fit, entrant, rows, held)
                                          : Vector::Constant(static_cast<Index>(held.size()), not_a_number);
    }
  });
  for (Index k = 0; k < count; ++k)
    if (!densities.col(k).allFinite()) densities.col(k).setConstant(not_a_number);
  return densities;
}

}  // namespace gradflow
