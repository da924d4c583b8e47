#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace gradflow {

/// How a result came about: what every report records beside it.
struct RunRecord {
  std::string command;                                       ///< "stop"
  std::vector<std::string> arguments;                        ///< the command line as given
  std::vector<std::pair<std::string, std::string>> options;  ///< every option with the value in effect
  std::uint64_t seed = 1;
  int threads = 1;
};

}  // namespace gradflow
