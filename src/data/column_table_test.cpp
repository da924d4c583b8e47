#include "gradflow/data/column_table.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "data/test_support.h"

namespace gradflow {
namespace {

constexpr const char* cities =
    "a,b,city,y\n"
    "1.5,2,Rome,0.25\n"
    "-3,NA,Paris,1.125\n"
    "0.1,7,Rome,2\n"
    "4,9.75,Oslo,-1\n"
    "8,1e-3,Paris,0.5\n";

/// The table of the text above: numbers in row-major order, as in a C-ordered array.
struct InMemory {
  double numbers[15] = {1.5, 2, 0.25, -3, std::numeric_limits<double>::quiet_NaN(), 1.125, 0.1, 7, 2, 4, 9.75,
                        -1,  8, 1e-3, 0.5};
  ColumnTable table;

  InMemory() {
    table.add(numbers, 5, 2, 3, 1, {"a", "b"});
    table.add("city", {"Rome", "Paris", "Rome", "Oslo", "Paris"});
    table.add(numbers + 2, 5, 1, 3, 1, {"y"});
  }
};

TEST(ColumnTable, MemoryAndTextGiveTheSameBits) {
  const InMemory memory;
  for (const MissingPolicy missing : {MissingPolicy::drop, MissingPolicy::mean}) {
    const DatasetOptions options{.target = "y", .missing = missing};

    const Dataset from_text = make_dataset(parse_table(cities, "a.csv"), options);
    const Dataset from_memory = make_dataset(memory.table, options);

    EXPECT_EQ(from_memory.X, from_text.X);
    EXPECT_EQ(from_memory.y, from_text.y);
    EXPECT_EQ(from_memory.ids, from_text.ids);
    EXPECT_EQ(from_memory.report.dropped_rows, from_text.report.dropped_rows);
  }
}

TEST(ColumnTable, NewRowsAreEncodedAsThoseOfATable) {
  const InMemory memory;
  const Table text = parse_table(cities, "a.csv");
  const Recipe recipe = make_dataset(text, {.target = "y"}).recipe;

  const NewRows from_memory = encode(recipe, memory.table);

  EXPECT_EQ(from_memory.X, encode(recipe, text).X);
  EXPECT_EQ(from_memory.row, encode(recipe, text).row);
}

TEST(ColumnTable, TextsAreCategoriesAlsoWhereTheyAreNumbers) {
  const double y[] = {1, 2, 3, 4};
  ColumnTable table;
  table.add("code", {"7", "8", "7", "9"});
  table.add(y, 4, 1, 1, 1, {"y"});

  const Dataset data = make_dataset(table, {.target = "y"});

  EXPECT_EQ(data.X.cols(), 3);
  EXPECT_EQ(data.recipe.features.front().name, "code=7");
}

TEST(ColumnTable, ClassesOfTextsAndOfNumbersAreNamed) {
  const double x[] = {1, 2, 3, 4}, y[] = {2, 10, 2, 10};
  ColumnTable numbers, texts;
  numbers.add(x, 4, 1, 1, 1);
  numbers.add(y, 4, 1, 1, 1, {"y"});
  texts.add(x, 4, 1, 1, 1);
  texts.add("y", {"no", "yes", "no", "yes"});

  const ClassDataset by_number = make_class_dataset(numbers, {.target = "y"});

  EXPECT_EQ(by_number.classes, (std::vector<std::string>{"2", "10"}));
  EXPECT_EQ(by_number.labels, make_class_dataset(texts, {.target = "y"}).labels);
}

TEST(ColumnTable, ColumnsWithoutNamesAreThoseOfAnArray) {
  const double x[] = {1, 2, 3, 5, 8, 13}, y[] = {1, 2, 4};
  ColumnTable table;
  table.add(x, 3, 2, 2, 1);
  table.add(y, 3, 1, 1, 1, {"y"});
  Matrix X(3, 2);
  X << 1, 2, 3, 5, 8, 13;

  const Dataset data = make_dataset(table, {.target = "y"});

  EXPECT_EQ(data.X, make_dataset(X, Vector::Map(y, 3), {}, "X", "y").X);
  EXPECT_EQ(encode(data.recipe, X, "X.npy").X, data.X);
}

TEST(ColumnTable, ErrorsNameTheRowAndTheColumn) {
  double x[] = {1, 2, std::numeric_limits<double>::infinity(), 4};
  const double y[] = {1, 2, 3, 4};
  ColumnTable table;
  table.add(x, 4, 1, 1, 1, {"width"});
  table.add(y, 4, 1, 1, 1, {"y"});

  EXPECT_EQ(
      message_of([&] { make_dataset(table, {.target = "y"}); }),
      "the data, row 3, column 'width': inf is not a finite number; every value must be finite or missing");
  EXPECT_EQ(message_of([&] { table.add(y, 3, 1, 1, 1, {"z"}); }),
            "the data: column 'z' has 3 rows, and the columns before it 4; they must be equal");
  table.add(y, 4, 1, 1, 1, {"y"});
  EXPECT_EQ(message_of([&] { make_dataset(table, {.target = "y"}); }),
            "the data: column name 'y' appears twice; each column needs a name of its own");
}

}  // namespace
}  // namespace gradflow
