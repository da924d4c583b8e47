#pragma once

#include <cstdlib>
#include <string>
#include <vector>

#include "cli/bad_input.h"
#include "support/json.h"

namespace gradflow::cli_test {

/// A folder to train in, and a Python to read what was written there.
class TrainFolder : public testing::Test {
 protected:
  nlohmann::json json(const std::string& name) const { return parse_json(folder.read(name)); }

  bool has_module(const std::string& module) const {
    return std::system(fmt::format("{} -c 'import {}' 2>/dev/null", python, module).c_str()) == 0;
  }
  /// Runs Python code in the folder; its exit status.
  int run_python(const std::string& code) const {
    folder.write("check.py", code);
    return std::system(fmt::format("cd '{}' && {} check.py", folder.path(), python).c_str());
  }

  TemporaryFolder folder;
  const std::string python = std::getenv("GRADFLOW_TEST_PYTHON") != nullptr
                                 ? std::getenv("GRADFLOW_TEST_PYTHON")
                                 : "/usr/bin/python3";
};

/// gradflow train on data.csv: 120 rows of x1, x2 and y.
class TrainProgram : public TrainFolder {
 protected:
  void SetUp() override { folder.write("data.csv", csv_of(small_data(120))); }

  ProgramResult run(const Words& arguments) const {
    return run_program(folder.path(), with({"train", "data.csv", "--target", "y"}, arguments));
  }
};

}  // namespace gradflow::cli_test
