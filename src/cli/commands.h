#pragma once

#include "cli/settings.h"
#include "gradflow/report/run_record.h"

namespace gradflow::cli {

/// One run of a command: what was asked, and how it is recorded.
struct Invocation {
  Settings settings;
  RunRecord record;
  std::string document = {};    ///< of test, stop and fit: what --json gets, where that is wanted
  bool keeps_document = false;  ///< wanted without --json too
};

/// Each returns the exit code (0 usable, 3 not usable) and throws InputError for bad input.
int test_command(Invocation& invocation);
int stop_command(Invocation& invocation);
int fit_command(Invocation& invocation);
int spectrum_command(Invocation& invocation);
int predict_command(Invocation& invocation);
int kernel_command(Invocation& invocation);
int simulate_command(Invocation& invocation);
int report_command(Invocation& invocation);

}  // namespace gradflow::cli
