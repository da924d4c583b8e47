// gradflow report: the page and its figures from a model or a run, and what is refused.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>

#include "cli/run_program.h"
#include "gradflow/model/class_model.h"
#include "gradflow/model/fitted_model.h"
#include "support/json.h"

namespace gradflow::cli_test {
namespace {

using testing::HasSubstr;
using Names = std::vector<std::string>;

class ReportCommand : public testing::Test {
 protected:
  void SetUp() override {
    if (std::system("gnuplot --version > /dev/null 2>&1") != 0) GTEST_SKIP() << "gnuplot is not installed";
    folder.write("data.csv", csv_of(small_data(60), true));
  }
  ProgramResult run(const Words& arguments) const { return run_program(folder.path(), arguments); }
  void fit() const {
    const ProgramResult result =
        run({"fit", "data.csv", "--target", "y", "--id", "name", "-o", "m.model", "--json", "m.json", "-q"});
    ASSERT_EQ(result.exit_code, 0) << result.err;
  }

  TemporaryFolder folder;
};

TEST_F(ReportCommand, AModelAndItsRunGiveOnePageAndItsFigures) {
  fit();

  const ProgramResult of_model = run({"report", "m.model", "-o", "model.html", "--figures", "figures"});
  const ProgramResult of_run = run({"report", "m.json", "-o", "run.html", "--quiet"});

  EXPECT_EQ(of_model.exit_code, 0) << of_model.err;
  EXPECT_THAT(of_model.out, HasSubstr("Report written to model.html: 6 figures"));
  EXPECT_EQ(of_run.exit_code, 0) << of_run.err;
  EXPECT_EQ(of_run.out, "");
  EXPECT_EQ(folder.names(), (Names{"data.csv", "figures", "m.json", "m.model", "model.html", "run.html"}));
  for (const char* figure : {"training-time", "likelihood-profile", "spectrum", "decorrelation",
                             "predicted-observed", "calibration"}) {
    const std::string svg = folder.read(std::string("figures/") + figure + ".svg");
    EXPECT_THAT(folder.read("model.html"), HasSubstr(svg));
    EXPECT_THAT(folder.read("run.html"), HasSubstr(svg));
  }
}

TEST_F(ReportCommand, EveryNumberOfThePageIsTheRunsOwn) {
  fit();

  const std::string page = run({"report", "m.json", "-o", "-"}).out;

  const auto document = parse_json(folder.read("m.json"));
  for (const auto& [name, rule] : document["rules"].items()) {
    EXPECT_THAT(page, HasSubstr(fmt::format("<td>{:.5g}</td>", rule["time"].get<double>()))) << name;
    EXPECT_THAT(page, HasSubstr(fmt::format("<td>{:.5g}</td>", rule["loo_rmse"].get<double>()))) << name;
  }
  const std::size_t worst = document["largest_residuals"][0];
  EXPECT_THAT(page, HasSubstr(fmt::format("<tr><th scope=\"row\">{}</th><td>{:.5g}</td>",
                                          document["rows"]["id"][worst].get<std::string>(),
                                          document["rows"]["observed"][worst].get<double>())));
}

TEST_F(ReportCommand, AModelThatKeepsNoRunIsAnalysedAgain) {
  fit();
  FittedModel model = FittedModel::load(folder / "m.model");
  ASSERT_NE(model.run, "");
  model.run.clear();
  model.save(folder / "old.model");

  const ProgramResult result = run({"report", "old.model", "-o", "old.html"});

  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(result.out, HasSubstr("6 figures"));
  EXPECT_THAT(folder.read("old.html"), HasSubstr("What was done to the data before the fit is not recorded"));
}

TEST_F(ReportCommand, ARunOfTheKrylovEngineShowsWhatItHas) {
  ASSERT_EQ(run({"stop", "data.csv", "--target", "y", "--id", "name", "--engine", "krylov", "--json",
                 "k.json", "-q"})
                .exit_code,
            0);

  const ProgramResult result = run({"report", "k.json", "-o", "k.html"});

  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(result.out, HasSubstr("3 figures"));
  EXPECT_THAT(result.out, HasSubstr("spectrum is not drawn: the Krylov engine"));
}

TEST_F(ReportCommand, ATestAloneHasAVerdict) {
  ASSERT_EQ(run({"test", "data.csv", "--target", "y", "--id", "name", "--json", "t.json", "-q"}).exit_code,
            0);

  ASSERT_EQ(run({"report", "t.json", "-o", "t.html"}).exit_code, 0);

  EXPECT_THAT(folder.read("t.html"), HasSubstr("Training is warranted"));
  EXPECT_THAT(folder.read("t.html"), HasSubstr("No stopping time was asked for."));
}

TEST_F(ReportCommand, AModelOfClassesHasItsReliabilityAndConfusion) {
  std::string text = "a,b,kind\n";
  for (int i = 0; i < 40; ++i) text += fmt::format("{},{},{}\n", i, (7 * i) % 11, i < 20 ? "<low>" : "high");
  folder.write("kinds.csv", text);
  ASSERT_EQ(run({"fit", "kinds.csv", "--target", "kind", "--classes", "-o", "c.model", "-q"}).exit_code, 0);
  ASSERT_NE(ClassModel::load(folder / "c.model").run, "");

  const ProgramResult result = run({"report", "c.model", "-o", "c.html"});

  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(result.out, HasSubstr("1 figure,"));
  EXPECT_THAT(folder.read("c.html"), HasSubstr("predicted &lt;low&gt;"));
}

TEST_F(ReportCommand, BadInputHasASentence) {
  fit();
  const auto expect_refused = [&](const Words& arguments, const std::string& sentence) {
    const ProgramResult result = run(arguments);
    EXPECT_EQ(result.exit_code, 2);
    EXPECT_THAT(result.err, HasSubstr(sentence));
  };

  expect_refused({"report", "absent.json", "-o", "r.html"}, "cannot read 'absent.json'");
  expect_refused({"report", "data.csv", "-o", "r.html"},
                 "'data.csv' is neither a gradflow model nor the JSON of a run");
  expect_refused({"report", "m.json"}, "-o FILE is required");
  expect_refused({"report", "m.json", "-o", "m.json"}, "the output 'm.json' is one of the inputs");
  expect_refused({"report", "m.json", "-o", "nowhere/r.html"}, "cannot write 'nowhere/r.html'");
  expect_refused({"report", "m.json", "-o", "r.html", "--figures", "data.csv"},
                 "cannot write figures to 'data.csv'");
  EXPECT_FALSE(folder.exists("r.html"));
}

}  // namespace
}  // namespace gradflow::cli_test
