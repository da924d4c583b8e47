#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "gradflow/base/error.h"
#include "gradflow/base/random.h"
#include "gradflow/data/safetensors.h"
#include "gradflow/model/fitted_model.h"

namespace gradflow {
namespace {

constexpr Index model_rows = 30, d = 4;

/// A model of this kernel with all that predictions with standard deviations need.
FittedModel model_of(const KernelSum& kernel) {
  RandomStream random(1, "model");
  const Dataset data =
      make_dataset(random.normals(model_rows, d), random.normals(model_rows, 1), {}, "X.npy", "y.npy");
  FittedModel model;
  model.gradflow_version = "test";
  model.recipe = data.recipe;
  model.kernel = KernelSource(kernel);
  model.operator_text = model.kernel->text();
  model.X = data.X;
  model.design = Matrix::Ones(model_rows, 1);
  model.fixed_names = {"intercept"};
  model.alpha = random.normals(model_rows, 1);
  model.beta = random.normals(1, 1);
  model.rule = "reml-flow";
  model.path.time = 2.5;
  model.tau = 3.5;
  model.ridge_variance = 0.7;
  return model;
}

class ModelFile : public testing::Test {
 protected:
  void TearDown() override { std::filesystem::remove(path); }

  FittedModel saved_and_loaded(const FittedModel& model) const {
    model.save(path);
    return FittedModel::load(path);
  }
  nlohmann::json description() const {
    return nlohmann::json::parse(read_safetensors(path).metadata.at("gradflow_model"));
  }
  std::string bytes_with(const std::string& from, const std::string& to) const {
    std::ostringstream buffer;
    buffer << std::ifstream(path, std::ios::binary).rdbuf();
    std::string bytes = buffer.str();
    return bytes.replace(bytes.find(from), from.size(), to);
  }
  /// What load() says of the saved model after `from` became `to`, of equal length.
  std::string refusal(const std::string& from, const std::string& to) const {
    try {
      FittedModel::parse(bytes_with(from, to), "a.model");
    } catch (const InputError& error) {
      return error.what();
    }
    return "accepted";
  }

  const std::string path = fmt::format("{}/gradflow_model_file_{}.model",
                                       std::filesystem::temp_directory_path().string(), getpid());
};

KernelSum scaled_sum() {
  KernelSum kernel = parse_kernel_sum("ntk:erf:2,sw2=1.7 + linear + matern52 + nngp:relu:1");
  RandomStream random(2, "kernel");
  for (const std::size_t k : {0U, 2U}) {
    kernel.terms[k].weight = std::exp(random.normals(1, 1)(0, 0));
    kernel.terms[k].relevance = random.normals(d, 1).cwiseAbs();
  }
  kernel.terms[2].relevance(1) = 0.0;
  kernel.terms[3].network.sb2 = 1.0 / 3.0;
  return kernel;
}

void expect_same_predictions(const FittedModel& a, const FittedModel& b) {
  const NewRows rows = encode(a.recipe, RandomStream(3, "new").normals(20, d), "new.npy");
  const Predictions before = predict(a, rows), after = predict(b, rows);
  EXPECT_TRUE(before.mean.allFinite() && before.sd.allFinite());
  EXPECT_TRUE((before.mean.array() == after.mean.array()).all());
  EXPECT_TRUE((before.sd.array() == after.sd.array()).all());
  EXPECT_TRUE((before.upper.array() == after.upper.array()).all());
}

TEST_F(ModelFile, BytesAreThoseOfTheFile) {
  const FittedModel model = model_of(parse_kernel_sum("ntk:relu:2"));
  model.save(path);
  std::ostringstream buffer;
  buffer << std::ifstream(path, std::ios::binary).rdbuf();

  EXPECT_EQ(model.bytes(), buffer.str());
}

TEST_F(ModelFile, ASumWithRelevancesPredictsTheSameBitsAfterwards) {
  const FittedModel model = model_of(scaled_sum());

  const FittedModel loaded = saved_and_loaded(model);

  EXPECT_EQ(loaded.kernel->kernel().value(), model.kernel->kernel().value());
  EXPECT_EQ(description()["format_version"], 3);
  expect_same_predictions(model, loaded);
}

TEST_F(ModelFile, RelevancesOfOneAreTheFeaturesThemselves) {
  KernelSum kernel = parse_kernel_sum("rbf + linear");
  kernel.terms[0].relevance = Vector::Ones(d);
  const FittedModel model = model_of(kernel);

  const FittedModel loaded = saved_and_loaded(model);

  EXPECT_EQ(loaded.kernel->kernel().value(), parse_kernel_sum("rbf + linear"));
  expect_same_predictions(model, loaded);
}

TEST_F(ModelFile, AnyKernelButOneNetworkIsOfFormatThree) {
  for (const auto& [text, format] :
       {std::pair("ntk:relu:2", 1), std::pair("nngp:erf:1,sb2=0.5", 1), std::pair("0.5*ntk:relu:2", 3),
        std::pair("rbf", 3), std::pair("ntk:relu:2 + 1e-07*linear", 3)}) {
    const FittedModel model = model_of(parse_kernel_sum(text));
    const FittedModel loaded = saved_and_loaded(model);
    EXPECT_EQ(description()["format_version"], format) << text;
    EXPECT_FALSE(description()["operator"].contains("relevances")) << text;
    EXPECT_EQ(loaded.operator_text, text);
    expect_same_predictions(model, loaded);
  }
}

TEST_F(ModelFile, FormatsOneAndTwoAreRead) {
  const std::string corpus = std::string(GRADFLOW_SOURCE_DIR) + "/fuzz/corpus/model_reader/";

  const FittedModel kernel = FittedModel::load(corpus + "infinite.model");
  EXPECT_EQ(to_string(kernel.kernel->kernel().value()), kernel.operator_text);
  EXPECT_TRUE(FittedModel::load(corpus + "finite.model").kernel->network().has_value());

  model_of(InfiniteArchitecture{}).save(path);
  EXPECT_EQ(refusal("format_version\\\":1", "format_version\\\":2"), "accepted");
}

TEST_F(ModelFile, ThePublishedLayoutOfRelevancesIsRead) {
  const FittedModel model =
      FittedModel::load(std::string(GRADFLOW_SOURCE_DIR) + "/fuzz/corpus/model_reader/kernel_sum.model");

  KernelSum expected = parse_kernel_sum("2*rbf + linear + 0.3*ntk:relu:1");  // one row of three for each term
  expected.terms[0].relevance = Vector{{0.5, 0.0, 2.0}};
  expected.terms[2].relevance = Vector{{1.25, 0.1, 3.0}};
  EXPECT_EQ(model.kernel->kernel().value(), expected);
}

TEST_F(ModelFile, DamagedKernelsAreRefusedInASentence) {
  KernelSum kernel = parse_kernel_sum("rbf + linear");
  kernel.terms[0].relevance = Vector::Constant(d, 0.5);
  model_of(kernel).save(path);

  EXPECT_EQ(refusal("rbf + linear", "rbf + lin   "),
            "a.model: damaged gradflow model: kernel 'rbf + lin   ': 'lin' is no kernel; write a sum of "
            "networks, linear, rbf, matern32 and matern52, with weights where they are not 1, for example "
            "ntk:relu:2 + 0.3*linear");
  EXPECT_EQ(refusal("rbf + linear", "linear      "),
            "a.model: damaged gradflow model: tensor 'relevances' has shape (2, 4), not (1, 4)");
  EXPECT_EQ(refusal("\"relevances\":{", "\"relevancez\":{"),
            "a.model: damaged gradflow model: tensor 'relevances' is missing");
}

TEST_F(ModelFile, KeepsTheErrorsOfAChoiceMadeAgainAndOlderProgramsRefuseIt) {
  FittedModel model = model_of(parse_kernel_sum("linear"));
  model.save(path);
  EXPECT_LT(description().at("format_version").get<int>(), 5);
  EXPECT_FALSE(FittedModel::load(path).left_out.known());
  model.left_out = {Vector::LinSpaced(30, 0.0, 3.0), 5};

  const FittedModel loaded = saved_and_loaded(model);

  EXPECT_EQ(loaded.left_out.sizes, model.left_out.sizes);
  EXPECT_EQ(loaded.left_out.folds, 5);
  EXPECT_EQ(description().at("format_version"), 5);
  EXPECT_EQ(refusal("\"choice_folds\\\":5", "\"choice_folds\\\":1"),
            "a.model: damaged gradflow model: its left-out errors are not sizes in ascending order");
}

TEST_F(ModelFile, KeepsTheCalibrationOfItsErrorsAndOlderProgramsRefuseIt) {
  FittedModel model = model_of(parse_kernel_sum("linear"));
  model.calibration = {
      .reason = "", .rows = 40, .factor = 0.75, .shape = {}, .gain = 12.5, .normal_probability = 0.125};
  model.calibration.shape.weights = Vector::Constant(2, 0.5);
  model.calibration.shape.scales = Vector::LinSpaced(2, 0.5, 1.5);

  const FittedModel loaded = saved_and_loaded(model);

  EXPECT_EQ(description().at("format_version"), 6);
  EXPECT_EQ(loaded.calibration.rows, 40);
  EXPECT_EQ(loaded.calibration.factor, 0.75);
  EXPECT_EQ(loaded.calibration.gain, 12.5);
  EXPECT_EQ(loaded.calibration.normal_probability, 0.125);
  EXPECT_EQ(loaded.calibration.shape.weights, model.calibration.shape.weights);
  EXPECT_EQ(loaded.calibration.shape.scales, model.calibration.shape.scales);
  EXPECT_NE(refusal("\"weight\\\":0.5", "\"weight\\\":0.6").find("members"), std::string::npos);
  EXPECT_NE(refusal("\"factor\\\":0.75", "\"factor\\\":0e75").find("factor"), std::string::npos);
}

TEST_F(ModelFile, KeepsTheCalibrationOfTheMeanOfFitsAndOlderProgramsRefuseIt) {
  FittedModel model = model_of(parse_kernel_sum("linear"));
  model.mixture_calibration = {
      .scores = {.reason = "", .rows = 40, .factor = 0.75, .gain = 12.5, .normal_probability = 0.125},
      .folds = 5,
      .own_factor = 0.875,
      .left_out_factor = 1.25};

  const MixtureCalibration loaded = saved_and_loaded(model).mixture_calibration;

  EXPECT_EQ(description().at("format_version"), 9);
  EXPECT_EQ(loaded.folds, 5);
  EXPECT_EQ(loaded.own_factor, 0.875);
  EXPECT_EQ(loaded.left_out_factor, 1.25);
  EXPECT_EQ(loaded.scores.rows, 40);
  EXPECT_EQ(loaded.scores.factor, 0.75);
  EXPECT_NE(refusal("\"own_factor\\\":0.875", "\"own_factor\\\":0e875").find("own_factor"),
            std::string::npos);
}

// Whose shape was normal where it had one member.
TEST_F(ModelFile, ReadsCalibrationsOfFilesWithoutAProbability) {
  FittedModel model = model_of(parse_kernel_sum("linear"));
  model.calibration = {.reason = "", .rows = 40, .factor = 1.25, .gain = 1.5, .normal_probability = 0.75};
  model.save(path);

  const auto shapeless =
      FittedModel::parse(bytes_with("normal_proba", "another_name"), "a.model").calibration;

  EXPECT_EQ(shapeless.factor, 1.25);
  EXPECT_EQ(shapeless.normal_probability, 1.0);
}

}  // namespace
}  // namespace gradflow
