#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cmath>
#include <sstream>

#include "cli/run_program.h"
#include "gradflow/base/random.h"
#include "support/json.h"

namespace gradflow::cli_test {
namespace {

using nlohmann::json;

/// Three classes whose centres lie 2 sqrt(3) apart in the plane, with unit normal noise: the best rule, the
/// nearest centre, errs in about 6 % of the rows.
std::string three_classes_at_sites(Index n, std::uint64_t seed) {
  constexpr const char* names[] = {"\"elm, wych\"", "ash", "beech"};
  RandomStream random(seed, "three classes");
  std::string text = "id,x1,x2,site,kind\n";
  for (Index i = 0; i < n; ++i) {
    const double angle = 2.0 * 3.14159265358979 / 3.0 * static_cast<double>(i % 3);
    text +=
        fmt::format("t{},{},{},{},{}\n", i + 1, 2.0 * std::cos(angle) + random.normal(),
                    2.0 * std::sin(angle) + random.normal(), i % 2 == 0 ? "north" : "south", names[i % 3]);
  }
  return text;
}

class Classes : public testing::Test {
 protected:
  void SetUp() override {
    folder.write("train.csv", three_classes_at_sites(150, 1));
    folder.write("new.csv", three_classes_at_sites(300, 2));
  }

  ProgramResult run(const Words& arguments) const { return run_program(folder.path(), arguments); }
  std::string refusal(const Words& arguments) const {
    const ProgramResult result = run(arguments);
    EXPECT_EQ(result.exit_code, 2);
    EXPECT_EQ(result.out, "");
    return result.err;
  }
  Words fit(const Words& more = {}) const {
    Words words{"fit", "train.csv", "--target", "kind", "--classes", "--id", "id", "-o", "m.gf"};
    words.insert(words.end(), more.begin(), more.end());
    return words;
  }

  TemporaryFolder folder;
};

struct PredictedClass {
  std::string id, most_probable;
  std::vector<double> p;
};

// The fields of a CSV line, quotes removed.
Words fields_of(const std::string& line) {
  Words fields(1);
  bool quoted = false;
  for (const char c : line) {
    if (c == '"')
      quoted = !quoted;
    else if (c == ',' && !quoted)
      fields.emplace_back();
    else
      fields.back() += c;
  }
  return fields;
}

std::vector<PredictedClass> parse_rows(const std::string& csv) {
  std::istringstream lines(csv);
  std::string line;
  std::getline(lines, line);
  EXPECT_EQ(line, "id,class,p_ash,p_beech,\"p_elm, wych\"");
  std::vector<PredictedClass> rows;
  while (std::getline(lines, line)) {
    const Words fields = fields_of(line);
    rows.push_back({fields.at(0), fields.at(1), {}});
    for (std::size_t c = 2; c < fields.size(); ++c)
      rows.back().p.push_back(fields[c] == "NA" ? std::nan("") : std::stod(fields[c]));
  }
  return rows;
}

TEST_F(Classes, AreFittedAndPredictedAsWellAsTheBestRuleNearly) {
  for (const char* method : {"one-hot", "laplace"}) {
    ASSERT_EQ(run(fit({"--method", method, "--json", "run.json"})).exit_code, 0);
    ASSERT_EQ(run({"predict", "m.gf", "new.csv", "-o", "p.csv"}).exit_code, 0);

    const std::vector<PredictedClass> rows = parse_rows(folder.read("p.csv"));
    ASSERT_EQ(rows.size(), 300u);
    const char* truth[] = {"elm, wych", "ash", "beech"};
    int right = 0;
    for (std::size_t i = 0; i < rows.size(); ++i) {
      EXPECT_NEAR(rows[i].p[0] + rows[i].p[1] + rows[i].p[2], 1.0, 1e-12);
      right += rows[i].most_probable == truth[i % 3];
    }
    EXPECT_EQ(rows.front().id, "t1");
    // The best rule: 94 %, of 300 rows with standard deviation 1.4 %; three of these and 3 % for learning.
    EXPECT_GT(right, 300 * (0.94 - 0.03 - 0.042)) << method;

    const json report = parse_json(folder.read("run.json"));
    EXPECT_LT(report["test"]["p_value"].get<double>(), 1e-10);
    EXPECT_GT(report["leave_one_out"]["accuracy"].get<double>(), 0.86);
    EXPECT_LT(report["leave_one_out"]["log_loss"].get<double>(),
              report["class_frequencies"]["log_loss"].get<double>());
    EXPECT_EQ(report["classes"].size(), 3u);
    double count = 0.0;
    for (const json& bin : report["reliability"]["bins"]) count += bin["count"].get<double>();
    EXPECT_EQ(count, 150.0);
  }
}

TEST_F(Classes, ReportWhatTheyKnow) {
  const ProgramResult result = run(fit());

  EXPECT_NE(result.out.find("Training is warranted: p = "), std::string::npos) << result.out;
  EXPECT_NE(result.out.find("Stop gradient flow on the classes' indicators at t = "), std::string::npos);
  EXPECT_NE(result.out.find("Model written to m.gf."), std::string::npos);
  EXPECT_NE(result.out.find("elm, wych"), std::string::npos);
  EXPECT_EQ(run({"stop", "train.csv", "--target", "kind", "--classes", "--id", "id"}).exit_code, 0);
  const ProgramResult test = run({"test", "train.csv", "--target", "kind", "--classes", "--id", "id"});
  EXPECT_EQ(test.exit_code, 0) << test.err;
  EXPECT_EQ(test.out.find("Stop gradient flow"), std::string::npos);
}

TEST_F(Classes, OfARowThatLacksAFeatureAreNotPredicted) {
  ASSERT_EQ(run(fit()).exit_code, 0);
  folder.write("some.csv", "id,x1,x2,site\na,1,2,north\nb,NA,2,south\n");

  const ProgramResult result = run({"predict", "m.gf", "some.csv"});

  EXPECT_EQ(result.exit_code, 0);
  const std::vector<PredictedClass> rows = parse_rows(result.out);
  ASSERT_EQ(rows.size(), 2u);
  EXPECT_EQ(rows[1].most_probable, "NA");
  EXPECT_TRUE(std::isnan(rows[1].p[0]));
}

TEST_F(Classes, RefuseWhatTheyDoNotHave) {
  folder.write("few.csv", "x,y\n1,a\n2,a\n3,b\n4,c\n5,c\n");
  folder.write("one.csv", "x,y\n1,a\n2,a\n");
  const Words few{"fit", "few.csv", "--target", "y", "-o", "m.gf"};
  const auto with = [&few](const Words& more) {
    Words words = few;
    words.insert(words.end(), more.begin(), more.end());
    return words;
  };

  EXPECT_EQ(
      refusal(with({})),
      "gradflow: error: few.csv, line 2, column 'y': 'a' is not a number; the response must be numeric, "
      "or a class with --classes\n");
  EXPECT_EQ(
      refusal(with({"--classes"})),
      "gradflow: error: few.csv, column 'y': class 'b' has 1 row of the 5 rows used; each class must have "
      "at least 2\n");
  EXPECT_EQ(refusal({"fit", "one.csv", "--target", "y", "--classes", "-o", "m.gf"}),
            "gradflow: error: one.csv, column 'y': every row is of class 'a'; at least 2 classes are "
            "required\n");
  EXPECT_EQ(refusal(with({"--classes", "--rule", "loo"})), "gradflow: error: --rule is not for --classes\n");
  EXPECT_EQ(refusal(with({"--classes", "--path", "decay"})),
            "gradflow: error: --path is not for --classes\n");
  EXPECT_EQ(refusal(with({"--method", "laplace"})),
            "gradflow: error: --method is for classes: give --classes too\n");
  EXPECT_EQ(refusal(with({"--classes", "--method", "svm"})),
            "gradflow: error: --method svm: must be one-hot or laplace\n");
  EXPECT_EQ(refusal(with({"--classes", "--kernel-grid", "--sb2", "1"})),
            "gradflow: error: --kernel-grid and --sb2: give one, the grid has kernels of its own\n");
  EXPECT_NE(refusal({"fit", "few.csv", "--target", "kind", "--classes", "-o", "m.gf"}).find("kind"),
            std::string::npos);
  EXPECT_FALSE(folder.exists("m.gf"));
}

TEST_F(Classes, ModelRefusesOptionsOfOtherModels) {
  ASSERT_EQ(run(fit()).exit_code, 0);

  EXPECT_EQ(
      refusal({"predict", "m.gf", "new.csv", "--level", "0.9"}),
      "gradflow: error: --level: the predictions of 'm.gf' are class probabilities, without intervals\n");
  EXPECT_EQ(refusal({"predict", "m.gf"}),
            "gradflow: error: no new rows: give a table NEW.csv or --features NEW.npy\n");
}

std::string table_of_targets() {
  RandomStream random(3, "targets");
  std::string text = "x1,x2,a,b,c\n";
  for (int i = 0; i < 60; ++i) {
    const double x1 = random.normal(), x2 = random.normal();
    text += fmt::format("{},{},{},5,{}\n", x1, x2, std::sin(x1) + 0.1 * random.normal(),
                        3.0 * x2 + 0.1 * random.normal());
  }
  return text;
}

TEST_F(Classes, SeveralTargetsAreFittedOneByOne) {
  folder.write("targets.csv", table_of_targets());
  const Words all{"targets.csv", "--target", "a,b,c", "-o", "m.gf", "--json", "all.json"};
  Words fit_all = all;
  fit_all.insert(fit_all.begin(), "fit");

  const ProgramResult result = run(fit_all);

  EXPECT_EQ(result.exit_code, 3);
  EXPECT_NE(result.err.find("gradflow: error: b: targets.csv, column 'b': the response is 5 in all 60 rows"),
            std::string::npos)
      << result.err;
  EXPECT_NE(result.err.find("gradflow: no usable result for 1 of 3 targets: b\n"), std::string::npos);
  EXPECT_TRUE(folder.exists("m.a.gf"));
  EXPECT_FALSE(folder.exists("m.b.gf"));
  EXPECT_TRUE(folder.exists("m.c.gf"));
  EXPECT_FALSE(folder.exists("m.gf"));
  const json report = parse_json(folder.read("all.json"));
  EXPECT_EQ(report["targets"]["a"]["encoding"]["features"], (json{"x1", "x2"}));
  EXPECT_TRUE(report["targets"]["b"]["error"].is_string());

  // Each is what it would be alone.
  ASSERT_EQ(run({"stop", "targets.csv", "--target", "c", "--exclude", "a,b", "--json", "c.json"}).exit_code,
            0);
  const json alone = parse_json(folder.read("c.json"));
  EXPECT_EQ(report["targets"]["c"]["chosen"], alone["chosen"]);
  EXPECT_EQ(report["targets"]["c"]["test"], alone["test"]);
}

TEST_F(Classes, SeveralTargetsAreUsableWhereEachIs) {
  folder.write("targets.csv", table_of_targets());

  const ProgramResult both = run({"test", "targets.csv", "--target", "a,c", "--exclude", "b"});

  EXPECT_EQ(both.exit_code, 0) << both.err;
  EXPECT_NE(both.out.find("== a ==\n"), std::string::npos);
  EXPECT_NE(both.out.find("target"), std::string::npos);
  EXPECT_EQ(refusal({"test", "targets.csv", "--target", "a,a"}),
            "gradflow: error: --target a,a: 'a' is named twice; once is enough\n");
  EXPECT_EQ(run({"stop", "targets.csv", "--target", "b,nowhere"}).exit_code, 2);
}

TEST_F(Classes, ATargetWithACommaInItsNameIsOne) {
  folder.write("comma.csv", "x,\"a,b\"\n1,2\n2,4\n3,5\n4,9\n5,9\n6,13\n");

  const ProgramResult result = run({"test", "comma.csv", "--target", "a,b"});

  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_EQ(result.out.find("=="), std::string::npos);
}

}  // namespace
}  // namespace gradflow::cli_test
