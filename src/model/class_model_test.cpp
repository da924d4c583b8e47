#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "gradflow/base/error.h"
#include "gradflow/base/random.h"
#include "gradflow/model/class_model.h"
#include "gradflow/model/fitted_model.h"

namespace gradflow {
namespace {

class ClassModelFile : public testing::Test {
 protected:
  void SetUp() override {
    RandomStream random(1, "classes");
    std::ofstream table(csv);
    table << "x1,x2,kind\n";
    for (int i = 0; i < 60; ++i) {
      const double shift = 2.0 * (i % 3);
      table << fmt::format("{},{},{}\n", random.normal() + shift, random.normal(),
                           i % 3 == 0   ? "ash"
                           : i % 3 == 1 ? "beech"
                                        : "elm");
    }
  }
  void TearDown() override {
    std::filesystem::remove(csv);
    std::filesystem::remove(path);
  }

  ClassJob job(ClassMethod method) const {
    ClassJob result;
    result.source.table = csv;
    result.dataset.target = "kind";
    result.classification.method = method;
    return result;
  }
  NewRows rows(const ClassModel& model) const { return encode(model.recipe, read_table(csv)); }

  const std::string csv = fmt::format("{}class_model_{}.csv", testing::TempDir(), getpid());
  const std::string path = fmt::format("{}class_model_{}.gf", testing::TempDir(), getpid());
};

TEST_F(ClassModelFile, PredictsTheSameBitsAfterLoading) {
  ClassJob with_network = job(ClassMethod::one_hot);
  with_network.operator_spec.kind = OperatorKind::finite;
  with_network.operator_spec.network = parse_architecture("relu:16x2");
  ClassJob with_sum = job(ClassMethod::one_hot);
  with_sum.operator_spec.kernel = parse_kernel_sum("ntk:relu:1 + 0.3*linear");
  for (const ClassJob& asked :
       {job(ClassMethod::one_hot), job(ClassMethod::laplace), with_network, with_sum}) {
    const ClassModel model = make_model(asked, run(asked));
    const Matrix expected = predict(model, rows(model)).probabilities;

    model.save(path);
    const ClassModel loaded = ClassModel::load(path);

    EXPECT_EQ(predict(loaded, rows(loaded)).probabilities, expected);
    EXPECT_EQ(loaded.classes, (std::vector<std::string>{"ash", "beech", "elm"}));
    EXPECT_EQ(loaded.fit.tau, model.fit.tau);
    EXPECT_LT((expected.rowwise().sum().array() - 1.0).abs().maxCoeff(), 1e-12);
  }
}

TEST_F(ClassModelFile, IsToldFromAModelOfANumericResponse) {
  const ClassJob asked = job(ClassMethod::one_hot);
  make_model(asked, run(asked)).save(path);

  EXPECT_TRUE(is_class_model(path));
  EXPECT_FALSE(is_class_model(csv));
  EXPECT_FALSE(is_class_model("absent.gf"));
  try {
    FittedModel::load(path);
    FAIL() << "a model of classes was read as another";
  } catch (const InputError& error) {
    EXPECT_EQ(std::string(error.what()),
              fmt::format("{}: a model of classes (gradflow fit --classes), where one of a numeric response "
                          "is needed",
                          path));
  }

  Job numeric;
  numeric.source.table = csv;
  numeric.dataset = {.target = "x2", .features = {"x1"}};
  make_model(numeric, run(numeric)).save(path);

  EXPECT_FALSE(is_class_model(path));
  try {
    ClassModel::load(path);
    FAIL() << "a model of a number was read as one of classes";
  } catch (const InputError& error) {
    EXPECT_EQ(std::string(error.what()),
              fmt::format("{}: a model of a numeric response, where one of classes is needed", path));
  }
}

TEST_F(ClassModelFile, RefusesDamage) {
  const ClassJob asked = job(ClassMethod::laplace);
  make_model(asked, run(asked)).save(path);
  std::ostringstream buffer;
  buffer << std::ifstream(path, std::ios::binary).rdbuf();
  const auto refusal = [&](const std::string& from, const std::string& to) -> std::string {
    std::string bytes = buffer.str();
    bytes.replace(bytes.find(from), from.size(), to);
    try {
      ClassModel::parse(bytes, "a.gf");
    } catch (const InputError& error) {
      return error.what();
    }
    return "read without complaint";
  };

  EXPECT_EQ(refusal("\"dual\":{", "\"duel\":{"), "a.gf: damaged gradflow model: tensor 'dual' is missing");
  EXPECT_EQ(refusal("\\\"laplace\\\"", "\\\"laplase\\\""),
            "a.gf: damaged gradflow model: field 'fit.method' must be one-hot or laplace");
}

TEST_F(ClassModelFile, ChoosesTheKernelOfTheSmallestCriterion) {
  ClassJob asked = job(ClassMethod::one_hot);
  asked.choose_kernel = true;

  const ClassResult result = run(asked);

  ASSERT_EQ(result.candidates.size(), 9u);
  double smallest = std::numeric_limits<double>::infinity();
  int chosen = 0;
  for (const KernelCandidate& candidate : result.candidates) {
    smallest = std::min(smallest, candidate.criterion);
    chosen += candidate.chosen ? 1 : 0;
  }
  EXPECT_EQ(chosen, 1);
  EXPECT_EQ(result.fit.criterion, smallest);
  // The test is of a kernel fixed beforehand.
  EXPECT_EQ(result.test.p_value, run(job(ClassMethod::one_hot)).test.p_value);
}

TEST_F(ClassModelFile, ScoresTheFrequenciesByTheirEntropy) {
  const ClassResult result = run(job(ClassMethod::one_hot));

  EXPECT_NEAR(result.frequencies.log_loss, std::log(3.0), 1e-12);
  EXPECT_NEAR(result.frequencies.brier, 2.0 / 3.0, 1e-12);
  EXPECT_NEAR(result.frequencies.accuracy, 1.0 / 3.0, 1e-12);
  EXPECT_LT(result.scores.log_loss, result.frequencies.log_loss);
  EXPECT_LT(result.test.p_value, 1e-3);
}

}  // namespace
}  // namespace gradflow
