#pragma once

#include <string>

#include "gradflow/model/fitted_model.h"
#include "gradflow/model/further_tests.h"

namespace gradflow {

/// Short readable texts, each ending in a line end; what was not computed prints as NA.

/// Of `stop` and `fit`: the verdict, all rules side by side, the data, the warnings.
std::string text_report(const Job& job, const JobResult& result);

/// Of `test`: the score test, the tests that were asked for beside it, the data, the warnings.
std::string text_test_report(const Job& job, const PreparedJob& prepared, const ScoreTest& test,
                             const FurtherTests& further = {});

/// Of `spectrum`: a summary and the leading eigenvalues with their spectral losses.
std::string text_spectrum_report(const Job& job, const JobResult& result);

/// The whole spectrum, one row per eigenvalue.
struct SpectrumTable {
  Vector eigenvalue;        ///< N, descending
  Vector cumulative_share;  ///< of the trace
  Vector z;                 ///< coordinates of the response
  Vector loss;              ///< exp(-t lambda) z^2 at the root of the flow's likelihood
};
SpectrumTable spectrum_table(const Analysis& analysis);

/// Columns aligned: the first and the last (a note) to the left, the others to the right.
std::string text_table(const std::vector<std::vector<std::string>>& rows);

/// The warnings of a run as a list, or nothing.
std::string text_warnings(const std::vector<std::string>& warnings);

}  // namespace gradflow
