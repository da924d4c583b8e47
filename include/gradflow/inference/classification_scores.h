#pragma once

#include <cstdint>
#include <vector>

#include "gradflow/base/types.h"
#include "gradflow/inference/outcome.h"

namespace gradflow {

/// How good class probabilities are: P is m x K with rows that sum to one, `labels` m of 0, ..., K - 1.
/// All throw InputError for sizes that differ, labels out of range, and no rows.
using Labels = std::vector<Index>;

/// -mean_i log max(P(i, y_i), floor), nats. A floor above 0 keeps one impossible event from deciding.
double log_loss(ConstBlock P, const Labels& labels, double floor = 0.0);
/// mean_i sum_c (P(i, c) - [y_i = c])^2, between 0 and 2 (for two classes twice the one-column score).
double brier_score(ConstBlock P, const Labels& labels);
/// Share of rows whose most probable class (the first of equals) is theirs.
double accuracy(ConstBlock P, const Labels& labels);
/// The most probable class of each row, the first of equals.
Labels most_probable(ConstBlock P);

/// One bin of a reliability diagram: of `count` predictions of mean probability `predicted`, the share
/// `observed` came true. The interval is Clopper and Pearson's for that share.
struct ReliabilityBin {
  double predicted = 0.0;
  double observed = 0.0;
  Index count = 0;
  Interval interval{0.0, 1.0, 0.95};
};

/// Predictions in ascending order of probability, in bins of equal counts (to one; never more bins than
/// rows). Equal probabilities are taken in the order of the rows.
struct Reliability {
  std::vector<ReliabilityBin> bins;
  /// Expected calibration error sum_b count_b / m |observed_b - predicted_b|.
  double calibration_error = 0.0;
};

/// Of the most probable class of each row.
Reliability reliability(ConstBlock P, const Labels& labels, Index bins = 15, double level = 0.95);
/// Of one class: P(., which) against [y = which].
Reliability reliability_of_class(ConstBlock P, const Labels& labels, Index which, Index bins = 15,
                                 double level = 0.95);
double expected_calibration_error(ConstBlock P, const Labels& labels, Index bins = 15);

/// What the expected calibration error would be were P exactly right: labels drawn from P, `draws` times.
struct CalibrationNull {
  double mean = 0.0;
  double quantile = 0.0;        ///< at `level`
  double standard_error = 0.0;  ///< of the mean
  double level = 0.95;
};

/// `rows` names what each row of P is about: rows with the same number are predictions of the same response
/// (folds that overlap) and get labels from the same uniform number. Empty: all different. Cost draws m (K +
/// log m).
CalibrationNull calibration_error_if_calibrated(ConstBlock P, Index bins = 15, double level = 0.95,
                                                Index draws = 1000, std::uint64_t seed = 1,
                                                const std::vector<Index>& rows = {});

}  // namespace gradflow
