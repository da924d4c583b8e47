#pragma once

#include "cli/run_program.h"

namespace gradflow::cli_test {

/// Writes the files that the cases of bad_input_test name: tables, arrays, weights, matrices and models, each
/// broken in one way, beside good ones (good.csv, X.npy, y.npy, H.npy, W.npz, good.model).
void write_bad_input_files(const TemporaryFolder& folder);

}  // namespace gradflow::cli_test
