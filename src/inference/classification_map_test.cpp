#include "gradflow/inference/classification_map.h"

#include <cmath>

#include "gradflow/base/error.h"
#include "gradflow/base/random.h"
#include "support/reference.h"

namespace gradflow {
namespace {

// Scores are normal; labels are drawn from the map with these slopes and offsets.
struct PlantedMap {
  Matrix scores;
  Labels labels;
};

PlantedMap planted_map(Index rows, const Vector& slope, const Vector& offset, std::uint64_t seed) {
  RandomStream random(seed, "map");
  PlantedMap data{random.normals(rows, slope.size()), {}};
  const Matrix P = ProbabilityMap{.slope = slope, .offset = offset}.apply(data.scores);
  for (Index i = 0; i < rows; ++i) {
    double u = random.uniform();
    Index c = 0;
    while (c + 1 < slope.size() && u >= P(i, c)) u -= P(i, c++);
    data.labels.push_back(c);
  }
  return data;
}

TEST(ProbabilityMap, SoftmaxSumsToOneAndDoesNotOverflow) {
  Matrix logits(2, 3);
  logits << 1e300, 0.0, -1e300, 800.0, 800.0, 799.0;

  const Matrix P = softmax(logits);

  EXPECT_EQ(P(0, 0), 1.0);
  EXPECT_NEAR(P.row(1).sum(), 1.0, 1e-15);
  EXPECT_NEAR(P(1, 2) / P(1, 0), std::exp(-1.0), 1e-14);
}

// Standard errors at 4,000 rows are about 0.06 to 0.1 for the slopes; under a wide prior.
TEST(ProbabilityMap, PlantedSlopesAreFound) {
  const Vector slope = Eigen::Vector3d(1.0, 2.0, 3.0), offset = Eigen::Vector3d(0.5, 0.0, -0.5);
  const PlantedMap data = planted_map(4000, slope, offset, 1);

  const ProbabilityMap map = fit_probability_map(
      data.scores, data.labels,
      {.slope_mean = 0.0, .slope_sd = 30.0, .own_sd = 30.0, .base = {}, .offset_sd = 30.0});

  ASSERT_EQ(map.outcome, Outcome::converged) << map.reason;
  EXPECT_LT((map.slope - slope).cwiseAbs().maxCoeff(), 0.4);
  EXPECT_NEAR(map.offset(0) - map.offset(2), 1.0, 0.3);
}

// Every probability is near 1, so that the likelihood is a small difference of large sums if it is one at
// all.
TEST(ProbabilityMap, SeparatedClassesConverge) {
  for (std::uint64_t seed = 1; seed <= 50; ++seed) {
    RandomStream random(seed, "separated");
    const Index rows = 20;
    Matrix scores(rows, 2);
    Labels labels;
    for (Index i = 0; i < rows; ++i) {
      labels.push_back(i % 2);
      const double noise = 0.05 * random.uniform();
      scores.row(i) << (i % 2 == 0 ? 1.0 - noise : noise), (i % 2 == 0 ? noise : 1.0 - noise);
    }

    const ProbabilityMap map = fit_probability_map(scores, labels,
                                                   {.slope_mean = 8.0,
                                                    .slope_sd = 8.0,
                                                    .own_sd = 2.0,
                                                    .base = Vector::Constant(2, -5.0),
                                                    .offset_sd = 1.0});

    EXPECT_EQ(map.outcome, Outcome::converged) << "seed " << seed;
  }
}

// Of all slopes and offsets nearby none has a larger penalised likelihood.
TEST(ProbabilityMap, TheFitIsAMaximum) {
  const PlantedMap data = planted_map(200, Eigen::Vector3d(1.0, 2.0, 3.0), Eigen::Vector3d::Zero(), 2);
  const MapPrior prior{.slope_mean = 1.5, .slope_sd = 2.0, .own_sd = 0.5, .base = {}, .offset_sd = 0.7};
  const ProbabilityMap map = fit_probability_map(data.scores, data.labels, prior);
  const auto objective = [&](const ProbabilityMap& m) {
    const Matrix covariance = Matrix(0.25 * Matrix::Identity(3, 3)) + Matrix::Constant(3, 3, 4.0);
    const Vector away = m.slope.array() - 1.5;
    return 200.0 * log_loss(m.apply(data.scores), data.labels) +
           0.5 * away.dot(Vector(reference::solve(covariance, away))) + 0.5 * m.offset.squaredNorm() / 0.49;
  };

  const double best = objective(map);

  ASSERT_EQ(map.outcome, Outcome::converged);
  RandomStream random(3, "directions");
  for (int i = 0; i < 20; ++i) {
    ProbabilityMap near = map;
    near.slope += 1e-3 * random.normals(3);
    near.offset += 1e-3 * random.normals(3);
    EXPECT_GT(objective(near), best);
  }
}

TEST(ProbabilityMap, ScoresThatMisleadGetSlopeZeroAndTheFrequencies) {
  PlantedMap data = planted_map(600, Eigen::Vector2d(2.0, 2.0), Eigen::Vector2d(1.0, 0.0), 4);
  data.scores *= -1.0;

  const ProbabilityMap map =
      fit_probability_map(data.scores, data.labels,
                          {.slope_mean = 1.0, .slope_sd = 1.0, .own_sd = 0.2, .base = {}, .offset_sd = 30.0});

  EXPECT_EQ(map.outcome, Outcome::on_boundary);
  EXPECT_EQ(map.slope.norm(), 0.0);
  double share = 0.0;
  for (const Index label : data.labels) share += label == 0 ? 1.0 / 600.0 : 0.0;
  EXPECT_NEAR(map.apply(data.scores)(0, 0), share, 1e-3);
}

TEST(ProbabilityMap, BadInputIsNamed) {
  const Matrix scores = Matrix::Zero(2, 2);

  EXPECT_THROW(fit_probability_map(scores, {0}, {}), InputError);
  EXPECT_THROW(fit_probability_map(scores, {0, 2}, {}), InputError);
  EXPECT_THROW(fit_probability_map(scores, {0, 1}, {.slope_sd = 0.0}), InputError);
  EXPECT_THROW(fit_probability_map(Matrix::Constant(2, 2, NAN), {0, 1}, {}), InputError);
  EXPECT_THROW(
      (ProbabilityMap{.slope = Vector::Ones(2), .offset = Vector::Zero(2)}.apply(Matrix::Zero(1, 3))),
      InputError);
}

}  // namespace
}  // namespace gradflow
