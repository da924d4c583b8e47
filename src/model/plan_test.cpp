#include "gradflow/model/plan.h"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>

#include "gradflow/base/error.h"
#include "gradflow/model/job.h"
#include "gradflow/model/memory.h"

namespace gradflow {
namespace {

constexpr double GB = 1e9, MB = 1e6;

OperatorSpec kernel() {
  OperatorSpec spec;
  spec.kernel = parse_kernel_sum("ntk:relu:2");
  return spec;
}

OperatorSpec network(const std::string& text) {
  OperatorSpec spec;
  spec.kind = OperatorKind::finite;
  spec.network = parse_architecture(text);
  return spec;
}

OperatorSpec matrix() {
  OperatorSpec spec;
  spec.kind = OperatorKind::matrix;
  spec.matrix = "H.npy";
  return spec;
}

constexpr Index features = 10, fixed_effects = 1;

Plan plan_of(Index n, const OperatorSpec& spec, const ComputeOptions& compute = {},
             Question question = Question::every_rule) {
  return make_plan(n, features, fixed_effects, spec, question, compute);
}

std::string refusal_of(Index n, const OperatorSpec& spec, const ComputeOptions& compute,
                       Question question = Question::every_rule) {
  try {
    plan_of(n, spec, compute, question);
  } catch (const InputError& error) {
    return error.what();
  }
  return "";
}

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

TEST(Plan, EveryEigenvalueTakesTheDenseEngineAndBeyondFourThousandRowsItsName) {
  const ComputeOptions dense{.engine = EngineChoice::dense, .max_memory = 1e12};

  EXPECT_EQ(plan_of(4000, kernel(), {}, Question::every_eigenvalue).engine, Engine::dense);
  EXPECT_TRUE(contains(refusal_of(4001, kernel(), {}, Question::every_eigenvalue), "--engine dense"));
  EXPECT_EQ(refusal_of(4001, kernel(), dense, Question::every_eigenvalue), "");
}

TEST(Plan, TheEngineIsDenseUpToFourThousandRows) {
  EXPECT_EQ(plan_of(4000, kernel()).engine, Engine::dense);
  EXPECT_EQ(plan_of(4001, kernel()).engine, Engine::krylov);
  EXPECT_EQ(plan_of(4001, kernel(), {.engine = EngineChoice::dense}).engine, Engine::dense);
  EXPECT_EQ(plan_of(50, kernel(), {.engine = EngineChoice::krylov}).engine, Engine::krylov);
}

TEST(Plan, EveryTermOfASumHasItsCost) {
  OperatorSpec sum = kernel(), linear = kernel();
  sum.kernel = parse_kernel_sum("ntk:relu:2 + rbf");
  linear.kernel = parse_kernel_sum("linear");
  const ComputeOptions free{.storage = StorageChoice::none};

  const Plan one = plan_of(20000, kernel(), free), two = plan_of(20000, sum, free);

  EXPECT_NEAR(two.memory - one.memory, 8.0 * 20000 * features, 8.0 * 128 * features);  // its scaled features
  EXPECT_GT(two.flops, one.flops);
  EXPECT_LT(plan_of(20000, linear, free).flops, one.flops);
}

TEST(Plan, TheEngineIsKrylovWhereMatricesDoNotFit) {
  const Plan plan = plan_of(4000, kernel(), {.max_memory = 200 * MB});

  EXPECT_EQ(plan.engine, Engine::krylov);
  EXPECT_LE(plan.memory, 200 * MB);
}

TEST(Plan, AKernelsEntriesAreKeptAsSharpAsMemoryAllows) {
  const auto storage = [](double memory, ComputeOptions compute = {}) {
    compute.max_memory = memory;
    return plan_of(10000, kernel(), compute).storage;
  };

  EXPECT_EQ(storage(GB), KernelStorage::float64);
  EXPECT_EQ(storage(0.35 * GB), KernelStorage::float32);
  EXPECT_EQ(storage(0.15 * GB), KernelStorage::none);
  EXPECT_EQ(storage(GB, {.storage = StorageChoice::none}), KernelStorage::none);
  EXPECT_EQ(storage(GB, {.precision = PrecisionChoice::float32}), KernelStorage::float32);
}

TEST(Plan, EntriesThatAreEvaluatedAnewAreRoundedUnlessAsked) {
  EXPECT_EQ(plan_of(10000, kernel(), {.storage = StorageChoice::none}).precision, Precision::float32);
  EXPECT_EQ(plan_of(10000, kernel(), {.storage = StorageChoice::none, .precision = PrecisionChoice::float64})
                .precision,
            Precision::float64);
  EXPECT_EQ(plan_of(10000, kernel(), {.max_memory = GB}).precision, Precision::float64);
}

TEST(Plan, ANetworkIsMatrixFreeWhereItIsSmallForItsRows) {
  const ComputeOptions krylov{.engine = EngineChoice::krylov, .max_memory = 4 * GB};

  EXPECT_EQ(plan_of(10000, network("relu:8"), krylov).form, Plan::Form::jacobian);
  EXPECT_EQ(plan_of(1000, network("relu:1024x3"), krylov).form, Plan::Form::matrix);
  EXPECT_EQ(plan_of(1000, network("relu:1024x3"),
                    {.engine = EngineChoice::krylov, .storage = StorageChoice::none, .max_memory = 4 * GB})
                .form,
            Plan::Form::jacobian);
  EXPECT_EQ(plan_of(10000, network("relu:8"),
                    {.engine = EngineChoice::krylov, .storage = StorageChoice::memory, .max_memory = 4 * GB})
                .form,
            Plan::Form::matrix);
}

TEST(Plan, SweepsAreKeptWhereTheyFit) {
  const OperatorSpec spec = network("relu:512x3");
  const ComputeOptions roomy{
      .engine = EngineChoice::krylov, .storage = StorageChoice::none, .max_memory = GB};
  ComputeOptions tight = roomy;
  tight.max_memory = 100 * MB;

  EXPECT_GT(plan_of(10000, spec, roomy).sweep_cache, 0.0);
  EXPECT_EQ(plan_of(10000, spec, tight).sweep_cache, 0.0);
  EXPECT_LE(plan_of(10000, spec, tight).memory, 100 * MB);
}

TEST(Plan, AUsersMatrixIsKept) {
  const Plan plan = plan_of(5000, matrix(), {.max_memory = 2 * GB});

  EXPECT_EQ(plan.engine, Engine::krylov);
  EXPECT_EQ(plan.form, Plan::Form::matrix);
  EXPECT_TRUE(contains(refusal_of(5000, matrix(), {.max_memory = 100 * MB}),
                       "--operator is a matrix of your own: give more with --max-memory"));
}

TEST(Plan, ARefusalNamesTheBytesAndWhatFits) {
  const auto dense = refusal_of(10000, kernel(), {.engine = EngineChoice::dense, .max_memory = GB});
  const auto kept = refusal_of(10000, kernel(), {.storage = StorageChoice::memory, .max_memory = 100 * MB});
  const auto formed =
      refusal_of(10000, network("relu:8"), {.storage = StorageChoice::memory, .max_memory = 100 * MB});
  const auto hopeless = refusal_of(10000, kernel(), {.max_memory = MB});

  EXPECT_TRUE(contains(dense,
                       "n = 10000 rows need about 4.01 GB of memory (5 matrices of n x n for --engine "
                       "dense), and 1 GB are available: --engine krylov needs none"))
      << dense;
  EXPECT_TRUE(contains(kept,
                       "(the kernel's lower triangle), and 0.1 GB are available: --storage none keeps no "
                       "entries"))
      << kept;
  EXPECT_TRUE(
      contains(formed, "(the matrix), and 0.1 GB are available: --storage none never forms the matrix"))
      << formed;
  EXPECT_TRUE(contains(hopeless, "0.001 GB are available: raise --max-memory")) << hopeless;
}

TEST(Plan, WhatARefusalNamesIsAccepted) {
  EXPECT_EQ(plan_of(10000, kernel(), {.engine = EngineChoice::krylov, .max_memory = 100 * MB}).engine,
            Engine::krylov);
  EXPECT_EQ(plan_of(10000, network("relu:8"), {.storage = StorageChoice::none, .max_memory = 100 * MB}).form,
            Plan::Form::jacobian);
}

// From the memory where nothing fits to where everything does.
TEST(Plan, ShortMemoryTakesTheLeaveOneOutProbesThenTheBasissPrecision) {
  const Index n = 100000;
  const auto tight = [](double memory) {
    return ComputeOptions{.storage = StorageChoice::none, .max_memory = memory};
  };
  const Plan roomy = plan_of(n, kernel(), tight(20 * GB)), shorter = plan_of(n, kernel(), tight(0.25 * GB));

  EXPECT_EQ(roomy.basis, BasisPrecision::float64);
  EXPECT_EQ(roomy.loo_probes, 16);
  EXPECT_EQ(roomy.max_steps, 1000);
  EXPECT_EQ(shorter.basis, BasisPrecision::float32);
  EXPECT_EQ(shorter.loo_probes, 0);
  EXPECT_LT(shorter.max_steps, 1000);
  EXPECT_EQ(plan_of(n, kernel(), tight(20 * GB), Question::one_rule).loo_probes, 0);
}

TEST(Plan, ARuleThatNeedsTracesTakesTenTimesTheProductsOfOneThatDoesNot) {
  const auto products = [](Question question) {
    return plan_of(20000, network("relu:64x2"), {}, question).products;
  };
  EXPECT_LT(products(Question::test), products(Question::one_rule));
  EXPECT_GE(products(Question::one_traced_rule), 5.0 * products(Question::one_rule));
  EXPECT_LT(products(Question::one_traced_rule), products(Question::every_rule));
}

TEST(Plan, EveryChosenRuleButTheFlowsLikelihoodIsPlannedWithTraces) {
  Job job;
  job.all_rules = false;
  for (const RuleKind rule : all_rules)
    for (const PathKind path : {PathKind::flow, PathKind::ridge}) {
      job.analysis.rule = rule;
      job.analysis.path.kind = path;
      const bool likelihood = rule == RuleKind::reml_path && path == PathKind::flow;
      EXPECT_EQ(question_of(job), likelihood              ? Question::one_rule
                                  : rule == RuleKind::loo ? Question::every_rule
                                                          : Question::one_traced_rule)
          << rule_name(rule, path);
    }
  job.all_rules = true;
  EXPECT_EQ(question_of(job), Question::every_rule);
}

TEST(Plan, CalibratesByRowsOfWhichMemoryHoldsAMatrixAndOnlyPredictionsWithStandardDeviations) {
  const ComputeOptions krylov{.engine = EngineChoice::krylov, .max_memory = 16 * GB};
  const auto rows = [](const Plan& plan) { return plan.calibration_rows; };
  OperatorSpec products = matrix();
  products.products_only = true;

  EXPECT_EQ(rows(plan_of(500, kernel(), krylov)), 500);
  EXPECT_EQ(rows(plan_of(20000, kernel(), krylov)), 2000);
  EXPECT_EQ(rows(plan_of(8000, network("relu:8"), krylov)), 2000);
  EXPECT_EQ(rows(plan_of(8001, network("relu:8"), krylov)), 0);
  EXPECT_EQ(rows(plan_of(5000, products, krylov)), 0);
  EXPECT_EQ(rows(plan_of(20000, kernel(), krylov, Question::test)), 0);
  const Index tight =
      rows(plan_of(20000, kernel(), {.storage = StorageChoice::none, .max_memory = 200 * MB}));
  EXPECT_GT(tight, 30);
  EXPECT_LT(tight, 1000);
}

TEST(Plan, NeverTakesMoreThanItMay) {
  for (const OperatorSpec& spec : {kernel(), network("relu:64x2"), matrix()})
    for (const double memory : {20 * MB, 60 * MB, 200 * MB, 600 * MB, 2 * GB})
      for (const Index n : {100, 1000, 3000, 10000, 30000})
        for (const Question question :
             {Question::test, Question::one_rule, Question::one_traced_rule, Question::every_rule}) {
          const ComputeOptions compute{.engine = EngineChoice::krylov, .max_memory = memory};
          if (!refusal_of(n, spec, compute, question).empty()) continue;
          EXPECT_LE(plan_of(n, spec, compute, question).memory, 1.0001 * memory)
              << spec.text() << ", n = " << n << ", " << memory / MB << " MB";
        }
}

TEST(Plan, MoreRowsTakeMoreMemoryAndTime) {
  for (const OperatorSpec& spec : {kernel(), network("relu:64x2"), matrix()})
    for (const EngineChoice engine : {EngineChoice::dense, EngineChoice::krylov}) {
      double memory = 0.0, flops = 0.0;
      for (const Index n : {100, 300, 1000, 2000, 4000}) {
        const Plan plan = plan_of(n, spec, {.engine = engine, .max_memory = 8 * GB});
        EXPECT_GT(plan.memory, memory) << spec.text() << ", n = " << n;
        EXPECT_GT(plan.flops, flops) << spec.text() << ", n = " << n;
        memory = plan.memory;
        flops = plan.flops;
      }
    }
}

TEST(Plan, TextIsOneLine) {
  for (const OperatorSpec& spec : {kernel(), network("relu:64x2"), matrix()})
    for (const EngineChoice engine : {EngineChoice::dense, EngineChoice::krylov}) {
      const std::string text = plan_of(2000, spec, {.engine = engine}).text(2000);
      EXPECT_EQ(text.find("n = 2000: "), 0U) << text;
      EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 0) << text;
      EXPECT_TRUE(contains(text, "of memory")) << text;
      EXPECT_NE(text.back(), '.') << text;
    }
}

TEST(Plan, OptionsAreReadOrRefusedWithTheirChoices) {
  EXPECT_EQ(parse_engine("krylov"), EngineChoice::krylov);
  EXPECT_EQ(parse_storage("none"), StorageChoice::none);
  EXPECT_EQ(parse_precision_choice("float32"), PrecisionChoice::float32);
  try {
    parse_engine("lanczos");
    FAIL();
  } catch (const InputError& error) {
    EXPECT_STREQ(error.what(), "--engine lanczos: must be auto, dense or krylov");
  }
}

TEST(Memory, AvailableMemoryRespectsALimitOnTheAddressSpace) {
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    const double without = available_memory();
    const auto bytes = static_cast<rlim_t>(1) << 50;
    const rlimit wide{bytes, bytes};
    if (setrlimit(RLIMIT_AS, &wide) != 0) _exit(3);
    if (available_memory() < 0.5 * without) _exit(1);
    std::ifstream status("/proc/self/statm");
    double pages = 0.0;
    status >> pages;
    const double used = pages * static_cast<double>(sysconf(_SC_PAGESIZE));
    const auto narrow = static_cast<rlim_t>(used + 300e6);  // less than the threads themselves take
    const rlimit limit{narrow, narrow};
    if (setrlimit(RLIMIT_AS, &limit) != 0) _exit(3);
    if (available_memory() > 300e6) _exit(2);
    _exit(0);
  }
  int status = 0;
  waitpid(child, &status, 0);

  ASSERT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 0);
}

}  // namespace
}  // namespace gradflow
