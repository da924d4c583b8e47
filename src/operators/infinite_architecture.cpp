#include <charconv>
#include <cmath>
#include <string_view>

#include "gradflow/base/error.h"
#include "gradflow/operators/infinite_ntk.h"

namespace gradflow {
namespace {

constexpr Index max_depth = 1000;

[[noreturn]] void reject(const std::string& text, std::string_view reason) {
  throw InputError(fmt::format(
      "kernel '{}': {}; write KIND:ACTIVATION:LAYERS with KIND ntk or nngp, for example ntk:relu:2", text,
      reason));
}

template <typename Number>
bool read_number(std::string_view text, Number& value) {
  const auto [stop, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && stop == text.data() + text.size();
}

void read_option(std::string_view option, const std::string& text, InfiniteArchitecture& architecture) {
  if (!option.starts_with("sw2=") && !option.starts_with("sb2="))
    reject(text, fmt::format("option '{}' is unknown (sw2=NUMBER, sb2=NUMBER)", option));
  double& target = option[1] == 'w' ? architecture.sw2 : architecture.sb2;
  if (!read_number(option.substr(4), target)) reject(text, fmt::format("'{}' has no number", option));
}

}  // namespace

void InfiniteArchitecture::check() const {
  require(depth >= 0 && depth <= max_depth, "kernel depth", depth,
          fmt::format("must be from 0 to {}", max_depth));
  require(sw2 > 0.0 && std::isfinite(sw2), "kernel sw2", sw2, "must be > 0 and finite");
  require(sb2 >= 0.0 && std::isfinite(sb2), "kernel sb2", sb2, "must be >= 0 and finite");
  require(std::isfinite(activation.slope), "leaky-relu slope", activation.slope, "must be finite");
}

InfiniteArchitecture parse_infinite_architecture(const std::string& text) {
  const std::string_view view = text;
  const std::size_t comma = std::min(view.find(','), view.size());
  const std::string_view shape = view.substr(0, comma);
  const std::size_t first = shape.find(':');
  const std::size_t second = first == std::string_view::npos ? first : shape.find(':', first + 1);
  if (second == std::string_view::npos) reject(text, "not three parts");
  InfiniteArchitecture architecture;
  const std::string_view kind = shape.substr(0, first);
  if (kind != "ntk" && kind != "nngp") reject(text, fmt::format("kind '{}' is unknown", kind));
  if (kind == "nngp") architecture.kind = InfiniteArchitecture::KernelKind::nngp;
  const std::string_view depth = shape.substr(second + 1);
  if (!read_number(depth, architecture.depth) || architecture.depth < 0 || architecture.depth > max_depth)
    reject(text, fmt::format("'{}' is not a number of hidden layers from 0 to {}", depth, max_depth));
  for (std::size_t begin = comma + 1; begin <= view.size();) {
    const std::size_t end = std::min(view.find(',', begin), view.size());
    read_option(view.substr(begin, end - begin), text, architecture);
    begin = end + 1;
  }
  try {
    architecture.activation = parse_activation(std::string(shape.substr(first + 1, second - first - 1)));
    architecture.check();
  } catch (const InputError& error) {
    reject(text, error.what());
  }
  return architecture;
}

std::string to_string(const InfiniteArchitecture& architecture) {
  const InfiniteArchitecture standard;
  std::string text =
      fmt::format("{}:{}:{}", architecture.kind == InfiniteArchitecture::KernelKind::ntk ? "ntk" : "nngp",
                  to_string(architecture.activation), architecture.depth);
  if (architecture.sw2 != standard.sw2) text += fmt::format(",sw2={}", architecture.sw2);
  if (architecture.sb2 != standard.sb2) text += fmt::format(",sb2={}", architecture.sb2);
  return text;
}

}  // namespace gradflow
