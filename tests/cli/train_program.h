#pragma once

#include <cstdlib>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "cli/bad_input.h"

namespace gradflow::cli_test {

using Words = std::vector<std::string>;

/// gradflow train on data.csv: 120 rows of x1, x2 and y.
class TrainProgram : public testing::Test {
 protected:
  void SetUp() override { folder.write("data.csv", csv_of(small_data(120))); }

  ProgramResult run(const Words& arguments) const {
    return run_program(folder.path(), with({"train", "data.csv", "--target", "y"}, arguments));
  }
  nlohmann::json json(const std::string& name) const { return nlohmann::json::parse(folder.read(name)); }

  // Runs Python code in the folder; false when it cannot import the module.
  bool has_module(const std::string& module) const {
    return std::system(fmt::format("{} -c 'import {}' 2>/dev/null", python, module).c_str()) == 0;
  }
  int run_python(const std::string& code) const {
    folder.write("check.py", code);
    return std::system(fmt::format("cd '{}' && {} check.py", folder.path(), python).c_str());
  }

  TemporaryFolder folder;
  const std::string python = std::getenv("GRADFLOW_TEST_PYTHON") != nullptr
                                 ? std::getenv("GRADFLOW_TEST_PYTHON")
                                 : "/usr/bin/python3";
};

}  // namespace gradflow::cli_test
