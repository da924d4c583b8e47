#include "cli/numbers.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <string_view>

#include "gradflow/base/error.h"

namespace gradflow::cli {
namespace {

[[noreturn]] void reject(const std::string& option, const std::string& text, const char* must) {
  throw InputError(fmt::format("{} {}: must be {}", option, text.empty() ? "''" : text, must));
}

double parse(const std::string& option, const std::string& text, const char* must) {
  double value = 0.0;
  const char* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, value);
  if (error != std::errc{} || stop != end || !std::isfinite(value)) reject(option, text, must);
  return value;
}

}  // namespace

double finite_number(const std::string& option, const std::string& text) {
  return parse(option, text, "a number");
}

double positive_number(const std::string& option, const std::string& text) {
  const double value = parse(option, text, "a number > 0");
  if (!(value > 0.0)) reject(option, text, "> 0");
  return value;
}

double nonnegative_number(const std::string& option, const std::string& text) {
  const double value = parse(option, text, "a number >= 0");
  if (!(value >= 0.0)) reject(option, text, ">= 0");
  return value;
}

double open_fraction(const std::string& option, const std::string& text) {
  const double value = parse(option, text, "a number between 0 and 1");
  if (!(value > 0.0 && value < 1.0)) reject(option, text, "between 0 and 1");
  return value;
}

std::uint64_t whole_number(const std::string& option, const std::string& text) {
  std::uint64_t value = 0;
  const char* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, value);
  if (error != std::errc{} || stop != end) reject(option, text, "a whole number >= 0");
  return value;
}

Index count_of(const std::string& option, const std::string& text, Index least) {
  constexpr std::uint64_t most = std::uint64_t{1} << 40;
  const auto count = static_cast<Index>(std::min(whole_number(option, text), most));
  if (count < least) throw InputError(fmt::format("{} {}: must be >= {}", option, text, least));
  return count;
}

double byte_count(const std::string& option, const std::string& text) {
  constexpr const char* must = "a number of bytes > 0, as 800M, 4G or 1.5GiB";
  double value = 0.0;
  const char* const end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, value);
  if (error != std::errc{} || !(value > 0.0) || !std::isfinite(value)) reject(option, text, must);
  std::string unit(stop, end);
  for (const char* tail : {"iB", "B"})
    if (unit.ends_with(tail)) {
      unit.erase(unit.size() - std::string_view(tail).size());
      break;
    }
  if (unit.empty()) return value;
  const std::size_t power = std::string_view("KMGT").find(unit.front());
  if (unit.size() != 1 || power == std::string_view::npos) reject(option, text, must);
  return value * std::pow(1024.0, static_cast<double>(power + 1));
}

std::vector<std::string> split_list(const std::string& text) {
  std::vector<std::string> items;
  if (text.empty()) return items;
  for (std::size_t begin = 0; begin <= text.size();) {
    const std::size_t end = std::min(text.find(',', begin), text.size());
    items.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return items;
}

}  // namespace gradflow::cli
