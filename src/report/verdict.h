#pragma once

#include <string>
#include <utility>
#include <vector>

#include "report/run_document.h"

namespace gradflow {

/// Two sentences: is training warranted; when to stop and what the rules' agreement means.
struct ReportVerdict {
  std::string test, stop;
};
ReportVerdict verdict_of(const RunDocument& run);

/// The numbers that a reader looks for first: what it is, the value with its unit, and a plain sentence.
struct Fact {
  std::string name, value, meaning;
};
std::vector<Fact> facts_of(const RunDocument& run);

double level_of(const RunDocument& run);  ///< of verdict and intervals; 0.95 where the document has none

}  // namespace gradflow
