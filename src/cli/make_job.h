#pragma once

#include "cli/settings.h"
#include "gradflow/model/job.h"

namespace gradflow::cli {

/// What a command does with the data: `kernel` needs no response, `training` of classes takes networks of
/// layers with any number of outputs.
enum class Purpose { inference, kernel, training };

/// The job that the settings describe; for `kernel` and `training` the data and the operator alone. Throws
/// InputError for options that contradict each other or make no sense.
Job make_job(const Settings& settings, Purpose purpose);

TableOptions make_table_options(const Settings& settings);

}  // namespace gradflow::cli
