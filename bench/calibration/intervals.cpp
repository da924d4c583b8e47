#include "intervals.h"

#include <boost/math/distributions/normal.hpp>
#include <cmath>
#include <cstdio>

#include "gradflow/inference/conformal.h"
#include "gradflow/inference/error_calibration.h"
#include "gradflow/inference/selection.h"
#include "gradflow/operators/kernel_family.h"

namespace gradflow::calibration {
namespace {

double normal_quantile(double level) {
  return boost::math::quantile(boost::math::normal(), 0.5 * (1.0 + level));
}

double share(const Eigen::Array<bool, Eigen::Dynamic, 1>& inside) {
  return static_cast<double>(inside.count()) / static_cast<double>(inside.size());
}

IntervalScore score_conformal(const ConformalRidge& conformal, const NewPoints& points, const Vector& y,
                              ConformalMethod method, bool studentised) {
  IntervalScore out;
  for (std::size_t i = 0; i < interval_levels.size(); ++i) {
    const ConformalIntervals intervals =
        conformal.at(points, {}, {.level = interval_levels[i], .method = method, .studentised = studentised});
    out.covered[i] = inside(intervals.lower, intervals.upper, y);
    out.width = (intervals.upper - intervals.lower).mean();
  }
  return out;
}

}  // namespace

double inside(const Vector& lower, const Vector& upper, const Vector& y) {
  return share(y.array() >= lower.array() && y.array() <= upper.array());
}

// Central intervals: inside at level L where |F(y) - 1/2| <= L/2. Widths from the first 25 rows.
IntervalScore score(const StudentMixtures& mixtures, const Vector& y, double widened) {
  IntervalScore out;
  const Vector mean = mixtures.mean();
  const Eigen::ArrayXd off = (mixtures.cdf(mean + (y - mean) / widened).array() - 0.5).abs();
  for (std::size_t i = 0; i < interval_levels.size(); ++i)
    out.covered[i] = share(off <= 0.5 * interval_levels[i]);
  const Index some = std::min<Index>(25, y.size());
  const StudentMixtures first{mixtures.weights, mixtures.locations.topRows(some),
                              mixtures.scales.topRows(some), mixtures.dof};
  const double tail = 0.5 * (1.0 - interval_levels.back());
  out.width = widened * (first.quantile(1.0 - tail) - first.quantile(tail)).mean();
  out.log_density = mixtures.log_density(mean + (y - mean) / widened).mean() - std::log(widened);
  return out;
}

IntervalScore score(const Normals& normals, const Vector& y) {
  IntervalScore out;
  const Eigen::ArrayXd off = (y - normals.mean).array().abs() / normals.sd.array();
  for (std::size_t i = 0; i < interval_levels.size(); ++i)
    out.covered[i] = share(off <= normal_quantile(interval_levels[i]));
  out.width = 2.0 * normal_quantile(interval_levels.back()) * normals.sd.mean();
  out.log_density = -(0.5 * off.square() + normals.sd.array().log()).mean() - 0.5 * std::log(2.0 * M_PI);
  return out;
}

RidgeModel::RidgeModel(const KernelSum& kernel, const Matrix& X, const Vector& y)
    : kernel_(kernel),
      X_(X),
      y_(y),
      H_(Matrix(kernel_gram(kernel, X) / static_cast<double>(X.rows()))),
      fixed_(FixedEffects::intercept(X.rows())),
      spectrum_(project(H_, fixed_)),
      fit_(fit_reml({spectrum_.values, spectrum_.coordinates(y).col(0)}, {.kind = PathKind::ridge})) {}

NewPoints RidgeModel::points(const Matrix& X_new) const {
  const auto n = static_cast<double>(X_.rows());
  return {kernel_cross(kernel_, X_new, X_) / n, kernel_diagonal(kernel_, X_new) / n,
          Matrix::Ones(X_new.rows(), 1)};
}

Normals RidgeModel::plug_in(const Matrix& X_new) const {
  const NewPoints at = points(X_new);
  const DualFit dual = dual_fit(H_, fixed_, spectrum_, y_, fit_.path);
  const Vector variance = PosteriorVariance::from_spectrum(H_, fixed_, spectrum_, fit_.path).at(at);
  return {(at.H_cross * dual.alpha).array() + dual.beta(0),
          (fit_.noise_variance * (1.0 + variance.array())).sqrt()};
}

StudentMixtures RidgeModel::integrated(const Matrix& X_new) const {
  return RidgePredictive::integrated(H_, fixed_, spectrum_, y_).at(points(X_new));
}

StudentMixtures RidgeModel::calibrated(const NewPoints& at) const {
  const SpectralData data{spectrum_.values, spectrum_.coordinates(y_).col(0)};
  const double known = log_time_standard_deviation(data, fit_.path);
  const double log_time_sd = std::isfinite(known) ? known : 0.0;
  const ErrorCalibration calibration =
      calibrate(standardised_errors(spectrum_, data, fit_, log_time_sd, fit_.path));
  const StudentMixtures model = RidgePredictive::delta(H_, fixed_, y_, fit_.path.time, log_time_sd).at(at);
  const Vector& members = calibration.shape.scales;
  return {calibration.shape.weights, model.locations.replicate(1, members.size()),
          calibration.factor * model.scales * members.transpose(), model.dof};
}

IntervalScores RidgeModel::score(const Matrix& X_new, const Vector& y_new) const {
  IntervalScores scores;
  scores["integrated"] = calibration::score(integrated(X_new), y_new);
  Normals normals = plug_in(X_new);
  scores["plug-in"] = calibration::score(normals, y_new);
  const NewPoints at = points(X_new);
  scores["calibrated"] = calibration::score(calibrated(at), y_new);
  const ConformalRidge conformal = ConformalRidge::from_spectrum(H_, fixed_, spectrum_, y_, fit_.path.time);
  normals.sd *= std::sqrt(
      (conformal.residuals().array().square() / (fit_.noise_variance * conformal.variances().array()))
          .mean());
  scores["plug-in x leave-one-out scale"] = calibration::score(normals, y_new);
  for (const bool studentised : {false, true}) {
    const std::string end = studentised ? ", studentised" : "";
    scores["jackknife+" + end] =
        score_conformal(conformal, at, y_new, ConformalMethod::jackknife_plus, studentised);
    scores["leave-one-out" + end] =
        score_conformal(conformal, at, y_new, ConformalMethod::leave_one_out, studentised);
  }
  return scores;
}

KernelSum chosen_kernel(const Trial& trial) {
  const auto family = std::make_shared<KernelFamily>(parse_kernel_sum("ntk:erf:2"), trial.X);
  const Selection selection = select({Candidate{.name = "ntk:erf:2", .family = family}}, {.y = trial.y},
                                     FixedEffects::intercept(trial.X.rows()));
  const CandidateFit& fit = selection.candidates.front();
  return family->sum_at(selection.best == 0 ? fit.parameters : family->start());
}

std::vector<CoverageRow> summarise(const std::string& setting, const std::string& kernel,
                                   const std::vector<IntervalScores>& scores) {
  const auto mean_width = [&](const std::string& method) {
    double sum = 0.0;
    for (const auto& of_methods : scores) sum += of_methods.at(method).width;
    return sum;
  };
  std::vector<CoverageRow> rows;
  for (const auto& [method, first] : scores.front()) {
    CoverageRow row{setting, kernel, method};
    row.repetitions = static_cast<Index>(scores.size());
    row.width = mean_width(method) / mean_width("plug-in");
    std::vector<double> log_density;
    for (const auto& of_methods : scores) log_density.push_back(of_methods.at(method).log_density);
    row.log_density = mean_of(log_density);
    for (std::size_t i = 0; i < interval_levels.size(); ++i) {
      std::vector<double> covered;
      for (const auto& of_methods : scores) covered.push_back(of_methods.at(method).covered[i]);
      row.covered[i] = mean_of(covered);
    }
    rows.push_back(row);
  }
  return rows;
}

CoverageTable::CoverageTable(const std::string& title, double margin) : margin_(margin) {
  out_ = {{"title", title}, {"margin", margin}};
  fmt::print("\n{}\n  {:<18} {:<18} {:<30} {:>5}  {:<17} {:<17} {:<16} {:<5} {}\n", title, "data", "kernel",
             "interval", "runs", "50", "80", "95", "width", "log density");
}

void CoverageTable::add(const std::vector<CoverageRow>& rows) {
  for (const CoverageRow& row : rows) {
    std::string line =
        fmt::format("  {:<18} {:<18} {:<30} {:>5} ", row.setting, row.kernel, row.method, row.repetitions);
    Json entry{{"data", row.setting},
               {"kernel", row.kernel},
               {"interval", row.method},
               {"repetitions", row.repetitions},
               {"width", row.width}};
    const bool dense = std::isfinite(row.log_density.mean);
    if (dense) entry["log_density"] = row.log_density.mean;
    for (std::size_t i = 0; i < interval_levels.size(); ++i) {
      const Mean& covered = row.covered[i];
      const double off = covered.mean - interval_levels[i];
      const std::string word = off < -margin_ ? "low" : off > margin_ ? "high" : "";
      line += fmt::format(" {:5.1f} +- {:3.1f} {:<4} ", 100.0 * covered.mean, 100.0 * covered.standard_error,
                          word);
      entry["coverage"].push_back({{"level", interval_levels[i]},
                                   {"covered", covered.mean},
                                   {"standard_error", covered.standard_error},
                                   {"verdict", word}});
      ++cells_;
      if (!word.empty())
        missed_.push_back(fmt::format("{}, {}, {}: {:.1f} for {:.0f} ({})", row.setting, row.kernel,
                                      row.method, 100.0 * covered.mean, 100.0 * interval_levels[i], word));
    }
    fmt::print("{} {:.2f}{}\n", line, row.width, dense ? fmt::format("  {:.3f}", row.log_density.mean) : "");
    out_["rows"].push_back(entry);
  }
  std::fflush(stdout);
}

Json CoverageTable::finish() {
  fmt::print("  {} of {} cells off by more than {:.0f} points\n", missed_.size(), cells_, 100.0 * margin_);
  out_["missed"] = missed_;
  return out_;
}

}  // namespace gradflow::calibration
