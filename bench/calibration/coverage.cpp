// Coverage of prediction intervals, on simulated data and on real data with their standard splits.
#include <memory>

#include "gradflow/data/dataset.h"
#include "gradflow/model/simulate.h"
#include "intervals.h"
#include "parts.h"
#include "real_trials.h"

namespace gradflow::calibration {
namespace {

constexpr Index new_rows = 200;               // of every simulated data set
constexpr Index most_rows_of_remedies = 500;  // five more choices each

Trial encoded(const Matrix& X, const Vector& y, const Matrix& X_new, const Vector& y_new) {
  DatasetOptions options;
  options.copies = CopiesPolicy::all;  // what is done with copies is the study's own
  const Dataset train = make_dataset(X, y, options, "X", "y");
  return {train.X, encode(train.recipe, X_new, "X").X, y, y_new};
}

Trial simulated_trial(TestFunction function, Index n, Index repetition) {
  const SimulatedData data = draw(function, n + new_rows, repetition);
  return encoded(data.X.topRows(n), data.y.head(n), data.X.bottomRows(new_rows), data.y.tail(new_rows));
}

Trial real_trial(const study::RealData& data, const study::Case& study_case, int split) {
  const Trial raw = real_rows(data, study_case, split);
  return encoded(raw.X, raw.y, raw.X_new, raw.y_new);
}

const KernelSum prespecified{InfiniteArchitecture{}};

template <typename MakeTrial>
std::vector<CoverageRow> coverage_of(const std::string& setting, Index count, Kernel kernel,
                                     const MakeTrial& make_trial) {
  const bool choose = kernel == Kernel::chosen;
  std::vector<IntervalScores> scores(static_cast<std::size_t>(count));
  for_each_repetition(count, [&](Index r) {
    const Trial trial = make_trial(r);
    const RidgeModel model(choose ? chosen_kernel(trial) : prespecified, trial.X, trial.y);
    IntervalScores& mine = scores[static_cast<std::size_t>(r)];
    mine = model.score(trial.X_new, trial.y_new);
    if (choose && trial.X.rows() <= most_rows_of_remedies) mine.merge(score_remedies(model, trial));
  });
  return summarise(setting, choose ? "ntk:erf:2, chosen" : "ntk:relu:2", scores);
}

}  // namespace

Json report_simulated_coverage(const Effort& effort, Kernel kernel) {
  CoverageTable table("Coverage in % on simulated data", 0.02);
  for (const Index n : {100, 400})
    for (const TestFunction function :
         {TestFunction::friedman1, TestFunction::mixed, TestFunction::simple, TestFunction::nonlinear}) {
      const Index count =
          kernel == Kernel::chosen ? effort.of(n == 100 ? 100 : 50, 4) : effort.of(n == 100 ? 160 : 80, 4);
      table.add(coverage_of(fmt::format("{}, n {}", to_string(function), n), count, kernel,
                            [&](Index r) { return simulated_trial(function, n, r); }));
    }
  return table.finish();
}

Json report_real_coverage(const Effort& effort, Kernel kernel) {
  CoverageTable table("Coverage in % on real data, standard splits", 0.04);
  for (const RealCase& real : available_real_cases(effort.rows)) {
    const study::RealData data = study::load(real.study_case.folder);
    const int all = kernel == Kernel::chosen ? real.chosen_splits : real.prespecified_splits;
    const Index count = splits_of(effort, all);
    const Trial first = real_trial(data, real.study_case, 0);
    table.add(
        coverage_of(fmt::format("{}, n {}", real.study_case.name, first.X.rows()), count, kernel,
                    [&](Index split) { return real_trial(data, real.study_case, static_cast<int>(split)); }));
  }
  return table.finish();
}

}  // namespace gradflow::calibration
