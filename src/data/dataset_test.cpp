#include "gradflow/data/dataset.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "base/special_values.h"
#include "data/test_support.h"
#include "support/reference.h"

namespace gradflow {
namespace {

using Names = std::vector<std::string>;
using Rows = std::vector<Index>;

Dataset dataset(const std::string& csv, DatasetOptions options = {}) {
  if (options.target.empty()) options.target = "y";
  return make_dataset(parse_table(csv, "f.csv"), options);
}

Names names_of(const std::vector<EncodedColumn>& columns) {
  Names names;
  for (const EncodedColumn& column : columns) names.push_back(column.name);
  return names;
}

// Raw values: the standardisation undone.
Vector raw(const Matrix& encoded, const std::vector<EncodedColumn>& columns, Index j) {
  const EncodedColumn& column = columns[static_cast<std::size_t>(j)];
  return column.center + column.scale * encoded.col(j).array();
}

TEST(MakeDataset, StandardisesByMeanAndSampleDeviationAndUndoesIt) {
  const Dataset data = dataset("a,b,y\n1,10,2\n2,10.5,4\n3,30,9\n6,-7,11\n");

  ASSERT_EQ(names_of(data.recipe.features), (Names{"a", "b"}));
  for (Index j = 0; j < 2; ++j) {
    EXPECT_NEAR(data.X.col(j).mean(), 0.0, 1e-15);
    EXPECT_NEAR(data.X.col(j).squaredNorm() / 3.0, 1.0, 1e-14);
  }
  EXPECT_DOUBLE_EQ(data.recipe.features[0].center, 3.0);
  EXPECT_DOUBLE_EQ(data.recipe.features[0].scale, std::sqrt(14.0 / 3.0));
  EXPECT_TRUE(raw(data.X, data.recipe.features, 1).isApprox(Eigen::Vector4d(10, 10.5, 30, -7), 1e-15));
  EXPECT_TRUE(unstandardize_response(data.recipe, data.y).isApprox(Eigen::Vector4d(2, 4, 9, 11), 1e-15));
  EXPECT_EQ(data.recipe.target_center, 6.5);
  EXPECT_EQ(data.Z.rows(), 4);
  EXPECT_EQ(data.Z.cols(), 0);
}

TEST(MakeDataset, StandardisationPoliciesLeaveAloneWhatTheySay) {
  const std::string csv = "a,c,y\n1,5,2\n2,6,4\n6,9,9\n7,1,0\n";
  const Dataset features = dataset(csv, {.covariates = {"c"}, .standardize = Standardize::features});
  const Dataset none = dataset(csv, {.covariates = {"c"}, .standardize = Standardize::none});

  EXPECT_EQ(features.y, Eigen::Vector4d(2, 4, 9, 0));
  EXPECT_NEAR(features.X.mean(), 0.0, 1e-15);
  EXPECT_NEAR(features.Z.mean(), 0.0, 1e-15);
  EXPECT_EQ(none.y, Eigen::Vector4d(2, 4, 9, 0));
  EXPECT_EQ(none.X.col(0), Eigen::Vector4d(1, 2, 6, 7));
  EXPECT_EQ(none.Z.col(0), Eigen::Vector4d(5, 6, 9, 1));
  EXPECT_EQ(none.recipe.features[0].scale, 1.0);
  EXPECT_EQ(none.recipe.target_center, 0.0);
}

TEST(MakeDataset, EncodesTextOneIndicatorPerLevelInSortedOrder) {
  const Dataset data =
      dataset("city,y\nRome,1\n Paris ,2\nOslo,3\nRome,4\n", {.standardize = Standardize::none});

  EXPECT_EQ(names_of(data.recipe.features), (Names{"city=Oslo", "city=Paris", "city=Rome"}));
  Matrix expected(4, 3);
  expected << 0, 0, 1, 0, 1, 0, 1, 0, 0, 0, 0, 1;
  EXPECT_EQ(data.X, expected);
  EXPECT_EQ(data.recipe.columns[0].levels, (Names{"Oslo", "Paris", "Rome"}));
}

TEST(MakeDataset, CategoricalCovariateDropsItsFirstLevel) {
  const Dataset data = dataset("city,x,y\nRome,1,1\nParis,2,2\nOslo,3,4\nRome,4,8\nOslo,9,3\n",
                               {.covariates = {"city"}, .standardize = Standardize::none});

  EXPECT_EQ(names_of(data.recipe.covariates), (Names{"city=Paris", "city=Rome"}));
  EXPECT_EQ(names_of(data.recipe.features), Names{"x"});
  Matrix with_intercept(5, 3);
  with_intercept << Vector::Ones(5), data.Z;
  EXPECT_EQ(reference::rank(with_intercept), 3);
}

TEST(MakeDataset, NumericCodesAreCategoriesWhenNamed) {
  const Dataset data = dataset("zone,x,y\n1,1,1\n2,2,3\n1,3,2\n2,4,9\n", {.categorical = {"#1"}});

  EXPECT_EQ(names_of(data.recipe.features), (Names{"zone=1", "zone=2", "x"}));
  EXPECT_EQ(data.recipe.options.categorical, Names{"zone"});
}

TEST(MakeDataset, ColumnsTakeTheRolesTheyAreGiven) {
  const Dataset data = dataset("id,a,b,c,skip,y\np1,1,2,9,0,1\np2,3,5,8,1,2\np3,2,1,3,0,4\np4,5,5,1,1,0\n",
                               {.target = "#6", .covariates = {"c"}, .exclude = {"skip"}, .id = "id"});
  EXPECT_EQ(names_of(data.recipe.features), (Names{"a", "b"}));
  EXPECT_EQ(names_of(data.recipe.covariates), Names{"c"});
  EXPECT_EQ(data.ids, (Names{"p1", "p2", "p3", "p4"}));
  EXPECT_EQ(data.recipe.options.target, "y");
  EXPECT_EQ(data.recipe.input_columns, (Names{"id", "a", "b", "c", "skip", "y"}));

  const Dataset both =
      dataset("a,b,y\n1,2,1\n2,1,3\n3,3,2\n5,1,1\n", {.covariates = {"a"}, .features = {"a", "b"}});
  EXPECT_EQ(names_of(both.recipe.features), (Names{"a", "b"}));
  EXPECT_EQ(both.X.col(0), both.Z.col(0));
}

TEST(MakeDataset, DropsAndCountsRowsWithMissingValues) {
  const Dataset data = dataset("a,b,y\n1,x,1\nNA,x,2\n3,,3\n4,z,\n5,z,5\n7,x,4\n,NaN,NA\n");

  EXPECT_EQ(data.report.rows_read, 7);
  EXPECT_EQ(data.report.rows_used, 3);
  EXPECT_EQ(data.report.dropped_rows, (Rows{2, 3, 4, 7}));
  EXPECT_EQ(data.report.missing_cells, 6);
  EXPECT_EQ(data.ids, (Names{"1", "5", "6"}));
  EXPECT_EQ(data.report.warnings,
            Names{"More than half of the rows of f.csv (4 of 7) were dropped because of missing values."});
}

TEST(MakeDataset, MeanPolicyFillsInputsAndDropsMissingResponses) {
  const Dataset data = dataset("a,b,y\n1,x,1\nNA,x,2\n4,,3\n9,z,\n",
                               {.missing = MissingPolicy::mean, .standardize = Standardize::none});

  EXPECT_EQ(data.report.rows_used, 3);
  EXPECT_EQ(data.report.dropped_rows, Rows{4});
  EXPECT_EQ(data.report.missing_cells, 3);
  EXPECT_EQ(data.X.col(0), Eigen::Vector3d(1, 2.5, 4));
  EXPECT_EQ(data.recipe.columns[0].fill, 2.5);
  EXPECT_EQ(data.report.removed_constant, Names{"b=x"});
}

TEST(MakeDataset, MeanPolicyGivesAMissingCategoryTheTrainingShares) {
  const Dataset data = dataset("b,y\nx,1\nx,2\nz,4\nNA,3\n",
                               {.missing = MissingPolicy::mean, .standardize = Standardize::none});

  EXPECT_TRUE(data.X.row(3).isApprox(Eigen::RowVector2d(2.0 / 3.0, 1.0 / 3.0), 1e-15));
}

TEST(MakeDataset, RemovesAndNamesConstantColumnsWhoseMissingCellsCostNoRows) {
  const Dataset data =
      dataset("a,flat,city,near,y\n1,5,Rome,1,1\n2,NA,Rome,1.0000000000000002,2\n3,5,Rome,1,4\n");

  EXPECT_EQ(names_of(data.recipe.features), Names{"a"});
  EXPECT_EQ(data.report.removed_constant, (Names{"flat", "city=Rome", "near"}));
  EXPECT_EQ(data.report.rows_used, 3);
  EXPECT_EQ(data.recipe.columns.size(), 1U);
}

TEST(MakeDataset, KeepsCopiesOnceAndCountsDuplicatesExactly) {
  const std::string text = "a,b,y\n1,2,1\n1,2,1\n1,2,3\n2,1,1\n-0,5,1\n0,5,1\n1,2,1\n";
  const Dataset once = dataset(text);

  EXPECT_EQ(once.report.duplicate_rows, 3);
  EXPECT_EQ(once.report.duplicate_inputs, 4);
  EXPECT_EQ(once.report.dropped_copies, (std::vector<Index>{2, 6, 7}));
  EXPECT_EQ(once.report.rows_used, 4);
  EXPECT_EQ(once.ids, (Names{"1", "3", "4", "5"}));
  EXPECT_NEAR(once.recipe.target_center, 1.5, 1e-15) << "the mean of the rows kept";

  DatasetOptions keep;
  keep.target = "y";
  keep.copies = CopiesPolicy::all;
  const Dataset all = make_dataset(parse_table(text, "DATA.csv"), keep);
  EXPECT_EQ(all.report.duplicate_rows, 3);
  EXPECT_EQ(all.report.rows_used, 7);
  EXPECT_TRUE(all.report.dropped_copies.empty());
}

TEST(MakeDataset, RowWeightsHaveMeanOneAndMustBePositive) {
  DatasetOptions options;
  options.target = "y";
  options.row_weights = "w";
  const Dataset data = make_dataset(parse_table("a,w,y\n1,2,1\n2,NA,5\n3,6,2\n4,4,4\n", "DATA.csv"), options);

  EXPECT_EQ(names_of(data.recipe.features), Names{"a"});
  EXPECT_EQ(data.report.dropped_rows, std::vector<Index>{2});
  EXPECT_TRUE(data.weights.isApprox(Vector{{0.5, 1.5, 1.0}}, 1e-15));
  try {
    make_dataset(parse_table("a,w,y\n1,2,1\n2,0,5\n", "DATA.csv"), options);
    ADD_FAILURE();
  } catch (const InputError& error) {
    EXPECT_STREQ(error.what(), "DATA.csv, line 3, column 'w': the weight is 0; it must be > 0");
  }
}

TEST(MakeDataset, CopiesOfAnotherWeightAreReplicates) {
  DatasetOptions options;
  options.target = "y";
  options.row_weights = "w";
  const Dataset data = make_dataset(parse_table("a,w,y\n1,1,1\n1,2,1\n3,1,2\n", "DATA.csv"), options);

  EXPECT_EQ(data.report.duplicate_rows, 0);
  EXPECT_EQ(data.report.duplicate_inputs, 1);
}

TEST(MergeReplicates, MakesWeightedMeansAndTheWithinGroupSumOfSquares) {
  DatasetOptions options;
  options.target = "y";
  options.row_weights = "w";
  options.standardize = Standardize::none;
  Dataset data = make_dataset(
      parse_table("a,b,w,y\n1,0,1,2\n2,0,1,7\n1,0,3,6\n2,1,1,9\n2,0,1,8\n1,0,1,0\n", "DATA.csv"), options);
  const double unit = 6.0 / 8.0;  // weights are scaled to mean 1
  const WithinGroups within = merge_replicates(data);

  EXPECT_EQ(within.dof, 3);
  // group (1, 0): weights 1, 3, 1, responses 2, 6, 0, mean 4; group (2, 0): 7 and 8
  EXPECT_NEAR(within.squares, unit * (4.0 + 3.0 * 4.0 + 16.0 + 0.5), 1e-13);
  EXPECT_TRUE(data.y.isApprox(Vector{{4.0, 7.5, 9.0}}, 1e-15));
  EXPECT_TRUE(data.weights.isApprox(unit * Vector{{5.0, 2.0, 1.0}}, 1e-15));
  EXPECT_EQ(data.X.rows(), 3);
  EXPECT_EQ(data.ids, (Names{"1", "2", "4"}));
  EXPECT_EQ(data.report.merged_rows, 3);
  EXPECT_NEAR(data.report.pure_error_sd, std::sqrt(within.squares / 3.0), 1e-15);
}

TEST(MergeReplicates, LeavesDistinctRowsAlone) {
  Dataset data = dataset("a,y\n1,2\n2,1\n3,5\n");
  const Vector y = data.y;

  EXPECT_EQ(merge_replicates(data).dof, 0);
  EXPECT_EQ(data.y, y);
  EXPECT_EQ(data.weights.size(), 0);
  EXPECT_TRUE(std::isnan(data.report.pure_error_sd));
}

TEST(MakeDataset, ScalesFromTinyToHugeKeepTheirShape) {
  const Dataset data = dataset("a,b,y\n1e-200,1e150,1\n2e-200,-1e150,2\n4e-200,0,4\n");

  EXPECT_NEAR(data.X.col(0).squaredNorm() / 2.0, 1.0, 1e-14);
  EXPECT_NEAR(data.X.col(1).squaredNorm() / 2.0, 1.0, 1e-14);
}

struct Case {
  std::string csv;
  DatasetOptions options;
  std::string message;
};

void expect_messages(const std::vector<Case>& cases) {
  for (const Case& c : cases) EXPECT_EQ(message_of([&] { dataset(c.csv, c.options); }), c.message);
}

TEST(MakeDataset, RefusesRolesThatContradictEachOther) {
  const std::string plain = "a,b,y\n1,2,1\n2,1,2\n4,7,0\n";
  expect_messages({
      {plain, {.target = "z"}, "--target 'z': f.csv has no such column; its columns are a, b, y"},
      {plain,
       {.covariates = {"y"}},
       "--covariates 'y': the column is already named in --target; it can have one role"},
      {plain,
       {.features = {"a", "y"}},
       "--columns 'y': the column is already named in --target; it can have one role"},
      {plain, {.id = "y"}, "--id 'y': the column is already named in --target; it can have one role"},
      {plain,
       {.exclude = {"#3"}},
       "--exclude '#3': the column is already named in --target; it can have one role"},
      {plain, {.features = {"a", "a"}}, "--columns 'a': the column is named twice; once is enough"},
      {plain,
       {.categorical = {"y"}},
       "--categorical 'y': the response must be numeric, or a class with --classes"},
      {plain, {.exclude = {"a", "b"}}, "f.csv: no feature columns are left; at least one is required"},
  });
  EXPECT_EQ(message_of([&] { make_dataset(parse_table(plain, "f.csv"), {}); }),
            "--target: the response column of f.csv must be named; its columns are a, b, y");
}

TEST(MakeDataset, NamesTheCellThatIsNotANumber) {
  expect_messages({
      {"a,y\n1,2\n2,yes\n",
       {},
       "f.csv, line 3, column 'y': 'yes' is not a number; the response must be numeric, or a class with "
       "--classes"},
      {"a,y\n1,3\n2,3\n5,3\n",
       {},
       "f.csv, column 'y': the response is 3 in all 3 rows used; there is nothing to learn"},
      {"a,y\n1,\n2,NA\n", {}, "f.csv, column 'y': every value of the response is missing"},
      {"a,b,y\n1,NA,1\n2,,2\n",
       {},
       "f.csv, column 'b': every value is missing; leave the column out with --exclude"},
      {"a,b,y\n1,,1\n2,,2\n5,p,\n5,q,\n",
       {.missing = MissingPolicy::mean},
       "f.csv, column 'b': every value is missing in the rows that have a response; leave the column out "
       "with "
       "--exclude"},
      {"lcb,y\n1,2\n\"x\ny\",3\n3,4\n",
       {},
       "f.csv, line 3, column 'lcb': 'x\\ny' is not a number; name the column in --categorical if its values "
       "are "
       "categories"},
      {"a,y\nabc,2\n2,3\n3,4\n",
       {},
       "f.csv, line 2, column 'a': 'abc' is not a number; name the column in --categorical if its values are "
       "categories"},
      {"a,y\n1,2\ninf,3\n3,4\n",
       {},
       "f.csv, line 3, column 'a': 'inf' is not a finite number; every value must be finite or missing"},
      {"a,y\ninf,2\n-inf,3\n",
       {},
       "f.csv, line 2, column 'a': 'inf' is not a finite number; every value must be finite or missing"},
      {"a,y\n1,2\n2,inf\n",
       {},
       "f.csv, line 3, column 'y': 'inf' is not a finite number; every value must be finite or missing"},
      {"a,y\n1,2\n-1e151,3\n",
       {},
       "f.csv, line 3, column 'a': '-1e151' exceeds 1e150 in magnitude; rescale the column"},
      {"a;y\n1,5;2\n2,5;3\n",
       {},
       "f.csv, line 2, column 'a': '1,5' has a comma where a number has a decimal point; name the column in "
       "--categorical if its values are categories"},
  });
}

TEST(MakeDataset, NamesWhatIsMissingOrTooFewOrTooMany) {
  std::string levels = "a,y\n";
  for (int i = 0; i < 2004; ++i) levels += fmt::format("c{},{}\n", i / 2, i);
  expect_messages({
      {"a,y\n1,2\n,3\n3,4\n",
       {.missing = MissingPolicy::error},
       "f.csv, line 3, column 'a': the value is missing; --missing drop leaves such rows out, --missing mean "
       "fills "
       "them in"},
      {"a,y\n1,2\n2,\n3,4\n",
       {.missing = MissingPolicy::error},
       "f.csv, line 3, column 'y': the value is missing; --missing drop leaves such rows out, --missing mean "
       "fills "
       "them in"},
      {"a,b,y\n1,2,2\n",
       {.missing = MissingPolicy::error},
       "f.csv: 1 row to learn from; at least 2 are required"},
      {"a,b,y\n1,,2\n2,3,3\n,5,3\n",
       {},
       "f.csv: 1 row to learn from after dropping 2 with missing values; at least 2 are required"},
      {"a,b,y\n1,x,2\n1,x,3\n",
       {},
       "f.csv: every feature column is constant (a, b=x); at least one must vary"},
      {"who,y\nann,1\nbob,2\ncid,3\n",
       {},
       "f.csv, column 'who': a different category in each of 3 rows, as an identifier has; name it in --id "
       "or "
       "--exclude"},
      {levels,
       {},
       "f.csv, column 'a': 1002 categories, and at most 1000 are encoded; name it in --id or --exclude"},
      {"a,c,y\n1,5,2\n2,3,4\n",
       {.covariates = {"c"}},
       "f.csv: 2 rows for 1 covariate and an intercept; more rows are required"},
  });
}

TEST(MakeDataset, ATextColumnMayHoldTheWordInf) {
  EXPECT_EQ(dataset("a,y\ninf,1\nsup,2\nsup,3\n").X.cols(), 2);
}

TEST(MakeDatasetFromArrays, EqualsTheSameNumbersFromATable) {
  Matrix X(5, 2);
  X << 1, 2, 3, not_a_number, 5, 1, 0, 0, 2, 9;
  Vector y(5);
  y << 1, 2, 4, not_a_number, 3;
  const Dataset arrays = make_dataset(X, y, {}, "X.npy", "y.npy");
  const Dataset table = dataset("x1,x2,y\n1,2,1\n3,NA,2\n5,1,4\n0,0,\n2,9,3\n");

  EXPECT_EQ(arrays.X, table.X);
  EXPECT_EQ(arrays.y, table.y);
  EXPECT_EQ(arrays.ids, table.ids);
  EXPECT_EQ(arrays.report.dropped_rows, (Rows{2, 4}));
  EXPECT_EQ(arrays.recipe.options.target, "y.npy");
  EXPECT_EQ(names_of(arrays.recipe.features), (Names{"x1", "x2"}));
}

TEST(MakeDatasetFromArrays, TakesCovariatesIdentifiersAndCategoriesByName) {
  Matrix X(5, 4);
  X << 1, 7, 100, 1, 2, 7, 101, 2, 3, 8, 102, 0, 5, 8, 103, 5, 8, 7, 104, 4;
  const Dataset data =
      make_dataset(X, Vector::LinSpaced(5, 0, 1), {.covariates = {"x4"}, .categorical = {"x2"}, .id = "#3"},
                   "X.npy", "y.npy");

  EXPECT_EQ(names_of(data.recipe.features), (Names{"x1", "x2=7", "x2=8"}));
  EXPECT_EQ(names_of(data.recipe.covariates), Names{"x4"});
  EXPECT_EQ(data.ids, (Names{"100", "101", "102", "103", "104"}));
}

TEST(MakeDatasetFromArrays, KeepsAllOfAnArrayAndScalesItByChannel) {
  Matrix X = Matrix::Random(9, 12);  // 2 channels of 2 x 3
  X.leftCols(6) = 5.0 + 3.0 * X.leftCols(6).array();
  X.col(1).setConstant(7.0);
  const Dataset data =
      make_dataset(X, Vector::LinSpaced(9, 0, 1), {.feature_shape = {2, 2, 3}}, "X.npy", "y.npy");

  ASSERT_EQ(data.X.cols(), 12);
  EXPECT_TRUE(data.report.removed_constant.empty());
  for (const Index channel : {0, 1}) {
    const auto block = data.X.middleCols(6 * channel, 6);
    EXPECT_NEAR(block.mean(), 0.0, 1e-14);
    EXPECT_NEAR(block.squaredNorm(), 53.0, 1e-12);  // 54 numbers of variance 1
    const EncodedColumn& encoded = data.recipe.features[static_cast<std::size_t>(6 * channel)];
    EXPECT_LT((block * encoded.scale + Matrix::Constant(9, 6, encoded.center) - X.middleCols(6 * channel, 6))
                  .norm(),
              1e-13);
  }
  EXPECT_EQ(encode(data.recipe, X, "new.npy").X, data.X);
}

TEST(MakeDatasetFromArrays, ArraysThatDoNotFitAreRefused) {
  const Matrix X = Matrix::Random(9, 12);
  const auto message = [](const Matrix& features, std::vector<Index> shape) {
    return message_of([&] {
      make_dataset(features, Vector::LinSpaced(9, 0, 1), {.feature_shape = std::move(shape)}, "X.npy",
                   "y.npy");
    });
  };
  EXPECT_EQ(message(X, {3, 2, 3}),
            "X.npy: 12 features, and the network takes arrays of shape 3 x 2 x 3, 18 "
            "numbers");
  EXPECT_EQ(message(Matrix::Ones(9, 12), {2, 6}),
            "X.npy: all arrays are the same; at least one entry must vary");
}

TEST(MakeDatasetFromArrays, NamesWhatIsWrong) {
  const Matrix X = Matrix::Identity(3, 3);
  Matrix infinite = X;
  infinite(1, 2) = std::numeric_limits<double>::infinity();
  const auto message = [](const Matrix& features, const Vector& response) {
    return message_of([&] { make_dataset(features, response, {}, "X.npy", "y.npy"); });
  };
  EXPECT_EQ(message(X, Vector::LinSpaced(4, 0, 1)),
            "X.npy has 3 rows, but y.npy has 4 values; they must be equal");
  EXPECT_EQ(message(infinite, Vector::LinSpaced(3, 0, 1)),
            "X.npy, row 2, column 'x3': inf is not a finite number; every value must be finite or missing");
  EXPECT_EQ(message(X, Vector::Constant(3, 2.5)),
            "y.npy: the response is 2.5 in all 3 rows used; there is nothing to learn");
  EXPECT_EQ(message(X, 1e151 * Vector::LinSpaced(3, 0, 1)),
            "y.npy, row 2: 5e+150 exceeds 1e150 in magnitude; rescale the column");
  EXPECT_EQ(message(X, Vector::Constant(3, not_a_number)), "y.npy: every value of the response is missing");
  EXPECT_EQ(message(Matrix(0, 2), Vector(0)), "X.npy: 0 rows to learn from; at least 2 are required");
}

}  // namespace
}  // namespace gradflow
