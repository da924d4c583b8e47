#pragma once

#include "../stopping_study.h"
#include "intervals.h"

namespace gradflow::calibration {

/// A data set of shared/data and of how many of its splits each table takes.
struct RealCase {
  study::Case study_case;
  int prespecified_splits, chosen_splits, selected_splits;
};

/// At most so many rows of training and of test. Prints which are skipped because their data are absent.
std::vector<RealCase> available_real_cases(Index rows);

/// Of one split, in the units of the table.
Trial real_rows(const study::RealData& data, const study::Case& study_case, int split);

/// Splits to take of so many, by --effort.
inline Index splits_of(const Effort& effort, int all) {
  return std::clamp<Index>(std::lround(effort.scale * all), 1, all);
}

}  // namespace gradflow::calibration
