#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "gradflow/data/dataset.h"
#include "gradflow/inference/outcome.h"

namespace gradflow {

/// Five significant digits; "NA" for NaN, "inf" for infinity.
std::string shown_number(double value);

/// Three significant digits, for a sentence; thousands of whole numbers apart: "12.3", "1,232", "NA".
std::string brief_number(double value);

/// A p-value for a sentence: "0.034", "6.0 x 10^-45" with the signs of print.
std::string brief_p(double p_value, double log10_p_value);

/// A p-value; below 1e-300 as a power of ten.
std::string shown_p(double p_value, double log10_p_value);

/// A whole number of steps, or NA.
std::string shown_steps(double steps);

/// "8.1 to 14.2", or NA.
std::string shown_interval(const Interval& interval);

/// A share: "95 %".
std::string shown_percent(double share);

/// Rows dropped, missing cells and columns removed: a line each, indented, where there are any.
std::string left_out_text(const DataReport& report);

/// "1 row", "2 rows".
std::string counted_text(long long count, std::string_view noun);

/// Columns aligned: the first to the left, the last (a note) to the left, the others to the right.
std::string aligned_table(const std::vector<std::vector<std::string>>& rows);

}  // namespace gradflow
