#pragma once

#include "cli/settings.h"
#include "gradflow/model/further_tests.h"

namespace gradflow::cli {

/// The tests that the settings ask for. Throws InputError for options that contradict each other or the job.
FurtherTestOptions make_further_tests(const Settings& settings, const Job& job);

}  // namespace gradflow::cli
