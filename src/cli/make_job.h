#pragma once

#include "cli/settings.h"
#include "gradflow/model/job.h"

namespace gradflow::cli {

/// What a command does with the data: `kernel` needs no response, and `matrix` operators need no features.
enum class Purpose { inference, kernel };

/// The job that the settings describe. Throws InputError for options that contradict each other or make no
/// sense.
Job make_job(const Settings& settings, Purpose purpose);

TableOptions make_table_options(const Settings& settings);

}  // namespace gradflow::cli
