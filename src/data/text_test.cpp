#include "data/text.h"

#include <gtest/gtest.h>

namespace gradflow {
namespace {

TEST(ParseNumber, ReadsDecimalNumbersWithSignsBlanksAndExponents) {
  const std::vector<std::pair<std::string, double>> cases = {
      {"1", 1},         {"-1.5", -1.5},
      {"+2", 2},        {" 3\t", 3},
      {".5", 0.5},      {"5.", 5},
      {"1e3", 1e3},     {"1E-3", 1e-3},
      {"+.5e+2", 50},   {"0.1", 0.1},
      {"1e-400", 0.0},  {"-0", -0.0},
      {"1e150", 1e150}, {"0.30000000000000004", 0.1 + 0.2}};
  for (const auto& [text, value] : cases) {
    const ParsedNumber parsed = parse_number(text);
    EXPECT_EQ(parsed.kind, NumberKind::number) << text;
    EXPECT_EQ(parsed.value, value) << text;
  }
}

TEST(ParseNumber, TellsTextInfinityAndExcessApart) {
  for (const char* text : {"", " ", "+", "-", "abc", "1,5", "1.2.3", "1 2", "+-1", "--1", "++1", "0x10", "1e",
                           "e5", "infinit", "12kg", "."})
    EXPECT_EQ(parse_number(text).kind, NumberKind::text) << text;
  for (const char* text : {"inf", "-inf", "+Infinity", "INF", "nan", "-NaN", " nan "})
    EXPECT_EQ(parse_number(text).kind, NumberKind::not_finite) << text;
  for (const char* text : {"1e400", "-1e400", "1.1e150"})
    EXPECT_EQ(parse_number(text).kind, NumberKind::too_large) << text;
}

TEST(Shown, KeepsAMessageOnOneLineAndShort) {
  EXPECT_EQ(shown("two\nlines\tand \x01\xFF"), "'two\\nlines\\tand \\x01\\xff'");
  EXPECT_EQ(shown("caf\xC3\xA9"), "'caf\xC3\xA9'");
  EXPECT_EQ(shown(std::string(41, 'a')), "'" + std::string(40, 'a') + "...'");
  EXPECT_EQ(shown(std::string(40, 'a')), "'" + std::string(40, 'a') + "'");
}

TEST(FirstInvalidUtf8, AcceptsExactlyTheWellFormedSequences) {
  constexpr std::size_t none = std::string_view::npos;
  const std::vector<std::pair<std::string, std::size_t>> cases = {{"ascii", none},
                                                                  {"\xC3\xA9", none},
                                                                  {"\xE2\x82\xAC", none},
                                                                  {"\xF0\x9F\x98\x80", none},
                                                                  {"a\x80", 1},
                                                                  {"\xC1\xBF", 0},
                                                                  {"\xE0\x9F\xBF", 0},
                                                                  {"\xED\xA0\x80", 0},
                                                                  {"\xF0\x8F\xBF\xBF", 0},
                                                                  {"\xF4\x90\x80\x80", 0},
                                                                  {"\xF5\x80\x80\x80", 0},
                                                                  {"ab\xE2\x82", 2},
                                                                  {"\xC3(", 0},
                                                                  {"\xE2\x82(", 0}};
  for (const auto& [text, position] : cases) EXPECT_EQ(first_invalid_utf8(text), position) << text;
}

TEST(EditDistance, CountsEditsAndSwapsIgnoringCase) {
  EXPECT_EQ(edit_distance("kitten", "sitting"), 3U);
  EXPECT_EQ(edit_distance("form", "from"), 1U);
  EXPECT_EQ(edit_distance("AGE", "age"), 0U);
  EXPECT_EQ(edit_distance("", "abc"), 3U);
}

}  // namespace
}  // namespace gradflow
