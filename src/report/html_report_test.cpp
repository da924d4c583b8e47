#include "gradflow/report/html_report.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <set>

#include "gradflow/base/error.h"
#include "gradflow/base/random.h"
#include "gradflow/report/json_report.h"
#include "report/chart.h"
#include "report/gnuplot.h"
#include "report/html_page.h"
#include "report/html_text.h"
#include "report/training_run.h"
#include "report/verdict.h"

namespace gradflow {
namespace {

using testing::HasSubstr;
using testing::Not;

constexpr std::size_t mebibyte = 1u << 20;

bool gnuplot_is_there() { return std::system("gnuplot --version > /dev/null 2>&1") == 0; }

/// The document of a run on `n` rows of a smooth function with noise.
Json document(Index n = 60, double signal = 1.0) {
  RandomStream random(3, "report");
  const Vector x = Vector::LinSpaced(n, -2.0, 2.0);
  Matrix H(n, n);
  for (Index i = 0; i < n; ++i)
    for (Index j = 0; j < n; ++j)
      H(i, j) = std::exp(-2.0 * (x(i) - x(j)) * (x(i) - x(j))) / static_cast<double>(n);
  Job job;
  job.operator_spec.kind = OperatorKind::matrix;
  job.analysis.learning_rate = 0.1;
  JobResult result;
  PreparedJob& prepared = result.prepared;
  prepared.H = std::make_unique<DenseOperator>(H, "H.npy");
  prepared.dataset.y = prepared.observations.y =
      3.0 + signal * (2.0 * x.array()).sin() + 0.5 * random.normals(n).array();
  prepared.dataset.recipe.options.target = "height";
  prepared.observations.f0 = Vector::Zero(n);
  prepared.observations.covariates = Matrix(n, 0);
  for (Index i = 0; i < n; ++i) prepared.dataset.ids.push_back(fmt::format("r{}", i + 1));
  result.analysis = analyse(*prepared.H, prepared.observations, job.analysis);
  const RunRecord record{.command = "stop",
                         .arguments = {"/usr/bin/gradflow", "stop", "my data.csv", "--target", "height"},
                         .options = {{"DATA", "my data.csv"}, {"learning-rate", "0.1"}, {"covariates", ""}}};
  return Json::parse(json_report(record, job, result));
}

std::vector<std::string> attribute_values(const std::string& text, const std::string& attribute) {
  std::vector<std::string> values;
  for (const char quote : {'"', '\''}) {
    const std::string start = fmt::format(" {}={}", attribute, quote);
    for (std::size_t at = 0; (at = text.find(start, at)) != std::string::npos;) {
      at += start.size();
      values.push_back(text.substr(at, text.find(quote, at) - at));
    }
  }
  return values;
}

std::vector<Chart> all_charts(const RunDocument& run) {
  return {training_chart(run),      profile_chart(run), spectrum_chart(run),
          decorrelation_chart(run), fit_chart(run),     calibration_chart(run)};
}

class HtmlReport : public testing::Test {
 protected:
  void SetUp() override {
    if (!gnuplot_is_there()) GTEST_SKIP() << "gnuplot is not installed";
  }
  static ReportResult report(const Json& json) { return make_report(json.dump(), "run.json"); }
  /// Of document(), made once.
  static const ReportResult& plain() {
    static const ReportResult result = report(document());
    return result;
  }
};

TEST(HtmlText, EveryCharacterOfMarkupIsEscaped) {
  EXPECT_EQ(escaped("<b a=\"1\" c='2'>&\x01"), "&lt;b a=&quot;1&quot; c=&#39;2&#39;&gt;&amp; ");
  EXPECT_EQ(escaped("5 %"), "5&#160;%");
}

TEST_F(HtmlReport, HasEverySectionAndEveryFigure) {
  const ReportResult& result = plain();

  for (const char* heading :
       {"How long to train?", "What is learnt?", "How good are the predictions?", "Largest residuals",
        "What was done to the data?", "Settings", "How to reproduce this"})
    EXPECT_THAT(result.html, HasSubstr(heading));
  ASSERT_EQ(result.figures.size(), 6u);
  for (const Figure& figure : result.figures) {
    EXPECT_EQ(figure.missing, "") << figure.name;
    EXPECT_GT(figure.table.rows.size(), 2u) << figure.name;
    EXPECT_THAT(result.html, HasSubstr(figure.wide)) << figure.name;  // the very same drawing
    EXPECT_THAT(result.html, HasSubstr(figure.narrow)) << figure.name;
  }
  EXPECT_THAT(result.html, HasSubstr("gradflow stop &#39;my data.csv&#39; --target height"));
}

TEST_F(HtmlReport, AsksNothingOfTheNetwork) {
  std::string html = plain().html;
  const std::string name_space = "xmlns=\"http://www.w3.org/2000/svg\"";
  for (std::size_t at = 0; (at = html.find(name_space, at)) != std::string::npos;)
    html.erase(at, name_space.size());

  for (const char* forbidden :
       {"http:", "https:", "src=", "url(", "@import", "<script", "<link rel=\"style", "javascript:"})
    EXPECT_THAT(html, Not(HasSubstr(forbidden)));
}

TEST_F(HtmlReport, IdentifiersAreUniqueAndReferencesLeadSomewhere) {
  const std::string& html = plain().html;

  const std::vector<std::string> ids = attribute_values(html, "id");
  const std::set<std::string> unique(ids.begin(), ids.end());
  EXPECT_EQ(unique.size(), ids.size());
  for (const std::string& target : attribute_values(html, "href"))
    if (target.starts_with('#')) {
      EXPECT_TRUE(unique.contains(target.substr(1))) << target;
    }
}

TEST_F(HtmlReport, WhatAUserWroteStaysText) {
  const std::string evil = "<script>alert(1)</script>'\"`touch /tmp/x`{/:Bold x}";
  Json json = document();
  json["encoding"]["response"] = evil;
  json["rows"]["id"][0] = evil;
  json["warnings"] = {evil};
  json["argv"][2] = evil;
  json["options"][evil] = evil;
  json["operator"]["description"] = evil;
  json["rules"][evil] = json["rules"]["gcv"];
  json["profiles"]["curves"][0]["rule"] = evil;
  json["largest_residuals"][0] = 0;

  const ReportResult result = report(json);

  EXPECT_THAT(result.html, Not(HasSubstr("<script")));
  EXPECT_THAT(result.html, HasSubstr("&lt;script&gt;alert(1)&lt;/script&gt;"));
  for (const Figure& figure : result.figures) EXPECT_EQ(figure.missing, "") << figure.name;
}

TEST_F(HtmlReport, TheSameDocumentGivesTheSameBytesInAnyLanguage) {
  setenv("LC_ALL", "de_DE.UTF-8", 1);
  setenv("GNUTERM", "dumb", 1);
  const std::string second = report(document()).html;
  unsetenv("LC_ALL");
  unsetenv("GNUTERM");

  EXPECT_EQ(plain().html, second);
}

TEST_F(HtmlReport, GnuplotHasNothingToWarnOf) {
  const RunDocument run = RunDocument::parse(document().dump(), "run.json");

  for (const Chart& chart : all_charts(run))
    for (const std::string& script : {chart.wide_script, chart.narrow_script})
      EXPECT_EQ(run_gnuplot("gnuplot", script).warnings, "") << chart.figure.name;
}

TEST_F(HtmlReport, StaysBelowTwoMebibytesForTenThousandRows) {
  constexpr Index rows = 10000;
  RandomStream random(1, "many");
  Json json = document();
  json["rows"]["of"] = rows;
  for (auto& [name, list] : json["rows"].items()) {
    if (!list.is_array()) continue;
    list = Json::array();
    const double shift = name.ends_with("lower") ? -2.0 : name.ends_with("upper") ? 2.0 : 0.0;
    for (Index i = 0; i < rows; ++i)
      list.push_back(name == "id" ? Json(fmt::format("patient {}", i)) : Json(shift + random.normal()));
  }
  for (const char* name : {"eigenvalue", "signal", "residual", "spectral_loss"}) {
    json["directions"][name] = Json::array();
    for (Index i = 0; i < rows; ++i)
      json["directions"][name].push_back(name[0] == 'e' ? 1.0 / static_cast<double>(i + 1)
                                                        : std::exp(2.0 * random.normal()));
  }

  const ReportResult result = report(json);

  for (const Figure& figure : result.figures) EXPECT_EQ(figure.missing, "") << figure.name;
  EXPECT_LT(result.html.size(), 2 * mebibyte);
  EXPECT_THAT(result.html, HasSubstr("1500 of 10000 rows are drawn"));
}

// A run may lack anything, and a document may hold any number.
Json with_numbers(Json json, const Json& value) {
  if (json.is_number()) return value;
  if (json.is_structured())
    for (auto& item : json) item = with_numbers(item, value);
  return json;
}

TEST_F(HtmlReport, AnyNumbersMakeAPage) {
  for (const Json& value : {Json(nullptr), Json(0), Json(1), Json(-1e300), Json(1e300)}) {
    Json json = with_numbers(document(20), value);
    json["largest_residuals"] = {0, 19};

    const ReportResult result = report(json);

    EXPECT_THAT(result.html, HasSubstr("How to reproduce this")) << value;
    for (const Figure& figure : result.figures)
      EXPECT_TRUE(!figure.missing.empty() || figure.wide.ends_with("</svg>\n")) << value << figure.name;
  }
}

TEST_F(HtmlReport, WhatIsMissingIsNamedAndNotInvented) {
  Json json = document();
  for (const char* part : {"curves", "profiles", "directions", "rows", "coverage", "largest_residuals"})
    json.erase(part);

  const ReportResult result = report(json);

  for (const Figure& figure : result.figures) EXPECT_NE(figure.missing, "") << figure.name;
  EXPECT_THAT(result.html, HasSubstr("Not drawn, because"));
  EXPECT_THAT(result.html, Not(HasSubstr("<svg")));
}

TEST(Report, RefusesWhatIsNoRun) {
  const auto refusal = [](const std::string& text) -> std::string {
    try {
      make_report(text, "x.json");
    } catch (const InputError& error) {
      return error.what();
    }
    return "";
  };

  EXPECT_EQ(refusal("no json"), "'x.json' is neither a gradflow model nor the JSON of a run");
  EXPECT_THAT(refusal("{}"),
              HasSubstr("must be what gradflow test, stop, fit, spectrum or train wrote with --json"));
  EXPECT_THAT(refusal("{\"targets\": {}}"), HasSubstr("is of several targets"));
  Json json = document(20);
  json["test"]["p_value"] = "small";
  EXPECT_EQ(refusal(json.dump()), "'x.json': /test/p_value must be a number or null");
}

TEST(Report, AMissingGnuplotIsNamedWithItsPackage) {
  for (const char* program : {"/nowhere/gnuplot", "gradflow-no-such-program"}) try {
      make_report(document(20).dump(), "x.json", {.gnuplot = program});
      FAIL() << "it drew";
    } catch (const InputError& error) {
      EXPECT_THAT(error.what(), HasSubstr("apt-get install gnuplot-nox"));
    }
}

TEST(Report, AGnuplotThatFailsIsQuoted) {
  for (const char* program : {"false", "true", "cat"}) {
    EXPECT_THROW(make_report(document(20).dump(), "x.json", {.gnuplot = program}), InputError) << program;
  }
}

ReportVerdict verdict(const Json& json) { return verdict_of(RunDocument::parse(json.dump(), "run.json")); }

TEST(Verdict, SaysWhetherWhenAndWhatTheRulesMean) {
  Json json = document();
  json["test"]["p_value"] = 3.2e-12;
  json["test"]["log10_p_value"] = std::log10(3.2e-12);
  json["chosen"]["rule"] = "reml-risk";
  double time = 10.0;
  for (auto& rule : json["rules"]) {
    rule["outcome"] = "converged";
    rule["time"] = time += 1.0;
    rule["steps"] = 100.0 * time;
    rule["loo_rmse"] = time;
  }
  json["rules"]["reml-risk"]["interval"] = {{"lower", 8.0}, {"upper", 20.0}, {"level", 0.95}};

  const ReportVerdict agreed = verdict(json);
  EXPECT_THAT(agreed.test, HasSubstr("Training is warranted"));
  EXPECT_THAT(agreed.test, HasSubstr("3.2 \u00d7 10\u207b\u00b9\u00b2"));
  EXPECT_EQ(agreed.stop,
            "Stop gradient flow at t = 12, after 1,200 full-batch steps at learning rate 0.1 (95 % interval "
            "8 to 20); "
            "the 6 rules agree within a factor of 1.5, so the time is well determined.");

  json["rules"]["gcv"]["time"] = 1e4;
  EXPECT_THAT(verdict(json).stop, HasSubstr("look for copied rows"));
  for (auto& rule : json["rules"]) rule["loo_rmse"] = 2.0;
  EXPECT_THAT(verdict(json).stop, HasSubstr("the choice matters little"));
  json["rules"]["gcv"]["time"] = 0.0;
  EXPECT_THAT(verdict(json).stop, HasSubstr("disagree on whether to train at all (1 of 6 would not)"));
  json["test"]["p_value"] = 0.3;
  EXPECT_THAT(verdict(json).test, HasSubstr("not shown to be warranted"));
  EXPECT_THAT(verdict(json).stop,
              HasSubstr("Should it be trained all the same, stop gradient flow at t = 12"));
  json["rules"]["reml-risk"]["time"] = json["rules"]["reml-risk"]["effective_dof"] = 1e-14;
  EXPECT_THAT(verdict(json).stop, HasSubstr("Do not train (rule reml-risk stops at time 1e-14"));
  for (auto& rule : json["rules"]) rule["time"] = 0.0;
  EXPECT_THAT(verdict(json).stop, HasSubstr("all 6 rules say so"));
  json["rules"]["reml-risk"]["effective_dof"] = 30.0;
  json["rules"]["reml-risk"]["time"] = nullptr;  // how a document writes infinity
  EXPECT_THAT(verdict(json).stop, HasSubstr("Train to convergence"));
  json["rules"]["reml-risk"]["outcome"] = "unidentified";
  EXPECT_THAT(verdict(json).stop, HasSubstr("There is no stopping time by rule reml-risk (unidentified)"));
}

TEST_F(HtmlReport, WhatTheLikelihoodChoseIsShownWithItsUnits) {
  Json json = document();
  json["choice"] = {{"transform", {{"kind", "box-cox"}, {"lambda", 0.4655}}}, {"rows", 60}, {"best", 1}};
  for (const char* kernel : {"ntk:relu:1", "ntk:erf:2"})
    json["choice"]["candidates"].push_back({{"kernel", kernel},
                                            {"free", "relevances"},
                                            {"transform", "box-cox"},
                                            {"penalised_criterion", 12.5},
                                            {"leave_one_out_log_density", -1.25}});
  json["choice"]["guard"]["sentence"] = "ntk:erf:2 was preferred.";
  json["encoding"]["features"] = {"age", "bmi"};
  json["operator"]["relevances"] = {{0.25, 4.0}};

  const std::string html = report(json).html;

  EXPECT_THAT(html, HasSubstr("What was chosen?"));
  EXPECT_THAT(html, HasSubstr("ntk:erf:2</th><td>relevances</td><td>box-cox</td><td>12.5</td><td>-1.25</td>"
                              "<td>chosen</td>"));
  EXPECT_THAT(html, HasSubstr("<p>ntk:erf:2 was preferred.</p>"));
  EXPECT_LT(html.find("bmi</th><td>4</td>"), html.find("age</th><td>0.25</td>"));
  EXPECT_THAT(html, HasSubstr("units of the transformed response"));
  EXPECT_THAT(html, HasSubstr("box-cox, lambda 0.4655"));
}

/// What gradflow train writes, as far as the page reads it.
Json training_document() {
  Json json = {{"gradflow", "0.1.0"},
               {"argv", {"gradflow", "train", "data.csv"}},
               {"options", {{"target", "height"}}},
               {"training",
                {{"outcome", "converged"},
                 {"reason", "least expected error"},
                 {"end", "time"},
                 {"steps", 54},
                 {"time", 34.5},
                 {"start_loss", 0.5},
                 {"loss", 0.2}}},
               {"verdict", {{"lazy", false}, {"sentence", "Training was not lazy from step 2 on."}}},
               {"network", {{"text", "relu:64x2"}, {"parameters", 4929}}},
               {"n", 442},
               {"d", 10},
               {"warnings", Json::array()}};
  for (const int step : {0, 1, 2, 5, 12, 54})
    json["watch"].push_back({{"step", step},
                             {"time", 0.6 * step},
                             {"training_loss", 0.2 + 0.3 / (1 + step)},
                             {"held_out_loss", nullptr},
                             {"kernel_drift", 0.1 * step},
                             {"kernel_alignment", 1.0 / (1.0 + 0.01 * step)},
                             {"distance_from_linearised", 0.02 * step},
                             {"effective_dof", 0.5 * step}});
  return json;
}

TEST_F(HtmlReport, ATrainingHasItsCurvesAndItsRegime) {
  const ReportResult result = report(training_document());

  EXPECT_THAT(result.html,
              HasSubstr("The network was trained for 54 steps, to flow time 34.5 (least expected error), "
                        "and the loss went from 0.5 to 0.2."));
  EXPECT_THAT(result.html, HasSubstr("Training was not lazy from step 2 on."));
  ASSERT_EQ(result.figures.size(), 2u);
  for (const Figure& figure : result.figures) {
    EXPECT_EQ(figure.missing, "") << figure.name;
    EXPECT_EQ(figure.table.rows.size(), 6u) << figure.name;
  }
  const RunDocument run = RunDocument::parse(training_document().dump(), "train.json");
  for (const Chart& chart : {loss_chart(run), regime_chart(run)})
    for (const std::string& script : {chart.wide_script, chart.narrow_script})
      EXPECT_EQ(run_gnuplot("gnuplot", script).warnings, "") << chart.figure.name;
}

TEST_F(HtmlReport, ACrossValidatedTrainingHasTheLossOfTheRowsLeftOut) {
  Json json = training_document();
  json["cross_validation"] = {{"folds", 5},
                              {"unit", "flow time"},
                              {"point", 2.0},
                              {"loss", 0.2},
                              {"standard_error", 0.01},
                              {"points", {0.0, 1.0, 2.0, 4.0}},
                              {"losses", {0.5, 0.3, 0.2, 0.25}}};

  const ReportResult result = report(json);

  ASSERT_EQ(result.figures.size(), 3u);
  EXPECT_THAT(result.html, HasSubstr("How long to train, by rows left out"));
  EXPECT_EQ(result.figures[1].missing, "");
  EXPECT_EQ(result.figures[1].table.rows.size(), 4u);
  EXPECT_THAT(result.figures[1].description,
              HasSubstr("the least is 0.2 (standard error 0.01) at flow time 2"));
  const Chart chart = cross_validation_chart(RunDocument::parse(json.dump(), "train.json"));
  for (const std::string& script : {chart.wide_script, chart.narrow_script})
    EXPECT_EQ(run_gnuplot("gnuplot", script).warnings, "");
}

TEST_F(HtmlReport, ATrainingWithTwinsHasTheFreedomThatItUsed) {
  Json json = training_document();
  json["trained_gcv"] = {{"twins", 3},
                         {"residual_dof", 99},
                         {"unit", "flow time"},
                         {"point", 2.0},
                         {"gcv", 0.2},
                         {"generalised_dof", 20.0},
                         {"generalised_dof_standard_error", 1.5},
                         {"points", {0.0, 1.0, 2.0, 4.0, 8.0}},
                         {"gcvs", {0.5, 0.3, 0.2, 0.25, nullptr}},
                         {"generalised_dofs", {0.0, 10.0, 20.0, 40.0, 99.0}},
                         {"generalised_dof_standard_errors", {0.0, 1.0, 1.5, 2.0, 3.0}},
                         {"mean_squares", {0.5, 0.25, 0.15, 0.1, 0.0}}};

  const ReportResult result = report(json);

  ASSERT_EQ(result.figures.size(), 3u);
  EXPECT_THAT(result.html, HasSubstr("How long to train, by the freedom that training uses"));
  EXPECT_THAT(result.html, HasSubstr("of 99, from twins (standard error 1.5)"));
  EXPECT_EQ(result.figures[1].missing, "");
  ASSERT_EQ(result.figures[1].table.rows.size(), 5u);
  EXPECT_EQ(result.figures[1].table.rows[4][1], "NA");
  EXPECT_THAT(result.figures[1].description,
              HasSubstr("The least is 0.2 at flow time 2, with 20 of 99 degrees of freedom used"));
  const Chart chart = trained_gcv_chart(RunDocument::parse(json.dump(), "train.json"));
  for (const std::string& script : {chart.wide_script, chart.narrow_script})
    EXPECT_EQ(run_gnuplot("gnuplot", script).warnings, "");
}

TEST_F(HtmlReport, ATrainingThatWasNotWatchedSaysSo) {
  Json json = training_document();
  json.erase("watch");
  json["verdict"] = nullptr;

  const ReportResult result = report(json);

  for (const Figure& figure : result.figures) EXPECT_EQ(figure.missing, "the training was not watched");
  EXPECT_THAT(result.html, HasSubstr("is not known: the training was not watched"));
}

}  // namespace
}  // namespace gradflow
