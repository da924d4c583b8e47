#include "gradflow/network/architecture.h"

#include <algorithm>
#include <cmath>
#include <string_view>

#include "gradflow/base/error.h"
#include "network/option_text.h"

namespace gradflow {
namespace {

constexpr Index max_width = 1'000'000;
constexpr Index max_depth = 1000;

[[noreturn]] void reject(const std::string& text, std::string_view reason) {
  throw InputError(fmt::format(
      "network '{}': {}; write ACTIVATION:WIDTHxLAYERS or ACTIVATION:WIDTH-WIDTH-..., for example relu:128x2",
      text, reason));
}

Index read_width(std::string_view part, const std::string& text) {
  Index width = 0;
  if (!read_number(part, width) || width < 1 || width > max_width)
    reject(text, fmt::format("'{}' is not a width from 1 to {}", part, max_width));
  return width;
}

std::vector<Index> read_widths(std::string_view part, const std::string& text) {
  if (const std::size_t cross = part.find('x'); cross != std::string_view::npos) {
    Index depth = 0;
    const std::string_view layers = part.substr(cross + 1);
    if (!read_number(layers, depth) || depth < 1 || depth > max_depth)
      reject(text, fmt::format("'{}' is not a number of layers from 1 to {}", layers, max_depth));
    return std::vector<Index>(static_cast<std::size_t>(depth), read_width(part.substr(0, cross), text));
  }
  std::vector<Index> widths;
  for (std::size_t begin = 0; begin <= part.size();) {
    const std::size_t end = std::min(part.find('-', begin), part.size());
    widths.push_back(read_width(part.substr(begin, end - begin), text));
    begin = end + 1;
  }
  if (static_cast<Index>(widths.size()) > max_depth)
    reject(text, fmt::format("more than {} layers", max_depth));
  return widths;
}

std::string widths_text(const std::vector<Index>& widths) {
  if (widths.size() > 1 && std::ranges::count(widths, widths.front()) == static_cast<Index>(widths.size()))
    return fmt::format("{}x{}", widths.front(), widths.size());
  return fmt::format("{}", fmt::join(widths, "-"));
}

}  // namespace

void Architecture::check() const {
  for (const Index width : widths) require(width >= 1, "network width", width, "must be >= 1");
  require(std::isfinite(activation.slope), "leaky-relu slope", activation.slope, "must be finite");
  if (parameterization == Parameterization::standard) return;
  require(sw2 > 0.0 && std::isfinite(sw2), "network sw2", sw2, "must be > 0 and finite");
  require(sb2 >= 0.0 && std::isfinite(sb2), "network sb2", sb2, "must be >= 0 and finite");
}

Architecture parse_architecture(const std::string& text) {
  const std::string_view view = text;
  const std::size_t comma = std::min(view.find(','), view.size());
  const std::string_view shape = view.substr(0, comma);
  Architecture architecture;
  if (shape == "linear") {
    architecture.activation.kind = ActivationKind::identity;
  } else {
    const std::size_t colon = shape.find(':');
    if (colon == std::string_view::npos) reject(text, "no widths of hidden layers");
    try {
      architecture.activation = parse_activation(std::string(shape.substr(0, colon)));
    } catch (const InputError& error) {
      reject(text, error.what());
    }
    architecture.widths = read_widths(shape.substr(colon + 1), text);
  }
  for (std::size_t begin = comma + 1; begin <= view.size();) {
    const std::size_t end = std::min(view.find(',', begin), view.size());
    const std::string_view option = view.substr(begin, end - begin),
                           wrong = read_option(option, architecture);
    if (!wrong.empty()) reject(text, fmt::format("'{}' {}", option, wrong));
    begin = end + 1;
  }
  try {
    architecture.check();
  } catch (const InputError& error) {
    reject(text, error.what());
  }
  return architecture;
}

std::string to_string(const Architecture& architecture) {
  const std::string shape = architecture.widths.empty()
                                ? std::string("linear")
                                : to_string(architecture.activation) + ':' + widths_text(architecture.widths);
  return shape + options_text(architecture);
}

}  // namespace gradflow
