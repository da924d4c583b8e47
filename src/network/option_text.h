#pragma once

#include <fmt/format.h>

#include <charconv>
#include <string>
#include <string_view>

#include "gradflow/network/architecture.h"

/// The options that follow a network's text, of dense networks and of networks of layers alike: members bias,
/// parameterization, sw2 and sb2 of `Described`.
namespace gradflow {

template <typename Number>
bool read_number(std::string_view text, Number& value) {
  const auto [stop, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && stop == text.data() + text.size();
}

/// Reads one option; what is wrong with it, or empty.
template <typename Described>
std::string_view read_option(std::string_view option, Described& network) {
  if (option == "no-bias") {
    network.bias = false;
  } else if (option == "ntk") {
    network.parameterization = Parameterization::ntk;
  } else if (option.starts_with("sw2=") || option.starts_with("sb2=")) {
    if (!read_number(option.substr(4), option[1] == 'w' ? network.sw2 : network.sb2)) return "has no number";
    if (network.parameterization != Parameterization::ntk) return "needs the option ntk before it";
  } else {
    return "is no option: must be no-bias, ntk, sw2=NUMBER or sb2=NUMBER";
  }
  return {};
}

/// The inverse: ",no-bias,ntk,sw2=3", without what is as by default.
template <typename Described>
std::string options_text(const Described& network) {
  const Described standard;
  std::string text;
  if (!network.bias) text += ",no-bias";
  if (network.parameterization != Parameterization::ntk) return text;
  text += ",ntk";
  if (network.sw2 != standard.sw2) text += fmt::format(",sw2={}", network.sw2);
  if (network.sb2 != standard.sb2) text += fmt::format(",sb2={}", network.sb2);
  return text;
}

}  // namespace gradflow
