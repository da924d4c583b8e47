#pragma once

#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "gradflow/base/progress.h"
#include "gradflow/inference/left_out.h"
#include "gradflow/inference/mixture_calibration.h"
#include "gradflow/inference/response_transform.h"
#include "gradflow/model/job.h"

namespace gradflow {

/// Everything a prediction needs, as one value that can be saved and loaded.
///
///     mean(x) = f0(x) + x'beta + h_x'alpha,     sd(x) = sqrt(s2 var(x)) under `ridge` at tau
///
/// alpha, beta and s2 are in units of y.
struct FittedModel {
  static constexpr int format_version = 9;  ///< of the file; a program reads files up to its own

  std::string gradflow_version;  ///< that fitted the model
  Recipe recipe;                 ///< the encoding of the data
  OperatorKind operator_kind = OperatorKind::infinite;
  std::string operator_text;           ///< network or kernel text, or the matrix's file name
  std::optional<KernelSource> kernel;  ///< with the network's weights; empty for a user's matrix

  /// n x d, encoded training rows; n x 0 for a user's matrix, and for a linearised network of more than
  /// most_factored_rows rows.
  Matrix X;
  Matrix H;                              ///< n x n for a user's matrix; empty otherwise
  Matrix design;                         ///< n x q, fixed effects; with weights, rows times sqrt(w_i)
  std::vector<std::string> fixed_names;  ///< q
  bool intercept = true;                 ///< the first column of the design is one
  Vector alpha;                          ///< n
  Vector beta;                           ///< q
  Vector weights;                        ///< n, of the rows; empty: one each
  /// y - f0, n, in units of y: what intervals need; empty in files of earlier formats.
  Vector response;
  PureError pure;                 ///< of replicates that were merged into rows
  ResponseTransform transform{};  ///< "units of y" are those of the transformed response
  NoiseModel noise{};             ///< s2 then is that of a row of weight 1 at the mean of its columns
  /// J' alpha / n, in units of y: the change of the network's weights, where the fit was matrix-free. Its
  /// predictions are f0(x) + x'beta + J(x) of this, without the training rows.
  std::optional<Parameters> linearised;

  std::string rule;                                       ///< that chose the time
  Path path;                                              ///< stopped at the chosen time
  double tau = std::numeric_limits<double>::quiet_NaN();  ///< of `ridge`; NaN: no standard deviations
  double ridge_variance = std::numeric_limits<double>::quiet_NaN();  ///< s2 of `ridge`
  double log_time_sd = std::numeric_limits<double>::quiet_NaN();     ///< of log tau; NaN: not known
  double noise_variance = std::numeric_limits<double>::quiet_NaN();  ///< of the chosen rule's model
  double effective_dof = std::numeric_limits<double>::quiet_NaN();
  double log10_p_value = std::numeric_limits<double>::quiet_NaN();
  double steps = std::numeric_limits<double>::quiet_NaN();
  double learning_rate = std::numeric_limits<double>::quiet_NaN();
  double level = 0.95;             ///< of the intervals
  LeftOutErrors left_out;          ///< of the choice repeated without folds; not known where it was not
  ErrorCalibration calibration{};  ///< of leave-one-out errors; not known in files of earlier formats
  /// Fits of the same rows with parameters that were chosen without some of them (choice_average.h), which
  /// predictions are averaged with; without `others` and `run` of their own. They hold the same X, design and
  /// weights, which the file has once.
  std::vector<FittedModel> others;
  MixtureCalibration mixture_calibration{};  ///< of the mean of fits; not known without others
  std::uint64_t seed = 1;
  std::vector<std::string> warnings;  ///< of the fit
  /// The run that fitted the model, as json_report() writes it: what `gradflow report` shows. Empty: not
  /// kept.
  std::string run;

  Index rows() const noexcept { return alpha.size(); }  ///< n
  /// Most training rows of which predict() factors a matrix for standard deviations: 170 Gflop, and 1.5 GB
  /// for three copies.
  static constexpr Index most_factored_rows = 8000;

  /// One safetensors file: the arrays as float64 tensors, everything else as JSON under "gradflow_model".
  /// Appears whole or not at all.
  void save(const std::string& path_name) const;
  std::string bytes() const;  ///< of that file; parse() reads them

  /// Throws InputError, one sentence naming the file: no safetensors file, no gradflow model, written by a
  /// newer format, a tensor missing, of wrong shape or not finite.
  static FittedModel load(const std::string& path_name);
  static FittedModel parse(std::string_view bytes, const std::string& source);
};

/// The model of a finished job; with prepared.average the others are fitted here, an eigendecomposition each,
/// and one without a usable time is left out with a warning. Throws InputError when the chosen rule gave no
/// usable time, saying why.
FittedModel make_model(const Job& job, JobResult result);

/// What a user's matrix needs for new rows; both empty for a network or kernel.
struct GivenCross {
  Matrix H_cross;  ///< m x n, Theta(new, train)/n
  Vector H_self;   ///< m, Theta(new, new)/n diagonal; empty: no standard deviations
};

/// How the intervals of new responses are made.
///
///     calibrated      mean -+ q scale(x), scale(x) as in `model`, q the quantile of the distribution of
///                     leave-one-out errors over such scales (inference/error_calibration.h); standard
///                     deviations times their root mean square, densities of that distribution
///     model           mean -+ t_N scale(x), scale^2 = s2 + var(x) + (d mu/d log tau)^2 Var(log tau): the
///     model's,
///                     with the uncertainty of tau to first order and of s2 by Student's t
///                     (inference/predictive.h)
///     jackknife_plus  distribution-free, from leave-one-out fits of `ridge` (inference/conformal.h)
///     leave_one_out   prediction -+ the quantile of the studentised leave-one-out residuals
///     cross_validated mean -+ q scale(x), q the quantile of the left-out errors of the choice repeated
///                     without folds (inference/left_out.h), for models that have them; standard deviations
///                     with scale(x) times their root mean square, at least 1, densities of their
///                     distribution
///     none            neither intervals nor standard deviations: no factorisation
///
/// `calibrated`, `model`, jackknife_plus and leave_one_out take what was chosen (--select) as known. With a
/// noise model there are only `model` and `none`. `variance`: the row's own noise variance stands for the
/// first s2 of scale^2. `student`: the interval of N(mean, scale^2 - s2) + s t_nu, s2 taken as known.
enum class IntervalKind { calibrated, model, jackknife_plus, leave_one_out, cross_validated, none };
/// calibrated, model, jackknife+, leave-one-out, cross-validated, none
IntervalKind parse_interval(const std::string& text);
std::string_view to_string(IntervalKind kind);

/// cross_validated where the model has left-out errors, otherwise calibrated where its errors were, otherwise
/// model.
IntervalKind default_interval(const FittedModel& model);

struct PredictOptions {
  std::optional<IntervalKind> interval{};  ///< none: default_interval()
  Progress* progress = nullptr;
};

/// One entry for each row of the input; NaN where a row was not predicted. In units of the response, also
/// where the model transforms it: mean is then the expected response under the predictive distribution (its
/// median where that has no mean, and always under Student t noise), sd that of the mean function times the
/// slope of the transform there, and the ends of the interval are transformed back.
struct Predictions {
  std::vector<std::string> ids;
  Vector mean;          ///< of the flow (or chosen path) at the chosen time
  Vector sd;            ///< of the mean function, under `ridge`
  Vector lower, upper;  ///< of a new response
  /// log density of a new response y is that of the shape's mixture of t_dof at (z - location)/scale in z,
  /// the transformed response; NaN without intervals. dof infinite: normal. Under Student t noise dof is NaN,
  /// and the density that of N(location, scale^2 - s2) + s t_nu in z.
  Vector location, scale;
  double dof = std::numeric_limits<double>::quiet_NaN();
  ScaleMixture shape{};  ///< of the errors; one t_dof of scale 1 but for calibrated ones
  IntervalKind interval = IntervalKind::none;  ///< how they were made; none where the model has no sd
  double widening = 1.0;                       ///< that sd and scale have been multiplied by
  /// In the square of every scale beside s2: max(0, RSS/n - 4 s2), RSS what the trained function leaves at
  /// its rows. Above 0 where the data nearly interpolate and s2 is not identified, or the time is too early.
  double misfit = 0.0;
  /// Of a model with `others`: its own and theirs, of which these are the mean. location, scale, dof, shape
  /// and widening are then the model's own.
  std::vector<Predictions> members;
  MixtureCalibration mixture_calibration{};  ///< of the mixture of the members' distributions
  std::vector<std::string> statements;       ///< what may be claimed of the intervals, complete sentences
  std::vector<std::string> warnings;         ///< complete sentences
};

/// A model with `others` predicts the mean of K fits. sd^2 = mean sd_k^2 + the variance of the means; the
/// interval is between quantiles of the mixture of their K distributions, which is also the density, both by
/// mixture_calibration where it is known (sd then times its factor) and not for `model`; the ends of
/// cross_validated ones are the means of those of the fits. jackknife_plus and leave_one_out are of the
/// model's own fit, mean and all, as what they claim is of one fit.
///
/// Cost: the operator of at most most_factored_rows training rows is built again and factored (n^3/3) for
/// standard deviations and intervals, of each fit that is averaged. Of more rows a seeded sample is taken:
/// the function's variance given some rows is never below that given all, so the intervals are too wide
/// rather than too narrow (a warning says so; distribution-free intervals are refused). NaN for a linearised
/// network of so many rows. New rows are taken in blocks, so that no matrix of new by training rows exceeds
/// about 200 MB. A linearised network predicts by one forward sweep. Throws InputError for intervals that the
/// model cannot give.
Predictions predict(const FittedModel& model, const NewRows& rows, const GivenCross& given = {},
                    const PredictOptions& options = {});

/// Log density of observed responses (units of the response) under the predictions; NaN where not predicted,
/// minus infinity where the model's transform has no such response (box_cox: y <= 0).
Vector log_densities(const FittedModel& model, const Predictions& predictions, const Vector& y);

}  // namespace gradflow
