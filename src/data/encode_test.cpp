#include <gtest/gtest.h>

#include "base/special_values.h"
#include "data/test_support.h"
#include "gradflow/data/dataset.h"

namespace gradflow {
namespace {

using Names = std::vector<std::string>;
using Rows = std::vector<Index>;

const std::string training =
    "id,age,city,old,y\np1,30,Rome,1,1\np2,40,Oslo,1,2\np3,50,Rome,1,4\np4,20,Paris,1,3\n";

Recipe recipe(MissingPolicy missing = MissingPolicy::drop, Standardize standardize = Standardize::both) {
  DatasetOptions options{.target = "y", .id = "id", .missing = missing, .standardize = standardize};
  return make_dataset(parse_table(training, "train.csv"), options).recipe;
}

NewRows encoded(const Recipe& learned, const std::string& csv) {
  return encode(learned, parse_table(csv, "new.csv"));
}

TEST(Encode, TheTrainingTableEncodesToTheTrainingMatrices) {
  for (const MissingPolicy missing : {MissingPolicy::drop, MissingPolicy::mean}) {
    const std::string csv = "a,b,c,y\n1,x,3,1\n2,NA,4,2\nNA,z,9,4\n4,z,1,5\n3,x,2,9\n7,w,3,0\n8,w,4,1\n";
    const Table table = parse_table(csv, "f.csv");
    const Dataset data = make_dataset(table, {.target = "y", .covariates = {"b"}, .missing = missing});
    const NewRows rows = encode(data.recipe, table);

    EXPECT_EQ(rows.X, data.X);
    EXPECT_EQ(rows.Z, data.Z);
  }
}

TEST(Encode, ColumnsAreFoundByNameInAnyOrder) {
  const Recipe learned = recipe();
  const NewRows rows = encoded(learned, "city,id,age\nOslo,q1,40\n");

  EXPECT_EQ(rows.X, encoded(learned, training).X.row(1));
  EXPECT_EQ(rows.ids, Names{"q1"});
  EXPECT_EQ(rows.row, Rows{0});
  EXPECT_TRUE(rows.warnings.empty());
}

TEST(Encode, AMissingColumnIsAnErrorUnlessTheModelDoesNotUseIt) {
  EXPECT_EQ(message_of([] { encoded(recipe(), "id,city\nq,Oslo\n"); }),
            "new.csv: column 'age' is absent, and the model needs it");
  EXPECT_EQ(message_of([] { encoded(recipe(), "id\nq\n"); }),
            "new.csv: columns 'age', 'city' are absent, and the model needs them");
  EXPECT_TRUE(encoded(recipe(), "id,age,city\nq,1,Oslo\n").warnings.empty());  // 'old' was constant
}

TEST(Encode, ExtraColumnsAndAnAbsentIdentifierAreWarnings) {
  const NewRows rows = encoded(recipe(), "age,city,weight\n40,Oslo,3\n30,Rome,4\n");

  EXPECT_EQ(rows.ids, (Names{"1", "2"}));
  EXPECT_EQ(rows.warnings,
            (Names{"1 column of new.csv is not in the training table and was ignored: 'weight'.",
                   "new.csv has no identifier column 'id'; rows are named by their numbers."}));
}

TEST(Encode, AnUnknownLevelIsNoneOfTheKnownOnes) {
  const Recipe learned = recipe(MissingPolicy::drop, Standardize::none);
  const NewRows rows = encoded(learned, "id,age,city\na,1,Bonn\nb,2,Rome\nc,3,Bonn\nd,4,Kiel\n");

  EXPECT_EQ(rows.X.row(0), Eigen::RowVector4d(1, 0, 0, 0));
  EXPECT_EQ(rows.X.row(1), Eigen::RowVector4d(2, 0, 0, 1));
  EXPECT_EQ(rows.warnings,
            Names{"new.csv, column 'city': 3 rows have a category not seen in training ('Bonn', "
                  "'Kiel'), which is encoded as none of the known ones."});
}

TEST(Encode, MissingValuesFollowTheTrainingPolicy) {
  const std::string csv = "id,age,city\na,NA,Rome\nb,40,\nc,50,Rome\n";

  const NewRows dropped = encoded(recipe(MissingPolicy::drop), csv);
  EXPECT_EQ(dropped.ids, (Names{"a", "b", "c"}));
  EXPECT_EQ(dropped.row, Rows{2});
  EXPECT_EQ(dropped.X.rows(), 1);
  EXPECT_EQ(dropped.warnings, Names{"2 rows of new.csv have a missing value and no prediction (NA)."});

  const NewRows filled = encoded(recipe(MissingPolicy::mean, Standardize::none), csv);
  EXPECT_EQ(filled.row, (Rows{0, 1, 2}));
  EXPECT_EQ(filled.X.row(0), Eigen::RowVector4d(35, 0, 0, 1));
  EXPECT_EQ(filled.X.row(1), Eigen::RowVector4d(40, 0.25, 0.25, 0.5));
  EXPECT_EQ(filled.warnings, Names{"2 missing values of new.csv were replaced by the training means."});

  EXPECT_EQ(
      message_of([&] { encoded(recipe(MissingPolicy::error), csv); }),
      "new.csv, line 2, column 'age': the value is missing, and the model was fitted with --missing error");
}

TEST(Encode, TheTrainingTablesMissingValuesDecideWhatIsMissing) {
  const Table table = parse_table("a,y\n1,1\n-9,2\n3,4\n5,2\n", "train.csv", {.missing_values = {"-9"}});
  const Recipe learned = make_dataset(table, {.target = "y"}).recipe;

  EXPECT_EQ(encoded(learned, "a\n-9\n2\n").row, Rows{1});
}

TEST(Encode, ANumericColumnMustStayNumeric) {
  EXPECT_EQ(message_of([] { encoded(recipe(), "id,age,city\na,forty,Rome\n"); }),
            "new.csv, line 2, column 'age': 'forty' is not a number; the column held numbers in training");
  EXPECT_EQ(
      message_of([] { encoded(recipe(), "id,age,city\na,inf,Rome\n"); }),
      "new.csv, line 2, column 'age': 'inf' is not a finite number; every value must be finite or missing");
}

TEST(EncodeArrays, FollowTheColumnsOfTraining) {
  Matrix X(4, 3);
  X << 1, 5, 2, 2, 5, 9, 4, 5, 1, 3, 5, 3;
  const Recipe learned = make_dataset(X, Vector::LinSpaced(4, 0, 1), {}, "X.npy", "y.npy").recipe;
  Matrix fresh = X.topRows(2);
  fresh(0, 1) = not_a_number;  // constant in training, so not used
  fresh(1, 2) = not_a_number;
  const NewRows rows = encode(learned, fresh, "new.npy");

  EXPECT_EQ(rows.X, encode(learned, X, "X.npy").X.topRows(1));
  EXPECT_EQ(rows.row, Rows{0});
  EXPECT_EQ(message_of([&] { encode(learned, X.leftCols(2), "new.npy"); }),
            "new.npy has 2 columns, and the model was fitted to 3");
  EXPECT_EQ(message_of([&] { encode(recipe(), X, "new.npy"); }),
            "new.npy: the model was fitted to a table with named columns (id, age, city, old, y), so new "
            "rows must be "
            "a table with these columns");
}

}  // namespace
}  // namespace gradflow
