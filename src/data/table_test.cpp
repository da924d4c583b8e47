#include "gradflow/data/table.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "data/test_support.h"

namespace gradflow {
namespace {

using TextRows = std::vector<std::vector<std::string>>;

TextRows rows_of(const Table& table) {
  TextRows rows;
  for (Index row = 0; row < table.rows(); ++row) {
    rows.emplace_back();
    for (Index col = 0; col < table.cols(); ++col) rows.back().push_back(table.cell(row, col));
  }
  return rows;
}

std::string gzip_bytes(std::string_view text) { return deflated(text, 15 + 16); }

TEST(ParseTable, ReadsTheSameTableFromEveryLegalSpelling) {
  const TextRows expected = {{"1", "2"}, {"3", "4"}};
  const std::vector<std::pair<std::string, std::string>> spellings = {
      {"LF", "a,b\n1,2\n3,4\n"},
      {"CRLF", "a,b\r\n1,2\r\n3,4\r\n"},
      {"CR", "a,b\r1,2\r3,4\r"},
      {"no last line end", "a,b\n1,2\n3,4"},
      {"byte-order mark",
       "\xEF\xBB\xBF"
       "a,b\n1,2\n3,4\n"},
      {"quoted", "\"a\",\"b\"\n\"1\",\"2\"\n3,\"4\""},
      {"blank lines at the end", "a,b\n1,2\n3,4\n\n  \n\r\n"},
      {"blanks around names", " a , b\n1,2\n3,4\n"},
      {"semicolons", "a;b\n1;2\n3;4\n"},
      {"tabs", "a\tb\n1\t2\n3\t4\n"},
      {"gzip", gzip_bytes("a,b\n1,2\n3,4\n")},
      {"gzip in two members", gzip_bytes("a,b\n1,2\n") + gzip_bytes("3,4\n")},
      {"gzip padded with zeros", gzip_bytes("a,b\n1,2\n3,4\n") + std::string(20, '\0')},
  };
  for (const auto& [spelling, text] : spellings) {
    const Table table = parse_table(text, "f.csv");
    EXPECT_EQ(table.names, (std::vector<std::string>{"a", "b"})) << spelling;
    EXPECT_EQ(rows_of(table), expected) << spelling;
    EXPECT_EQ(table.line, (std::vector<Index>{2, 3})) << spelling;
  }
}

TEST(ParseTable, QuotedFieldsHoldDelimitersQuotesAndLineEnds) {
  const Table table =
      parse_table("name,note\n\"Smith, J\",\"said \"\"no\"\"\"\n\"two\nlines\",\"\"\nx,5\" pipe\n", "f.csv");

  EXPECT_EQ(rows_of(table), (TextRows{{"Smith, J", "said \"no\""}, {"two\nlines", ""}, {"x", "5\" pipe"}}));
  EXPECT_EQ(table.line, (std::vector<Index>{2, 3, 5}));
}

TEST(ParseTable, CountsEmbeddedLineEndsOfEveryKindOnce) {
  const Table table = parse_table("a,b\r\n\"x\r\ny\rz\nw\",1\r\nlast,2\r\n", "f.csv");

  EXPECT_EQ(table.line, (std::vector<Index>{2, 6}));
}

TEST(ParseTable, DelimiterIsTheHeadersMostFrequentOutsideQuotes) {
  EXPECT_EQ(parse_table("\"a,b,c\";d\n1;2\n", "f.csv").names, (std::vector<std::string>{"a,b,c", "d"}));
  EXPECT_EQ(parse_table("a;b,c,d\n1,2,3\n", "f.csv").cols(), 3);
  EXPECT_EQ(parse_table("a,b,c\td\n1,2,3\t4\n", "f.tsv").cols(), 2);
  EXPECT_EQ(parse_table("a,b,c\td\n1,2,3\t4\n", "f.tab.gz").cols(), 2);
  EXPECT_EQ(parse_table("a|b\n1|2\n", "f.csv", {.delimiter = '|'}).cols(), 2);
  EXPECT_EQ(parse_table("only\n1\n", "f.csv").cols(), 1);
}

TEST(ParseTable, WithoutHeaderColumnsAreNumbered) {
  const Table table = parse_table("1,2\n3,4\n", "f.csv", {.header = false});

  EXPECT_EQ(table.names, (std::vector<std::string>{"x1", "x2"}));
  EXPECT_EQ(table.line, (std::vector<Index>{1, 2}));
}

TEST(ParseTable, BlankLineInsideAOneColumnTableIsAMissingCell) {
  const Table table = parse_table("a\n1\n\n2\n\n", "f.csv");

  EXPECT_EQ(rows_of(table), (TextRows{{"1"}, {""}, {"2"}}));
  EXPECT_TRUE(table.is_missing(table.cell(1, 0)));
}

TEST(ParseTable, NamesWhatIsWrongAndWhere) {
  const std::string gzipped = gzip_bytes("a,b\n1,2\n");
  std::string corrupt = gzipped;
  corrupt[corrupt.size() - 6] = static_cast<char>(corrupt[corrupt.size() - 6] ^ 1);
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"", "f.csv: the file is empty; a header and rows are required"},
      {" \n\r\n", "f.csv: the file is empty; a header and rows are required"},
      {gzip_bytes(""), "f.csv: the file is empty; a header and rows are required"},
      {"a,b\n", "f.csv: a header, but no rows"},
      {"\na,b\n1,2\n", "f.csv, line 1: the header line is blank"},
      {"a,b\n1,2\n3\n", "f.csv, line 3: 1 field, but the header has 2"},
      {"a,b\n1,2,3\n", "f.csv, line 2: 3 fields, but the header has 2"},
      {"a,b\n\"x\ny\",2\n3,4,5\n", "f.csv, line 4: 3 fields, but the header has 2"},
      {"a,b\n1,2\n\n3,4\n", "f.csv, line 3: a blank line, but the header has 2"},
      {"a,b\n1,\"2\n3,4\n", "f.csv, line 2: a quote (\") is opened and never closed"},
      {"a,b\n\"1\"x,2\n",
       "f.csv, line 2: text after a closing quote (\"); a quote inside a quoted field is written twice"},
      {"a,b,a\n1,2,3\n", "f.csv, line 1: columns 1 and 3 are both named 'a'; names must be unique"},
      {"a,,c\n1,2,3\n", "f.csv, line 1: column 2 has no name; every column needs one"},
      {std::string("a,b\n1,\0\n", 8), "f.csv, line 2: a NUL byte; the file must be UTF-8 text"},
      {"a,b\n1,2\ncaf\xE9,2\n", "f.csv, line 3: the byte 0xE9 is not UTF-8; save the file as UTF-8 text"},
      {"a,b\n\xC0\x80,2\n", "f.csv, line 2: the byte 0xC0 is not UTF-8; save the file as UTF-8 text"},
      {gzipped + "junk", "f.csv: broken gzip data: 4 bytes after the end of the compressed data"},
      {corrupt, "f.csv: broken gzip data: incorrect data check"},
      {gzipped.substr(0, gzipped.size() - 1), "f.csv: broken gzip data: the compressed data end early"},
  };
  for (const auto& [text, message] : cases)
    EXPECT_EQ(message_of([&, t = text] { parse_table(t, "f.csv"); }), message);
  EXPECT_EQ(message_of([] { parse_table("1,2\n3\n", "f.csv", {.header = false}); }),
            "f.csv, line 2: 1 field, but the first row has 2");
  EXPECT_EQ(message_of([] { parse_table("1,2\n", "f.csv", {.delimiter = '"'}); }),
            "TableOptions::delimiter = '\"': must not be a quote or a line end");
}

TEST(ParseTable, EveryTruncationOfAGzipFileIsRefused) {
  expect_every_truncation_is_refused(gzip_bytes("a,b\n1,2\n3,4\n"),
                                     [](std::string_view bytes) { parse_table(bytes, "f.csv.gz"); });
}

TEST(ParseTable, GzipOfManyChunksIsReadWhole) {
  std::string text = "a\n";
  for (int i = 0; i < 200000; ++i) text += fmt::format("{}\n", i);
  const Table table = parse_table(gzip_bytes(text), "f.csv.gz");

  ASSERT_EQ(table.rows(), 200000);
  EXPECT_EQ(table.cell(199999, 0), "199999");
}

TEST(ReadTable, NamesAFileThatCannotBeRead) {
  EXPECT_EQ(message_of([] { read_table("/nowhere/f.csv"); }),
            "cannot read '/nowhere/f.csv': No such file or directory");
  const std::string folder = testing::TempDir();
  EXPECT_EQ(message_of([&] { read_table(folder); }), "cannot read '" + folder + "': Is a directory");
}

TEST(ReadTable, ReadsAFile) {
  const std::string path = testing::TempDir() + "gradflow_table_test.csv";
  write_bytes(path, "a,b\n1,2\n");
  const Table table = read_table(path);
  std::filesystem::remove(path);

  EXPECT_EQ(table.source, path);
  EXPECT_EQ(rows_of(table), (TextRows{{"1", "2"}}));
}

TEST(Table, MissingValuesAreComparedWithoutBlanksAround) {
  const Table table = parse_table("a,b\n NA ,x\n", "f.csv");

  EXPECT_TRUE(table.is_missing(table.cell(0, 0)));
  EXPECT_TRUE(table.is_missing("  "));
  EXPECT_FALSE(table.is_missing("NAB"));
  EXPECT_FALSE(parse_table("a\n1\n", "f.csv", {.missing_values = {"-9"}}).is_missing("NA"));
}

TEST(Table, FindsColumnsByNameThenByPosition) {
  const Table table = parse_table("quality,#1,density\n1,2,3\n", "wine.csv");

  EXPECT_EQ(table.find("density", "--target"), 2);
  EXPECT_EQ(table.find("#3", "--target"), 2);
  EXPECT_EQ(table.find("#1", "--target"), 1);
}

TEST(Table, SuggestsTheNearestNames) {
  const Table table = parse_table("quality,density,pH\n1,2,3\n", "wine.csv");
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"qualty", "--target 'qualty': wine.csv has no such column; did you mean 'quality'?"},
      {"PH", "--target 'PH': wine.csv has no such column; did you mean 'pH'?"},
      {"Hp", "--target 'Hp': wine.csv has no such column; did you mean 'pH'?"},
      {"score", "--target 'score': wine.csv has no such column; its columns are quality, density, pH"},
      {"#4", "--target '#4': wine.csv has 3 columns; a position is one of #1 to #3"},
      {"#0", "--target '#0': wine.csv has 3 columns; a position is one of #1 to #3"},
      {"#99999999999999999999",
       "--target '#99999999999999999999': wine.csv has 3 columns; a position is one of #1 to #3"},
  };
  for (const auto& [name, message] : cases)
    EXPECT_EQ(message_of([&, n = name] { table.find(n, "--target"); }), message);
}

}  // namespace
}  // namespace gradflow
