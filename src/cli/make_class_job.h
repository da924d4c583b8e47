#pragma once

#include "cli/settings.h"
#include "gradflow/model/class_job.h"

namespace gradflow::cli {

/// The job on classes that the settings describe. Throws InputError as make_job() does.
ClassJob make_class_job(const Settings& settings);

}  // namespace gradflow::cli
