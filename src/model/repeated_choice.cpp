#include "gradflow/model/repeated_choice.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <set>
#include <utility>

#include "base/special_values.h"
#include "data/duplicates.h"
#include "gradflow/base/error.h"
#include "gradflow/model/fitted_model.h"
#include "model/fit_rows.h"

namespace gradflow {
namespace {

// z of rows that the model has not seen, on the scale of its intervals.
Vector errors_of(const FittedModel& model, const Dataset& held, const Vector& y) {
  NewRows rows;
  rows.X = held.X;
  rows.Z = held.Z;
  rows.ids = held.ids;
  rows.row.resize(held.ids.size());
  std::iota(rows.row.begin(), rows.row.end(), Index{0});
  const Predictions predicted = predict(model, rows, {}, {.interval = IntervalKind::model});
  Eigen::ArrayXd variance = predicted.scale.array().square();
  if (held.weights.size() > 0) variance += model.ridge_variance * (held.weights.array().inverse() - 1.0);
  return (model.transform.forward(y) - predicted.location).array() / variance.sqrt();
}

double root_mean_square(const Vector& z) {
  double squares = 0.0, count = 0.0;
  for (const double each : z) {
    if (!std::isfinite(each)) continue;
    squares += each * each;
    ++count;
  }
  return count > 0.0 ? std::sqrt(squares / count) : not_a_number;
}

void warn(RepeatedChoice& repeated, Index rows, const LeftOut& out) {
  for (std::size_t k = 0; k < repeated.folds.size(); ++k)
    if (const FoldChoice& fold = repeated.folds[k]; !fold.problem.empty())
      repeated.warnings.push_back(fmt::format("the choice without fold {} of {} has no fit: {}", k + 1,
                                              repeated.folds.size(), fold.problem));
  if (!repeated.errors.known())
    repeated.warnings.push_back(
        "no fold has left-out errors: what choosing costs is not known, and intervals do not allow for it");
  else if (out.without > 0)
    repeated.warnings.push_back(
        fmt::format("{} of {} rows have no left-out error: what choosing costs is known from the others",
                    out.without, rows));
  if (repeated.errors.known() && out.infinite > 0)
    repeated.warnings.push_back(fmt::format(
        "{} of {} rows left out are off by infinitely many of the model's standard deviations: they count as "
        "the largest error",
        out.infinite, rows));
}

}  // namespace

RepeatedChoice repeat_choice(const KernelSum& given, const Dataset& data, const ChoiceOptions& options,
                             const AnalysisOptions& analysis, int folds, Progress* progress) {
  if (data.y.size() > FittedModel::most_factored_rows)
    throw InputError(fmt::format(
        "the choice of {} rows cannot be repeated without folds: the fits that this takes are made "
        "for up to {} rows",
        data.y.size(), FittedModel::most_factored_rows));
  require(folds >= 2, "folds of the kernel's choice", folds, "must be >= 2");
  const std::vector<Index> group = first_equal_rows({data.X, data.Z});
  folds = std::min(folds, static_cast<int>(std::set<Index>(group.begin(), group.end()).size()));
  const Vector y = unstandardize_response(data.recipe, data.y);
  ChoiceOptions without = options;
  without.tried = options.tried_for(y);  // it has to take the rows left out too
  RepeatedChoice repeated;
  const auto fit = [&](int fold, const std::vector<Index>& kept, const std::vector<Index>& held) {
    ProgressPart part_progress(progress, fmt::format("choosing again without fold {} of {}", fold + 1, folds),
                               fold, folds);
    FoldChoice found{.rows = static_cast<Index>(held.size())};
    Vector z = Vector::Constant(found.rows, not_a_number);
    try {
      Dataset part = part_of(data, kept);
      const KernelChoice choice = choose_kernel(given, part, without, &part_progress);
      found.kernel = to_string(choice.kernel);
      found.transform = to_string(choice.transform.kind);
      const FittedModel model = fit_rows(std::move(part), choice.kernel, choice.transform, analysis).model;
      z = errors_of(model, part_of(data, held), Vector(y(held)));
      found.root_mean_square = root_mean_square(z);
    } catch (const InputError& error) {
      found.problem = error.what();
    }
    repeated.folds.push_back(std::move(found));
    return z;
  };
  LeftOut out = leave_folds_out(assign_folds(group, folds, options.seed), fit);
  repeated.errors = std::move(out.errors);
  warn(repeated, data.y.size(), out);
  return repeated;
}

}  // namespace gradflow
