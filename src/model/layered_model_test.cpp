// Networks and kernels of layers behind KernelSource, in model files and in plans.
#include <gtest/gtest.h>

#include <filesystem>

#include "gradflow/base/error.h"
#include "gradflow/base/random.h"
#include "gradflow/model/fitted_model.h"
#include "gradflow/model/plan.h"

namespace gradflow {
namespace {

OperatorSpec layered_spec(const std::string& text) {
  OperatorSpec spec;
  spec.kind = OperatorKind::finite;
  spec.layered = parse_layered_architecture(text);
  return spec;
}

OperatorSpec layered_kernel_spec(const std::string& text) {
  OperatorSpec spec;
  spec.layered_kernel = parse_layered_kernel(text);
  return spec;
}

const char* const convolution = "input:2x3x4 conv2d:4:3 relu res(conv2d:4:3) avgpool dense:1,ntk,sw2=1.5";

std::vector<OperatorSpec> specs() {
  return {layered_spec(convolution), layered_spec("dense:8 tanh layernorm dense:1"),
          layered_kernel_spec("ntk(input:2x3x4 conv2d:4:3 relu flatten dense:1,sb2=0.3)"),
          layered_kernel_spec("nngp(dense:8 layernorm erf dense:1,no-bias)")};
}

TEST(LayeredKernelSource, TrainingAndCrossKernelsAgree) {
  const Matrix X = RandomStream(1, "test").normals(12, 24);
  for (const OperatorSpec& spec : specs()) {
    const KernelSource source = KernelSource::make(spec, 24);
    const Matrix H = source.training(X)->matrix();
    const CrossKernel cross = source.cross(X.topRows(3), X.bottomRows(9));

    EXPECT_LT((cross.H_cross * 9.0 - H.topRightCorner(3, 9) * 12.0).norm(), 1e-11 * H.norm()) << spec.text();
    EXPECT_LT((cross.H_self * 9.0 - H.diagonal().head(3) * 12.0).norm(), 1e-11 * H.norm()) << spec.text();
    EXPECT_EQ(cross.output, source.output(X.topRows(3)));
    EXPECT_EQ(source.kind(), spec.kind);
  }
}

TEST(LayeredKernelSource, TakesTheShapeOfTheDataWhereItSaysNone) {
  OperatorSpec open = layered_spec("conv2d:4:3 avgpool dense:1"), given = layered_spec(convolution);
  open.take_shape({1, 4, 6});
  given.take_shape({1, 4, 6});

  EXPECT_EQ(KernelSource::make(open, 24).text(), "input:1x4x6 conv2d:4:3 avgpool dense:1");
  EXPECT_EQ(given.text(), convolution);
  EXPECT_EQ(given.array_shape(), (std::vector<Index>{2, 3, 4}));
  EXPECT_THROW(KernelSource::make(layered_spec("conv2d:4:3 avgpool dense:1"), 24), InputError);
}

FittedModel model_of(const OperatorSpec& spec) {
  RandomStream random(2, "model");
  const Dataset data = make_dataset(random.normals(20, 24), random.normals(20),
                                    {.feature_shape = spec.array_shape()}, "X.npy", "y.npy");
  FittedModel model;
  model.gradflow_version = "test";
  model.recipe = data.recipe;
  model.operator_kind = spec.kind;
  model.kernel = KernelSource::make(spec, 24);
  model.operator_text = model.kernel->text();
  model.X = data.X;
  model.design = Matrix::Ones(20, 1);
  model.fixed_names = {"intercept"};
  model.alpha = random.normals(20);
  model.beta = random.normals(1);
  model.rule = "reml-flow";
  model.path.time = 2.5;
  model.tau = 3.5;
  model.ridge_variance = 0.7;
  return model;
}

TEST(LayeredModelFile, PredictsTheSameBitsAfterwards) {
  const std::string path = testing::TempDir() + "gradflow_layered.model";
  for (const OperatorSpec& spec : specs()) {
    FittedModel model = model_of(spec);
    if (const Network* finite = model.kernel->finite())
      model.linearised = finite->vjp(model.X, model.alpha / 20.0);
    model.save(path);
    const FittedModel loaded = FittedModel::load(path);
    const NewRows rows = encode(model.recipe, RandomStream(3, "new").normals(7, 24), "new.npy");
    const Predictions before = predict(model, rows), after = predict(loaded, rows);

    EXPECT_EQ(loaded.operator_text, model.operator_text);
    EXPECT_TRUE(before.mean.allFinite() && before.sd.allFinite());
    EXPECT_EQ(before.mean, after.mean) << spec.text();
    EXPECT_EQ(before.upper, after.upper) << spec.text();
    if (!model.linearised) continue;
    model.linearised.reset();
    EXPECT_LT((predict(model, rows).mean - before.mean).norm(), 1e-11 * before.mean.norm()) << spec.text();
  }
  std::filesystem::remove(path);
}

TEST(LayeredPlan, SmallProblemsAreDenseAndLargeOnesMatrixFree) {
  const auto plan = [](Index n, const OperatorSpec& spec, const ComputeOptions& compute = {}) {
    return make_plan(n, 24, 1, spec, Question::every_rule, compute);
  };
  const ComputeOptions free{.engine = EngineChoice::krylov, .storage = StorageChoice::none};

  EXPECT_EQ(plan(500, layered_spec(convolution)).engine, Engine::dense);
  EXPECT_EQ(plan(500, layered_spec(convolution), free).form, Plan::Form::jacobian);
  EXPECT_EQ(plan(500, layered_spec(convolution), free).precision, Precision::float64);
  EXPECT_EQ(
      plan(500, layered_kernel_spec("ntk(dense:8 relu dense:1)"), {.engine = EngineChoice::krylov}).form,
      Plan::Form::matrix);
  EXPECT_THROW(plan(500, layered_kernel_spec("ntk(dense:8 relu dense:1)"), free), InputError);
  EXPECT_THROW(plan(500, layered_spec(convolution),
                    {.engine = EngineChoice::krylov,
                     .storage = StorageChoice::none,
                     .precision = PrecisionChoice::float32}),
               InputError);
}

TEST(LayeredPlan, TheOperatorIsTheSameInEitherForm) {
  const Matrix X = RandomStream(4, "test").normals(30, 24);
  const OperatorSpec spec = layered_spec(convolution);
  const KernelSource source = KernelSource::make(spec, 24);
  const Plan free = make_plan(30, 24, 1, spec, Question::one_rule,
                              {.engine = EngineChoice::krylov, .storage = StorageChoice::none});

  const Matrix H = source.training(X)->matrix();

  EXPECT_LT((build_operator(source, X, free)->matrix() - H).norm(), 1e-13 * H.norm());
}

}  // namespace
}  // namespace gradflow
