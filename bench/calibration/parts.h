#pragma once

#include <vector>

#include "support.h"

namespace gradflow::calibration {

void add_score_sizes(const Effort& effort, std::vector<SizeRow>& rows);
void add_ratio_sizes(const Effort& effort, std::vector<SizeRow>& rows);
void add_other_sizes(const Effort& effort, std::vector<SizeRow>& rows);
Json report_power(const Effort& effort);

/// Given beforehand, or chosen on the training rows.
enum class Kernel { prespecified, chosen };
Json report_simulated_coverage(const Effort& effort, Kernel kernel);
Json report_real_coverage(const Effort& effort, Kernel kernel);
Json report_profile_coverage(const Effort& effort);
/// After `fit --select`, as `predict` gives them; on simulated data and on real data.
Json report_selected(const Effort& effort);
Json report_real_selected(const Effort& effort);

}  // namespace gradflow::calibration
