#include <gtest/gtest.h>

#include <cmath>

#include "data/test_support.h"
#include "gradflow/base/error.h"
#include "gradflow/data/class_dataset.h"

namespace gradflow {
namespace {

using Names = std::vector<std::string>;

const DatasetOptions target_y{.target = "y"};

ClassDataset classes_of(const std::string& csv, const DatasetOptions& options = target_y) {
  return make_class_dataset(parse_table(csv, "f.csv"), options);
}

std::string refusal(const std::string& csv, const DatasetOptions& options = target_y) {
  return message_of([&] { classes_of(csv, options); });
}

TEST(ClassDataset, HasLabelsOfTheNamesInOrder) {
  const ClassDataset data = classes_of("a,y\n1,b\n2, a\n3,b\n4,NA\n5,a\n");

  EXPECT_EQ(data.classes, (Names{"a", "b"}));
  EXPECT_EQ(data.labels, (std::vector<Index>{1, 0, 1, 0}));
  EXPECT_EQ(data.data.report.dropped_rows, (std::vector<Index>{4}));
  EXPECT_EQ(data.data.recipe.target_center, 0.0);
  EXPECT_EQ(data.data.recipe.target_scale, 1.0);
}

TEST(ClassDataset, ComparesNumbersByValue) {
  const ClassDataset data = classes_of("a,y\n1,10\n2,9.0\n3,9\n4,1e1\n5,-0\n6,0\n");

  EXPECT_EQ(data.classes, (Names{"0", "9", "10"}));
  EXPECT_EQ(data.labels, (std::vector<Index>{2, 1, 1, 2, 0, 0}));
}

TEST(ClassDataset, OfArraysIsThatOfTheTable) {
  Matrix X(4, 1);
  X << 1, 2, 3, 4;
  Vector y(4);
  y << 2, 1, 1, 2;

  const ClassDataset data = make_class_dataset(X, y, {}, "X.npy", "y.npy");

  EXPECT_EQ(data.classes, (Names{"1", "2"}));
  EXPECT_EQ(data.labels, (std::vector<Index>{1, 0, 0, 1}));
  EXPECT_EQ(data.data.X, classes_of("x1,y\n1,2\n2,1\n3,1\n4,2\n").data.X);
}

TEST(ClassDataset, KeepsCopiesOnceUnlessTheClassDiffers) {
  const std::string csv = "a,y\n1,p\n1,p\n1,q\n2,q\n3,p\n";

  EXPECT_EQ(classes_of(csv).labels, (std::vector<Index>{0, 1, 1, 0}));
  EXPECT_EQ(classes_of(csv, {.target = "y", .copies = CopiesPolicy::all}).labels.size(), 5u);
}

TEST(ClassDataset, RefusesWhatIsNoClassification) {
  EXPECT_EQ(refusal("a,y\n1,p\n2,p\n"),
            "f.csv, column 'y': every row is of class 'p'; at least 2 classes are required");
  EXPECT_EQ(refusal("a,y\n1,p\n2,p\n3,q\n"),
            "f.csv, column 'y': class 'q' has 1 row of the 3 rows used; each class must have at least 2");
  EXPECT_EQ(refusal("a,b,y\n1,1,p\n2,2,p\n3,3,q\n4,,q\n5,5,p\n"),
            "f.csv, column 'y': class 'q' has 1 row of the 4 rows used; each class must have at least 2");
  EXPECT_EQ(refusal("a,y\n1,p\n,q\n2,p\n,q\n"),
            "f.csv, column 'y': the response is 'p' in all 2 rows used; there is nothing to learn");
  EXPECT_EQ(refusal("a,y\n1,NA\n2,\n"), "f.csv, column 'y': every value of the response is missing");
  EXPECT_EQ(refusal("a,b,y\n1,1,p\n2,2,q\n", {.target = "y", .row_weights = "b"}),
            "--row-weights 'b': weights divide a noise variance, and classes have none");
  EXPECT_EQ(
      refusal("a,b,y\n1,1,p\n2,2,q\n", {.target = "y", .covariates = {"b"}}),
      "--covariates: class probabilities have no fixed effects beside an intercept for each class; leave "
      "the columns among the features, or out with --exclude");
}

TEST(ClassDataset, RefusesAHundredClasses) {
  const auto table = [](int classes) {
    std::string csv = "a,y\n";
    for (int i = 0; i < 2 * classes; ++i) csv += fmt::format("{},{}\n", i, i % classes);
    return csv;
  };

  EXPECT_EQ(classes_of(table(99)).classes.size(), 99u);
  EXPECT_EQ(refusal(table(100)), "f.csv, column 'y': 100 classes in 200 rows; at most 99 are possible");
}

}  // namespace
}  // namespace gradflow
