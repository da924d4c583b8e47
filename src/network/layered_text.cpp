#include <algorithm>
#include <array>
#include <string_view>

#include "gradflow/base/error.h"
#include "gradflow/network/layered_architecture.h"
#include "network/layer_kinds.h"
#include "network/option_text.h"

namespace gradflow {
namespace {

constexpr std::string_view layer_list =
    "dense:WIDTH, conv1d:CHANNELS:SIZE[:STRIDE[:PADDING]], conv2d:CHANNELS:SIZE[:STRIDE[:PADDING]], flatten, "
    "avgpool, layernorm[:affine], res(LAYERS), an activation as relu, or first of all input:CxHxW";

std::vector<std::string_view> split(std::string_view text, char separator) {
  std::vector<std::string_view> parts;
  for (std::size_t begin = 0; begin <= text.size();) {
    const std::size_t end = std::min(text.find(separator, begin), text.size());
    parts.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return parts;
}

/// Reads the text from left to right; `at_` is where it is.
class LayerParser {
 public:
  LayerParser(const std::string& text, Index outputs) : text_(text), view_(text), outputs_(outputs) {}

  LayeredArchitecture parse() {
    LayeredArchitecture architecture;
    const std::size_t comma = std::min(view_.find(','), view_.size());
    end_ = comma;
    skip_blanks();
    if (view_.substr(at_).starts_with("input:")) architecture.input = read_input();
    architecture.layers = read_layers(0);
    if (at_ < end_) reject(at_, ")", "no residual block is open");
    for (at_ = comma + 1; at_ <= view_.size();) {
      const std::size_t end = std::min(view_.find(',', at_), view_.size());
      const std::string_view option = view_.substr(at_, end - at_), wrong = read_option(option, architecture);
      if (!wrong.empty()) reject(at_, option, wrong);
      at_ = end + 1;
    }
    try {
      architecture.check(outputs_);
    } catch (const InputError& error) {
      throw InputError(fmt::format("network '{}': {}", text_, error.what()));
    }
    return architecture;
  }

 private:
  [[noreturn]] void reject(std::size_t position, std::string_view token, std::string_view reason) const {
    throw InputError(fmt::format("network '{}', character {}: '{}': {}", text_, position + 1, token, reason));
  }
  void skip_blanks() {
    while (at_ < end_ && view_[at_] == ' ') ++at_;
  }
  std::string_view next_token() {
    const std::size_t begin = at_;
    while (at_ < end_ && view_[at_] != ' ' && view_[at_] != '(' && view_[at_] != ')') ++at_;
    return view_.substr(begin, at_ - begin);
  }

  std::vector<Index> read_input() {
    const std::size_t begin = at_;
    const std::string_view token = next_token();
    std::vector<Index> extents;
    for (const std::string_view part : split(token.substr(token.find(':') + 1), 'x')) {
      Index extent = 0;
      if (!read_number(part, extent) || extent < 1 || extents.size() == 3)
        reject(begin, token,
               "must be input:FEATURES, input:CHANNELSxLENGTH or input:CHANNELSxHEIGHTxWIDTH, each >= 1");
      extents.push_back(extent);
    }
    return extents;
  }

  // Layers up to the end or an unmatched ')'.
  std::vector<Layer> read_layers(int nested) {
    std::vector<Layer> layers;
    for (skip_blanks(); at_ < end_ && view_[at_] != ')'; skip_blanks()) {
      const std::size_t begin = at_;
      const std::string_view token = next_token();
      if (++count_ > most_layers) reject(begin, token, fmt::format("more than {} layers", most_layers));
      if (at_ < end_ && view_[at_] == '(') {
        if (token != "res")
          reject(begin, token, "only res takes layers in parentheses, as res(dense:8 relu)");
        if (nested == most_nested)
          reject(begin, token, fmt::format("more than {} blocks within each other", most_nested));
        ++at_;
        Layer block{.kind = LayerKind::residual, .inner = read_layers(nested + 1)};
        if (at_ >= end_) reject(begin, "res(", "no ')' closes this block");
        ++at_;
        if (block.inner.empty()) reject(begin, "res()", "a residual block needs layers");
        layers.push_back(std::move(block));
      } else {
        layers.push_back(read_layer(begin, token));
      }
    }
    return layers;
  }

  Layer read_layer(std::size_t begin, std::string_view token) const {
    const std::vector<std::string_view> parts = split(token, ':');
    const std::string_view name = parts.front();
    if (name == "conv1d" || name == "conv2d") return read_convolution(begin, token, parts);
    Layer layer;
    if (name == "dense") {
      layer.kind = LayerKind::dense;
      if (parts.size() != 2 || !read_number(parts[1], layer.width))
        reject(begin, token, "must be dense:WIDTH, as dense:128");
      return layer;
    }
    const bool bare = parts.size() == 1;
    if (bare && name == "flatten") return {.kind = LayerKind::flatten};
    if (bare && name == "avgpool") return {.kind = LayerKind::average_pool};
    if (bare && name == "layernorm") return {.kind = LayerKind::layer_norm};
    if (token == "layernorm:affine") return {.kind = LayerKind::layer_norm, .affine = true};
    try {
      layer.activation = parse_activation(std::string(token));
    } catch (const InputError& error) {
      if (name.starts_with("leaky-relu")) reject(begin, token, error.what());
      reject(begin, token, fmt::format("is no layer: must be {}", layer_list));
    }
    return layer;
  }

  Layer read_convolution(std::size_t begin, std::string_view token,
                         const std::vector<std::string_view>& parts) const {
    Layer layer{.kind = parts.front() == "conv1d" ? LayerKind::conv1d : LayerKind::conv2d};
    const std::array<Index*, 4> fields{&layer.width, &layer.size, &layer.stride, &layer.padding};
    bool readable = parts.size() >= 3 && parts.size() <= 5;
    for (std::size_t i = 1; readable && i < parts.size(); ++i)
      readable = read_number(parts[i], *fields[i - 1]);
    if (!readable)
      reject(begin, token,
             fmt::format("must be {0}:CHANNELS:SIZE[:STRIDE[:PADDING]], as {0}:32:3", parts.front()));
    if (parts.size() < 5) layer.padding = (layer.size - 1) / 2;
    return layer;
  }

  const std::string& text_;
  std::string_view view_;
  std::size_t at_ = 0, end_ = 0, count_ = 0;
  Index outputs_;
};

std::string join(const std::vector<Layer>& layers) {
  std::vector<std::string> texts;
  for (const Layer& layer : layers) texts.push_back(to_string(layer));
  return fmt::format("{}", fmt::join(texts, " "));
}

}  // namespace

std::string to_string(const Layer& layer) {
  switch (layer.kind) {
    case LayerKind::dense: return fmt::format("dense:{}", layer.width);
    case LayerKind::residual: return fmt::format("res({})", join(layer.inner));
    case LayerKind::layer_norm: return layer.affine ? "layernorm:affine" : "layernorm";
    case LayerKind::flatten: return "flatten";
    case LayerKind::average_pool: return "avgpool";
    case LayerKind::activation: return to_string(layer.activation);
    case LayerKind::conv1d:
    case LayerKind::conv2d: break;
  }
  std::string text =
      fmt::format("conv{}d:{}:{}", layer.kind == LayerKind::conv1d ? 1 : 2, layer.width, layer.size);
  const bool padded = layer.padding != (layer.size - 1) / 2;
  if (padded || layer.stride != 1) text += fmt::format(":{}", layer.stride);
  if (padded) text += fmt::format(":{}", layer.padding);
  return text;
}

LayeredArchitecture parse_layered_architecture(const std::string& text, Index outputs) {
  return LayerParser(text, outputs).parse();
}

std::string to_string(const LayeredArchitecture& architecture) {
  std::string text;
  if (!architecture.input.empty()) text = fmt::format("input:{} ", fmt::join(architecture.input, "x"));
  return text + join(architecture.layers) + options_text(architecture);
}

bool is_layered_text(const std::string& text) {
  const std::string_view shape = std::string_view(text).substr(0, text.find(','));
  if (shape.find(' ') != std::string_view::npos || shape.find('(') != std::string_view::npos) return true;
  const std::string_view name = shape.substr(0, shape.find(':'));
  constexpr std::array<std::string_view, 7> names{"input",   "dense",   "conv1d",   "conv2d",
                                                  "flatten", "avgpool", "layernorm"};
  return std::ranges::find(names, name) != names.end();
}

}  // namespace gradflow
