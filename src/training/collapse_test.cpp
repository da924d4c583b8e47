#include "gradflow/training/collapse.h"

#include <gtest/gtest.h>

#include <cmath>

#include "gradflow/base/error.h"
#include "gradflow/base/linear_algebra.h"
#include "gradflow/base/random.h"
#include "support/reference.h"

namespace gradflow {
namespace {

Matrix rotation(Index p, std::uint64_t seed) {
  const Matrix A = RandomStream(seed, "rotation").normals(p, p);
  return symmetric_eigen(A + A.transpose()).vectors;
}

/// The corners of a simplex about the origin, at this distance from it, in the first K - 1 of the turned
/// directions, the columns: K x p.
Matrix simplex(Index K, double radius, const Matrix& turned) {
  const double k = static_cast<double>(K);
  const Matrix centred = Matrix::Identity(K, K).array() - 1.0 / k;  // rank K - 1
  const Matrix basis = reference::orthogonal_basis(centred.leftCols(K - 1)).leftCols(K - 1);
  return radius * std::sqrt(k / (k - 1.0)) * centred * basis * turned.leftCols(K - 1).transpose();
}

/// Rows about each mean: mean_c + and - spread q_d for every direction d, the columns of q; class c copies[c]
/// times.
struct Cloud {
  Matrix features;
  Labels labels;
};
Cloud cloud(const Matrix& means, const Matrix& q, double spread, const std::vector<int>& copies) {
  Cloud result;
  std::vector<Vector> rows;
  for (Index c = 0; c < means.rows(); ++c)
    for (int copy = 0; copy < copies[static_cast<std::size_t>(c)]; ++copy)
      for (Index d = 0; d < q.cols(); ++d)
        for (const double sign : {-1.0, 1.0}) {
          rows.emplace_back(means.row(c).transpose() + sign * spread * q.col(d));
          result.labels.push_back(c);
        }
  result.features.resize(static_cast<Index>(rows.size()), means.cols());
  for (std::size_t i = 0; i < rows.size(); ++i)
    result.features.row(static_cast<Index>(i)) = rows[i].transpose();
  return result;
}

TEST(Collapse, OfASimplexIsComplete) {
  for (const Index K : {2, 3, 7}) {
    const Matrix turned = rotation(9, 4), means = simplex(K, 2.5, turned);
    const Vector shift = RandomStream(2, "shift").normals(9);
    const Cloud rows = cloud(means, turned, 0.0, std::vector<int>(static_cast<std::size_t>(K), 1));
    const Matrix features = rows.features.rowwise() + shift.transpose();
    // Of any scale, and with a mean row of their own.
    const Matrix W = (0.3 * means).rowwise() + shift.transpose();

    const Collapse found = neural_collapse(features, rows.labels, W, rows.features * means.transpose());

    EXPECT_NEAR(found.spread, 0.0, 1e-25) << K;
    EXPECT_NEAR(found.norms, 0.0, 1e-14) << K;
    EXPECT_NEAR(found.angles, 0.0, 1e-14) << K;
    EXPECT_NEAR(found.duality, 0.0, 1e-14) << K;
    EXPECT_EQ(found.nearest, 0.0) << K;
  }
}

// S_W = a^2/p I, and S_B has K - 1 eigenvalues r^2 / (K - 1).
TEST(Collapse, SpreadIsTheClosedFormOfPlantedCovariancesWhateverTheSizesOfTheClasses) {
  constexpr Index K = 4, p = 6;
  constexpr double r = 3.0, a = 0.7;
  const Matrix turned = rotation(p, 5), means = simplex(K, r, turned);
  const double expected = a * a / p * (K - 1) * (K - 1) / (r * r) / K;

  for (const std::vector<int>& copies : {std::vector<int>{1, 1, 1, 1}, std::vector<int>{1, 5, 2, 1}}) {
    const Cloud rows = cloud(means, turned, a, copies);
    const Collapse found =
        neural_collapse(rows.features, rows.labels, means, rows.features * means.transpose());

    EXPECT_NEAR(found.spread, expected, 1e-13 * expected);
    EXPECT_NEAR(found.norms, 0.0, 1e-13);
    EXPECT_NEAR(found.angles, 0.0, 1e-13);
    EXPECT_NEAR(found.duality, 0.0, 1e-13);
  }
}

TEST(Collapse, NormsAndAnglesAreThoseOfPlantedMeans) {
  // Means on a line: centred -4/3, -1/3, 5/3.
  const Matrix means = Eigen::Vector3d(0.0, 1.0, 3.0);
  const Cloud rows = cloud(means, Matrix::Identity(1, 1), 0.1, {1, 1, 1});

  const Collapse found =
      neural_collapse(rows.features, rows.labels, means, rows.features * means.transpose());

  // Lengths 4/3, 1/3, 5/3; cosines 1, -1, -1, away from -1/2 by 3/2, 1/2, 1/2.
  EXPECT_NEAR(found.norms, std::sqrt((16.0 + 1.0 + 25.0) / 27.0 - 100.0 / 81.0) / (10.0 / 9.0), 1e-14);
  EXPECT_NEAR(found.angles, 2.5 / 3.0, 1e-14);
  EXPECT_NEAR(found.duality, 0.0, 1e-14);
}

TEST(Collapse, SpreadDoesNotChangeUnderALinearMapOfTheSpanOfTheMeans) {
  RandomStream random(8, "map");
  const Index K = 4, p = K - 1;
  const Matrix features = random.normals(200, p), W = random.normals(K, p);
  Labels labels;
  for (Index i = 0; i < 200; ++i) labels.push_back(i % 7 < K ? i % 7 : 0);
  const Matrix shifted = features + 2.0 * indicators(labels, K) * W;
  const Matrix A = random.normals(p, p);

  const Collapse before = neural_collapse(shifted, labels, W, shifted * W.transpose());
  const Collapse after = neural_collapse(shifted * A, labels, W, shifted * W.transpose());

  EXPECT_NEAR(before.spread, after.spread, 1e-9 * before.spread);
  EXPECT_GT(std::abs(before.norms - after.norms), 1e-3);
}

TEST(Collapse, IsTheSameOfRotatedScaledAndShiftedFeatures) {
  RandomStream random(9, "turn");
  const Index K = 5, p = 12;
  Labels labels;
  for (Index i = 0; i < 100; ++i) labels.push_back(i * i % K);  // 0, 1 and 4 only
  const Matrix W = random.normals(K, p), features = random.normals(100, p) + 3.0 * indicators(labels, K) * W;
  const Matrix turn = rotation(p, 10), scores = features * W.transpose();
  const Matrix moved = (0.01 * features * turn).array() + 5.0;

  const Collapse before = neural_collapse(features, labels, W, scores);
  const Collapse after = neural_collapse(moved, labels, 20.0 * W * turn, scores);

  EXPECT_NEAR(before.spread, after.spread, 1e-10 * before.spread);
  EXPECT_NEAR(before.norms, after.norms, 1e-10);
  EXPECT_NEAR(before.angles, after.angles, 1e-10);
  EXPECT_NEAR(before.duality, after.duality, 1e-10);
  EXPECT_EQ(before.nearest, after.nearest);
}

TEST(Collapse, NearestCountsTheRowsOfWhichTheNetworkSaysAnotherClass) {
  const Matrix features = (Vector(5) << -1.0, -1.2, 1.0, 1.1, 0.4).finished();
  const Labels labels{0, 0, 1, 1, 0};
  Matrix scores = Matrix::Zero(5, 2);
  scores.col(1) = features;  // class 1 where the feature is > 0
  scores(2, 0) = 3.0;        // but for one row

  const Collapse found = neural_collapse(features, labels, Matrix::Ones(2, 1), scores);

  // Means -0.6 and 1.05: the boundary is at 0.225. Only the third row's class is not the nearest mean's.
  EXPECT_EQ(found.nearest, 0.2);
  EXPECT_TRUE(std::isnan(found.duality));  // W's rows are equal
}

TEST(Collapse, IsNotDefinedWhereTheFeaturesAreOnePoint) {
  const Labels labels{0, 1, 0, 1};
  const Collapse constant =
      neural_collapse(Matrix::Constant(4, 3, 0.1), labels, Matrix::Identity(2, 3), Matrix::Identity(4, 2));
  const Collapse one_class = neural_collapse(Matrix::Identity(4, 3), Labels{1, 1, 1, 1},
                                             Matrix::Identity(2, 3), Matrix::Identity(4, 2));

  EXPECT_TRUE(std::isnan(constant.spread) && std::isnan(constant.norms) && std::isnan(constant.angles) &&
              std::isnan(constant.duality));
  EXPECT_TRUE(std::isnan(one_class.spread) && std::isnan(one_class.nearest));
}

TEST(Margins, AreTheScoreOfTheClassLessTheLargestOther) {
  Matrix scores(40, 3);
  Labels labels;
  for (Index i = 0; i < 40; ++i) {
    scores.row(i) << 1.0, 0.0, static_cast<double>(i);  // of class 2: i - 1
    labels.push_back(2);
  }

  const Margins found = margins(scores, labels), doubled = margins((2.0 * scores).array() + 7.0, labels);

  EXPECT_EQ(found.least, -1.0);
  EXPECT_EQ(found.low, 0.0);  // two of 40 are at most it
  EXPECT_EQ(found.median, 18.0);
  EXPECT_NEAR(doubled.median / doubled.scale, found.median / found.scale, 1e-12);
}

TEST(Indicators, SayTheirLabelsAndOtherMatricesNone) {
  const Labels labels{2, 0, 1, 1};
  Matrix Y = indicators(labels, 3);

  EXPECT_EQ(labels_of_indicators(Y), labels);
  Y(0, 2) = 0.5;
  EXPECT_TRUE(labels_of_indicators(Y).empty());
  EXPECT_TRUE(labels_of_indicators(Matrix::Ones(3, 1)).empty());
  EXPECT_THROW(indicators(labels, 2), InputError);
}

TEST(Collapse, NamesShapesThatDoNotFit) {
  const Matrix features = Matrix::Identity(3, 3), scores = Matrix::Identity(3, 2);

  EXPECT_THROW(neural_collapse(features, {0, 1}, Matrix::Ones(2, 3), scores), InputError);
  EXPECT_THROW(neural_collapse(features, {0, 1, 2}, Matrix::Ones(2, 3), scores), InputError);
  EXPECT_THROW(neural_collapse(features, {0, 1, 1}, Matrix::Ones(3, 3), scores), InputError);
  EXPECT_THROW(margins(Matrix::Ones(2, 1), {0, 0}), InputError);
}

}  // namespace
}  // namespace gradflow
