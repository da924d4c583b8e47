#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "gradflow/base/types.h"

namespace gradflow::cli {

/// Numbers of options. Each throws InputError "OPTION VALUE: must be ..." for anything else.
double finite_number(const std::string& option, const std::string& text);
double positive_number(const std::string& option, const std::string& text);      ///< > 0
double nonnegative_number(const std::string& option, const std::string& text);   ///< >= 0
double open_fraction(const std::string& option, const std::string& text);        ///< in (0, 1)
std::uint64_t whole_number(const std::string& option, const std::string& text);  ///< >= 0
/// A count, at least `least`; the library refuses what is too large.
Index count_of(const std::string& option, const std::string& text, Index least = 0);

/// Bytes: a number, or one with K, M, G or T (powers of 1024; "4G", "1.5GiB", "800MB").
double byte_count(const std::string& option, const std::string& text);

/// "a,b" -> {"a", "b"}; "" -> {}.
std::vector<std::string> split_list(const std::string& text);

}  // namespace gradflow::cli
