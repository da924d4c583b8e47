#include "gradflow/inference/classification_scores.h"

#include <cmath>

#include "gradflow/base/error.h"
#include "gradflow/base/random.h"

namespace gradflow {
namespace {

// Rows drawn uniformly from the simplex of three classes and labels drawn from them.
struct Calibrated {
  Matrix P;
  Labels labels;
};

Calibrated calibrated(Index rows, std::uint64_t seed) {
  RandomStream random(seed, "test");
  Calibrated result{Matrix(rows, 3), {}};
  for (Index i = 0; i < rows; ++i) {
    for (Index c = 0; c < 3; ++c) result.P(i, c) = -std::log(1.0 - random.uniform());
    result.P.row(i) /= result.P.row(i).sum();
    const double u = random.uniform();
    result.labels.push_back(u < result.P(i, 0) ? 0 : u < result.P(i, 0) + result.P(i, 1) ? 1 : 2);
  }
  return result;
}

TEST(ClassificationScores, EqualTheirDefinitionsOnTwoRows) {
  Matrix P(2, 3);
  P << 0.5, 0.3, 0.2, 0.1, 0.2, 0.7;
  const Labels labels{0, 1};

  EXPECT_DOUBLE_EQ(log_loss(P, labels), -0.5 * (std::log(0.5) + std::log(0.2)));
  EXPECT_NEAR(brier_score(P, labels), 0.5 * (0.25 + 0.09 + 0.04 + 0.01 + 0.64 + 0.49), 1e-15);
  EXPECT_DOUBLE_EQ(accuracy(P, labels), 0.5);
  EXPECT_NEAR(expected_calibration_error(P, labels, 2), 0.5 * (0.5 + 0.7), 1e-15);
  EXPECT_NEAR(expected_calibration_error(P, labels, 1), std::abs(0.5 - 0.6), 1e-15);
}

TEST(ClassificationScores, AFloorBoundsTheLossOfAnImpossibleEvent) {
  Matrix P(1, 2);
  P << 1.0, 0.0;

  EXPECT_EQ(log_loss(P, {1}), std::numeric_limits<double>::infinity());
  EXPECT_DOUBLE_EQ(log_loss(P, {1}, 0.01), -std::log(0.01));
}

TEST(ClassificationScores, TheBinsHoldEveryRowOnceAndAscend) {
  const Calibrated data = calibrated(100, 1);

  const Reliability diagram = reliability(data.P, data.labels, 15);

  Index count = 0;
  double last = 0.0;
  for (const ReliabilityBin& bin : diagram.bins) {
    count += bin.count;
    EXPECT_TRUE(bin.count == 6 || bin.count == 7);
    EXPECT_GE(bin.predicted, last);
    EXPECT_LE(bin.interval.lower, bin.observed);
    EXPECT_GE(bin.interval.upper, bin.observed);
    last = bin.predicted;
  }
  EXPECT_EQ(count, 100);
}

// Clopper and Pearson (1934): of 10 trials without success the upper end is 1 - 0.025^(1/10).
TEST(ClassificationScores, TheIntervalOfABinIsClopperAndPearsons) {
  const Reliability diagram = reliability_of_class(Matrix::Constant(10, 2, 0.5), Labels(10, 0), 1, 1);

  EXPECT_EQ(diagram.bins.front().interval.lower, 0.0);
  EXPECT_NEAR(diagram.bins.front().interval.upper, 1.0 - std::pow(0.025, 0.1), 1e-12);
}

// 40 sets of labels drawn from P itself: the number above a 90 % quantile is binomial(40, 0.1), at most 11
// but for 0.1 %.
TEST(ClassificationScores, CalibratedProbabilitiesExceedTheNullQuantileAsOftenAsItSays) {
  int above = 0;
  for (std::uint64_t seed = 1; seed <= 40; ++seed) {
    const Calibrated data = calibrated(300, seed);
    const CalibrationNull null = calibration_error_if_calibrated(data.P, 15, 0.9, 200, 1000 + seed);
    above += expected_calibration_error(data.P, data.labels) > null.quantile;
  }

  EXPECT_LE(above, 11);
  EXPECT_GE(above, 1);  // none at all: 1.5 %
}

TEST(ClassificationScores, OverconfidentProbabilitiesAreFoundOut) {
  Calibrated data = calibrated(500, 7);
  data.P = data.P.array().pow(3.0);
  const Vector sum = data.P.rowwise().sum();
  data.P = data.P.array().colwise() / sum.array();

  const CalibrationNull null = calibration_error_if_calibrated(data.P, 15, 0.95, 200);

  EXPECT_GT(expected_calibration_error(data.P, data.labels), 2.0 * null.quantile);
}

// The same response predicted twice is one observation: the error is that of half as many rows.
TEST(ClassificationScores, RowsOfTheSameNameShareTheirLabelUnderTheNull) {
  const Calibrated data = calibrated(150, 3);
  Matrix twice(300, 3);
  twice << data.P, data.P;
  std::vector<Index> rows;
  for (Index i = 0; i < 300; ++i) rows.push_back(i % 150);

  const CalibrationNull one = calibration_error_if_calibrated(data.P, 15, 0.95, 300);
  const CalibrationNull shared = calibration_error_if_calibrated(twice, 15, 0.95, 300, 1, rows);
  const CalibrationNull apart = calibration_error_if_calibrated(twice, 15, 0.95, 300);

  EXPECT_NEAR(shared.mean, one.mean, 4.0 * (shared.standard_error + one.standard_error));
  EXPECT_NEAR(apart.mean, one.mean / std::sqrt(2.0), 0.1 * one.mean);
}

TEST(ClassificationScores, BadInputIsNamed) {
  const Matrix P = Matrix::Constant(2, 2, 0.5);

  EXPECT_THROW(log_loss(P, {0}), InputError);
  EXPECT_THROW(log_loss(P, {0, 2}), InputError);
  EXPECT_THROW(brier_score(Matrix(0, 2), {}), InputError);
  EXPECT_THROW(reliability(P, {0, 1}, 0), InputError);
  EXPECT_THROW(reliability_of_class(P, {0, 1}, 2), InputError);
  EXPECT_THROW(calibration_error_if_calibrated(P, 15, 0.95, 1), InputError);
}

}  // namespace
}  // namespace gradflow
