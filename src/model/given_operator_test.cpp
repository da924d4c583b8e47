#include <gtest/gtest.h>

#include "gradflow/base/error.h"
#include "gradflow/base/random.h"
#include "gradflow/model/job.h"
#include "gradflow/operators/dense_operator.h"

namespace gradflow {
namespace {

constexpr Index row_count = 60;

Matrix positive_matrix() {
  const Matrix factor = RandomStream(3, "given operator").normals(row_count, row_count);
  return factor * factor.transpose() / static_cast<double>(row_count * row_count);
}

/// Of which only products are known.
class Products final : public TrainingOperator {
 public:
  explicit Products(Matrix H) : H_(std::move(H)) {}
  Index size() const noexcept override { return H_.rows(); }
  std::string description() const override { return "products"; }

 private:
  void do_apply(ConstBlock X, Block Y) const override { Y.noalias() = H_ * X; }
  Vector do_diagonal() const override { return H_.diagonal(); }
  Matrix H_;
};

Observations observations() {
  Observations data;
  data.y = RandomStream(4, "given operator").normals(row_count, 1);
  data.f0 = Vector::Zero(row_count);
  data.covariates.resize(row_count, 0);
  return data;
}

Job matrix_job() {
  Job job;
  job.operator_spec.kind = OperatorKind::matrix;
  return job;
}

TEST(GivenOperator, IsAnalysedAsItIs) {
  const Matrix H = positive_matrix();
  const Job job = matrix_job();

  const JobResult result = run_prepared(
      job, prepare(job, std::make_unique<DenseOperator>(H), observations(), Question::every_rule));
  const Analysis direct = analyse(DenseOperator(H), observations());

  EXPECT_EQ(result.prepared.plan.engine, Engine::dense);
  EXPECT_EQ(result.analysis.test.p_value, direct.test.p_value);
  EXPECT_EQ(result.analysis.rule().time, direct.rule().time);
}

TEST(GivenOperator, NothingIsKeptOfOneThatIsKnownByItsProducts) {
  Job job = matrix_job();
  job.operator_spec.products_only = true;
  job.compute.engine = EngineChoice::krylov;

  PreparedJob prepared =
      prepare(job, std::make_unique<Products>(positive_matrix()), observations(), Question::test);
  EXPECT_EQ(prepared.plan.form, Plan::Form::products);
  const auto [after, test] = run_prepared_test(job, std::move(prepared));

  const ScoreTest dense = analyse_test(DenseOperator(positive_matrix()), observations());
  EXPECT_NEAR(test.log10_p_value, dense.log10_p_value, 0.01);  // the engine's own promise
}

TEST(GivenOperator, AResponseOfAnotherSizeIsRefused) {
  const Job job = matrix_job();
  Observations data = observations();
  data.y.resize(row_count - 1);

  EXPECT_THROW(
      prepare(job, std::make_unique<DenseOperator>(positive_matrix()), std::move(data), Question::test),
      InputError);
}

}  // namespace
}  // namespace gradflow
