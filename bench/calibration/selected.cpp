// What a user gets: `gradflow fit --select` and the intervals and densities of `predict`. On simulated data,
// without a transform, of the mean of fits, the default, and of one fit (--average 0), by the model that
// takes the choice as known and by the choice made again without folds. On real data as it
// is predicted, and jackknife+.
#include <cmath>
#include <map>

#include "gradflow/model/fitted_model.h"
#include "gradflow/model/simulate.h"
#include "parts.h"
#include "real_trials.h"

namespace gradflow::calibration {
namespace {

constexpr Index rows_predicted = 500;  // of every data set

ColumnTable table_of(const Matrix& X, const Vector& y) {
  ColumnTable table;
  table.add(X.data(), X.rows(), X.cols(), 1, X.rows());
  table.columns.push_back({.name = "y", .numbers = y.data()});
  return table;
}

// Of one data set and one kind of interval.
struct Score {
  std::array<double, 3> covered{};
  double width = 0.0, log_density = 0.0;  // of the 95 % interval; mean
};
using Scores = std::map<std::string, Score>;

Score score(FittedModel model, const NewRows& rows, const Vector& y, IntervalKind kind) {
  Score score;
  for (std::size_t i = 0; i < interval_levels.size(); ++i) {
    model.level = interval_levels[i];
    const Predictions p = predict(model, rows, {}, {.interval = kind});
    score.covered[i] =
        ((p.lower.array() <= y.array()) && (y.array() <= p.upper.array())).cast<double>().mean();
    score.width = (p.upper - p.lower).mean();
    score.log_density = log_densities(model, p, y).mean();
  }
  return score;
}

void score(const FittedModel& model, const NewRows& rows, const Vector& y, const std::string& fits,
           const std::vector<IntervalKind>& which, Scores& scores) {
  for (const IntervalKind kind : which)
    scores[fmt::format("{}, {}", fits, to_string(kind))] = score(model, rows, y, kind);
}

Job selecting(const ColumnTable& train) {
  Job job;
  job.source.columns = &train;
  job.dataset.target = std::string("y");
  job.choice.select = true;
  return job;
}

Scores selected(TestFunction function, Index n, Index repetition) {
  const SimulatedData data = draw(function, n + rows_predicted, repetition);
  const Matrix X = data.X.topRows(n), X_new = data.X.bottomRows(rows_predicted);
  const Vector y = data.y.head(n), y_new = data.y.tail(rows_predicted);
  const ColumnTable train = table_of(X, y), fresh = table_of(X_new, y_new);
  Job job = selecting(train);  // without a transform: that of positive rows gives others no density
  const FittedModel mean = make_model(job, run(job));
  const NewRows rows = encode(mean.recipe, fresh);
  Scores scores;
  score(mean, rows, y_new, "mean", {default_interval(mean)}, scores);
  job.choice.average = 0;
  score(make_model(job, run(job)), rows, y_new, "one", {IntervalKind::model, IntervalKind::cross_validated},
        scores);
  return scores;
}

Scores selected(const Trial& trial) {
  const ColumnTable train = table_of(trial.X, trial.y), fresh = table_of(trial.X_new, trial.y_new);
  Job job = selecting(train);
  job.choice.automatic_transform = true;  // as the program does
  const FittedModel model = make_model(job, run(job));
  const NewRows rows = encode(model.recipe, fresh);
  Scores scores;  // a choice that leaves nothing free is not averaged: of one fit or the mean, as it comes
  scores["as predicted"] = score(model, rows, trial.y_new, default_interval(model));
  scores["jackknife+"] = score(model, rows, trial.y_new, IntervalKind::jackknife_plus);
  return scores;
}

template <typename Get>
Mean mean_over(const std::vector<Scores>& scores, const std::string& kind, const Get& get) {
  std::vector<double> values;
  for (const Scores& each : scores) values.push_back(get(each.at(kind)));
  return mean_of(values);
}

Json report(const std::string& setting, const std::vector<Scores>& scores) {
  Json rows = Json::array();
  for (const auto& [kind, first] : scores.front()) {
    std::string line = fmt::format("  {:<18} {:<20} {:>5}", setting, kind, scores.size());
    Json row{{"data", setting}, {"interval", kind}, {"repetitions", scores.size()}};
    for (std::size_t i = 0; i < interval_levels.size(); ++i) {
      const Mean covered = mean_over(scores, kind, [i](const Score& s) { return s.covered[i]; });
      line += fmt::format("  {:5.1f} +- {:3.1f}", 100.0 * covered.mean, 100.0 * covered.standard_error);
      row["coverage"].push_back({{"level", interval_levels[i]},
                                 {"covered", covered.mean},
                                 {"standard_error", covered.standard_error}});
    }
    const Mean width = mean_over(scores, kind, [](const Score& s) { return s.width; });
    const Mean density = mean_over(scores, kind, [](const Score& s) { return s.log_density; });
    fmt::print("{}  {:7.3f}  {:8.4f} +- {:.4f}\n", line, width.mean, density.mean, density.standard_error);
    row["width"] = width.mean;
    row["log_density"] = {density.mean, density.standard_error};
    rows.push_back(row);
  }
  std::fflush(stdout);
  return rows;
}

void print_head(const std::string& title) {
  fmt::print("\nCoverage in % after {}\n  {:<18} {:<20} {:>5}  {:<12}  {:<12}  {:<12}  {:>7}  {}\n", title,
             "data", "interval", "runs", "50", "80", "95", "width", "log density");
}

}  // namespace

Json report_selected(const Effort& effort) {
  print_head("fit --select --transform none, simulated data");
  Json rows = Json::array();
  for (const Index n : {100, 200, 400})
    for (const TestFunction function :
         {TestFunction::friedman1, TestFunction::mixed, TestFunction::simple, TestFunction::nonlinear}) {
      std::vector<Scores> scores(static_cast<std::size_t>(effort.of(n == 100 ? 100 : n == 200 ? 40 : 10, 2)));
      for_each_repetition(static_cast<Index>(scores.size()),
                          [&](Index r) { scores[static_cast<std::size_t>(r)] = selected(function, n, r); });
      rows.push_back(report(fmt::format("{}, n {}", to_string(function), n), scores));
    }
  return rows;
}

Json report_real_selected(const Effort& effort) {
  print_head("fit --select, real data, standard splits");
  Json rows = Json::array();
  for (const RealCase& real : available_real_cases(effort.rows)) {
    const study::RealData data = study::load(real.study_case.folder);
    std::vector<Scores> scores(static_cast<std::size_t>(splits_of(effort, real.selected_splits)));
    const Index n = real_rows(data, real.study_case, 0).X.rows();
    for_each_repetition(static_cast<Index>(scores.size()), [&](Index split) {
      scores[static_cast<std::size_t>(split)] =
          selected(real_rows(data, real.study_case, static_cast<int>(split)));
    });
    rows.push_back(report(fmt::format("{}, n {}", real.study_case.name, n), scores));
  }
  return rows;
}

}  // namespace gradflow::calibration
