#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "gradflow/inference/conformal.h"
#include "gradflow/inference/error_calibration.h"
#include "gradflow/inference/posterior.h"
#include "gradflow/inference/predictive.h"
#include "gradflow/model/fitted_model.h"

namespace gradflow {

/// Throws InputError where the model's choice was not made again without folds.
void require_left_out(const FittedModel& model);

/// What the errors were, and what intervals of `level` follow from them: complete sentences.
std::vector<std::string> left_out_statements(const LeftOutErrors& errors, double level);

/// What a fitted model knows of the errors of its predictions: one factorisation, then blocks of new rows.
/// Everything in units of the transformed response.
class Uncertainty {
 public:
  /// Builds the operator of the training rows (of a seeded sample of them beyond
  /// FittedModel::most_factored_rows) and factors it. The model outlives this. Throws InputError where
  /// distribution-free intervals cannot be given, saying why.
  Uncertainty(const FittedModel& model, IntervalKind interval, double level);

  struct Answer {
    Vector sd;            ///< of the mean function
    Vector scale;         ///< of Student's t around the mean
    Vector lower, upper;  ///< of a new response
  };
  /// H_cross, H_self and design as in NewPoints for the model's H; `mean` and the network's output there.
  /// `noise`: the new rows' noise variances over s2.
  Answer at(Matrix H_cross, Vector H_self, const Matrix& design, const Vector& mean, const Vector& f0,
            const Vector& noise);

  double dof() const noexcept { return dof_; }
  double widening() const noexcept { return widening_; }         ///< of sd and scale in every answer
  const ScaleMixture& shape() const noexcept { return shape_; }  ///< of errors over scale
  double misfit() const noexcept { return misfit_; }             ///< see Predictions
  bool sampled() const noexcept { return !rows_.empty(); }
  const std::vector<std::string>& statements() const noexcept { return statements_; }

 private:
  void take_left_out();
  void take_calibration();
  void allow_for_misfit(const DenseOperator& H, const Vector& response);
  void measured_ends(const Vector& mean, Answer& answer) const;
  void model_ends(const Vector& mean, Answer& answer) const;
  void conformal_ends(const NewPoints& points, const Vector& f0, Answer& answer);

  const FittedModel& model_;
  IntervalKind interval_;
  double level_;
  std::vector<Index> rows_;  // the sample; empty: all
  Vector scale_;             // sqrt of the weights; empty: ones
  double factor_;            // n / W
  double dof_;
  // Of measured errors, calibrated or cross-validated: factors of sd and of the interval's half width.
  double widening_ = 1.0, quantile_ = 0.0;
  ScaleMixture shape_;
  double misfit_ = 0.0;  // beside s2 in the variance of a new response
  std::optional<RidgePredictive> predictive_;
  std::optional<PosteriorVariance> variance_;
  std::optional<ConformalRidge> conformal_;
  std::vector<std::string> statements_;
};

}  // namespace gradflow
