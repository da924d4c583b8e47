#include "gradflow/data/csv_writer.h"

#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <limits>

#include "data/test_support.h"
#include "gradflow/data/table.h"

namespace gradflow {
namespace {

TEST(CsvWriter, FieldsAreQuotedOnlyWhenNeeded) {
  EXPECT_EQ(csv_field("plain text"), "plain text");
  EXPECT_EQ(csv_field("a,b"), "\"a,b\"");
  EXPECT_EQ(csv_field("5\" pipe"), "\"5\"\" pipe\"");
  EXPECT_EQ(csv_field("two\nlines"), "\"two\nlines\"");
}

TEST(CsvWriter, NumbersAreTheShortestThatReadBack) {
  EXPECT_EQ(csv_number(0.1), "0.1");
  EXPECT_EQ(csv_number(1.0 / 3.0), "0.3333333333333333");
  EXPECT_EQ(csv_number(-2.0), "-2");
  EXPECT_EQ(csv_number(1e300), "1e+300");
  EXPECT_EQ(csv_number(std::numeric_limits<double>::quiet_NaN()), "NA");
}

TEST(CsvWriter, TheTableReaderReadsBackWhatWasWritten) {
  const std::string path = testing::TempDir() + "gradflow_csv_writer.csv";
  const std::vector<std::string> texts = {"a", "", "a,b", "\"", "x\r\ny", " blank ", "\xC3\xA9"};
  CsvWriter csv(path, {"id", "value, in m"});
  for (std::size_t i = 0; i < texts.size(); ++i)
    csv.text(texts[i]).number(std::exp(static_cast<double>(i))).end_row();
  EXPECT_FALSE(std::filesystem::exists(path));
  csv.commit();
  const Table table = read_table(path);
  std::filesystem::remove(path);

  EXPECT_EQ(table.names, (std::vector<std::string>{"id", "value, in m"}));
  ASSERT_EQ(table.rows(), static_cast<Index>(texts.size()));
  for (std::size_t i = 0; i < texts.size(); ++i) {
    EXPECT_EQ(table.cell(static_cast<Index>(i), 0), texts[i]);
    EXPECT_EQ(std::stod(table.cell(static_cast<Index>(i), 1)), std::exp(static_cast<double>(i)));
  }
}

TEST(CsvWriter, AnEmptyFieldAloneOnItsLineIsNotABlankLine) {
  const std::string path = testing::TempDir() + "gradflow_csv_single.csv";
  CsvWriter csv(path, {"a"});
  csv.text("").end_row();
  csv.commit();
  const Table table = read_table(path);
  std::filesystem::remove(path);

  EXPECT_EQ(table.rows(), 1);
}

TEST(CsvWriter, ARowMustHaveOneFieldPerColumn) {
  const std::string path = testing::TempDir() + "gradflow_csv_ragged.csv";
  CsvWriter csv(path, {"a", "b"});

  EXPECT_THROW(csv.text("1").end_row(), InternalError);
  csv.text("2");
  EXPECT_THROW(csv.text("3"), InternalError);
  EXPECT_THROW(csv.commit(), InternalError);
}

}  // namespace
}  // namespace gradflow
