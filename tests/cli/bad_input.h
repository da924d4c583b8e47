#pragma once

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <memory>
#include <ostream>

#include "cli/bad_input_files.h"

namespace gradflow::cli_test {

/// A command that must be refused with this sentence.
struct Case {
  const char* name;
  std::vector<std::string> arguments;
  int exit_code;
  std::string message;  ///< standard error, whole
};

inline void PrintTo(const Case& tested, std::ostream* stream) { *stream << tested.name; }

inline std::string case_name(const testing::TestParamInfo<Case>& tested) { return tested.param.name; }

inline std::string error(const std::string& sentence) {
  return fmt::format("gradflow: error: {}\n", sentence);
}

inline std::string usage(const std::string& sentence, const std::string& command) {
  return fmt::format("{}try 'gradflow {}--help'\n", error(sentence), command);
}

inline std::vector<std::string> stop(const std::string& table) { return {"stop", table, "--target", "y"}; }

/// Runs the cases in one folder of broken files; its test is in bad_input_test.cpp.
class BadInput : public testing::TestWithParam<Case> {
 protected:
  static void SetUpTestSuite() {
    folder = std::make_unique<TemporaryFolder>();
    write_bad_input_files(*folder);
  }
  static void TearDownTestSuite() { folder.reset(); }
  static inline std::unique_ptr<TemporaryFolder> folder;
};

}  // namespace gradflow::cli_test
