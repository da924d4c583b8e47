#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "gradflow/base/random.h"
#include "gradflow/model/fitted_model.h"

namespace gradflow {
namespace {

TEST(LogDensities, OfAResponseThatTheTransformCannotTakeAreMinusInfinity) {
  RandomStream random(1, "box-cox");
  const Matrix X = random.normals(30, 1);
  const Vector y = (X.col(0) + 0.3 * random.normals(30)).array().exp();
  ColumnTable table;
  table.add(X.data(), 30, 1, 1, 30);
  table.columns.push_back({.name = "y", .numbers = y.data()});
  Job job;
  job.source.columns = &table;
  job.dataset.target = std::string("y");
  job.choice.transform = TransformKind::box_cox;
  job.choice.lambda = 0.0;
  const FittedModel model = make_model(job, run(job));
  const Predictions predicted = predict(model, encode(model.recipe, table));
  Vector observed = y;
  observed(0) = -1.0;
  observed(1) = std::nan("");

  const Vector density = log_densities(model, predicted, observed);

  EXPECT_EQ(density(0), -std::numeric_limits<double>::infinity());
  EXPECT_TRUE(std::isnan(density(1)));
  EXPECT_TRUE(density.tail(28).allFinite());
}

}  // namespace
}  // namespace gradflow
