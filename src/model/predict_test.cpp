#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "gradflow/base/random.h"
#include "gradflow/model/fitted_model.h"

namespace gradflow {
namespace {

// A response with a skewed distribution.
struct SkewedSample {
  Matrix X;
  Vector y;
  ColumnTable table;

  SkewedSample() {
    RandomStream random(1, "box-cox");
    X = random.normals(30, 1);
    y = (X.col(0) + 0.3 * random.normals(30)).array().exp();
    table.add(X.data(), 30, 1, 1, 30);
    table.columns.push_back({.name = "y", .numbers = y.data()});
  }
  SkewedSample(const SkewedSample&) = delete;
  SkewedSample& operator=(const SkewedSample&) = delete;

  FittedModel model(double lambda) const {
    Job job;
    job.source.columns = &table;
    job.dataset.target = std::string("y");
    job.choice.transform = TransformKind::box_cox;
    job.choice.lambda = lambda;
    return make_model(job, run(job));
  }
};

TEST(LogDensities, OfAResponseThatTheTransformCannotTakeAreMinusInfinity) {
  const SkewedSample sample;
  const FittedModel model = sample.model(0.0);
  const Predictions predicted = predict(model, encode(model.recipe, sample.table));
  Vector observed = sample.y;
  observed(0) = -1.0;
  observed(1) = std::nan("");

  const Vector density = log_densities(model, predicted, observed);

  EXPECT_EQ(density(0), -std::numeric_limits<double>::infinity());
  EXPECT_TRUE(std::isnan(density(1)));
  EXPECT_TRUE(density.tail(28).allFinite());
}

// Two rows of 4,573 whose features were far from all others had been given 261 for responses of up to 21, and
// a response of 0 an infinite density.
TEST(Predictions, FarFromTheDataAreNotCarriedAwayByTheTransformsPower) {
  const SkewedSample sample;
  const Matrix far{{30.0}, {300.0}};
  ColumnTable fresh;
  fresh.add(far.data(), 2, 1, 1, 2);
  for (const double lambda : {-0.5, -0.1, 0.0, 0.3}) {
    const FittedModel model = sample.model(lambda);
    const ResponseTransform& g = model.transform;
    ASSERT_LT(sample.y.maxCoeff(), g.beyond);
    const Predictions predicted = predict(model, encode(model.recipe, fresh));
    const double slope = std::exp(-g.log_derivative(g.beyond));
    for (Index i = 0; i < 2; ++i) {
      const double reach = predicted.location(i) + 6.0 * predicted.scale(i) - g.forward(g.beyond);

      EXPECT_LT(predicted.mean(i), g.beyond + slope * reach) << lambda;
      EXPECT_LT(predicted.upper(i), g.beyond + slope * reach) << lambda;
      EXPECT_LT(predicted.lower(i), predicted.mean(i)) << lambda;
    }
    EXPECT_TRUE(log_densities(model, predicted, Vector{{1e6, 0.5}}).allFinite()) << lambda;
  }
  const FittedModel model = sample.model(0.3);
  const Predictions predicted = predict(model, encode(model.recipe, fresh));
  EXPECT_TRUE(log_densities(model, predicted, Vector::Zero(2)).allFinite());
}

TEST(Predictions, OfATransformedResponseAreTheSameFromItsFile) {
  const SkewedSample sample;
  const FittedModel model = sample.model(0.3), read = FittedModel::parse(model.bytes(), "model");
  const NewRows rows = encode(model.recipe, sample.table);

  EXPECT_EQ(read.transform.below, model.transform.below);
  EXPECT_EQ(read.transform.beyond, model.transform.beyond);
  EXPECT_EQ(predict(read, rows).mean, predict(model, rows).mean);
}

}  // namespace
}  // namespace gradflow
