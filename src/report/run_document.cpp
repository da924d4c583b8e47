#include "report/run_document.h"

#include <cmath>
#include <limits>

#include "gradflow/base/error.h"

namespace gradflow {
namespace {

constexpr double not_given = std::numeric_limits<double>::quiet_NaN();

}  // namespace

std::string member(std::string name) {
  for (std::size_t at = 0; (at = name.find_first_of("~/", at)) != std::string::npos; at += 2)
    name.replace(at, 1, name[at] == '~' ? "~0" : "~1");
  return name;
}

RunDocument RunDocument::parse(const std::string& text, const std::string& source) {
  RunDocument run;
  run.source_ = source;
  run.json_ = Json::parse(text, nullptr, false);
  if (run.json_.is_discarded())
    throw InputError(fmt::format("'{}' is neither a gradflow model nor the JSON of a run", source));
  if (run.json_.is_object() && run.json_.contains("targets"))
    throw InputError(fmt::format(
        "'{}' is of several targets: make a report of each one's model file, or of a run of its own",
        source));
  const auto has_object = [&](const char* name) {
    return run.json_.contains(name) && run.json_[name].is_object();
  };
  const bool of_a_run = run.json_.is_object() && run.json_.contains("gradflow") &&
                        (has_object("test") || has_object("training"));
  if (!of_a_run)
    throw InputError(
        fmt::format("'{}' is not the JSON of a run: must be what gradflow test, stop, fit, spectrum or train "
                    "wrote with --json",
                    source));
  return run;
}

const Json* RunDocument::find(const std::string& pointer) const {
  const Json::json_pointer place(pointer);
  if (!json_.contains(place)) return nullptr;
  const Json& value = json_.at(place);
  return value.is_null() ? nullptr : &value;
}

void RunDocument::fail(const std::string& pointer, std::string_view must) const {
  throw InputError(fmt::format("'{}': {} must be {}", source_, pointer, must));
}

bool RunDocument::has(const std::string& pointer) const { return find(pointer) != nullptr; }

double RunDocument::number(const std::string& pointer) const {
  const Json* value = find(pointer);
  if (value == nullptr) return not_given;
  if (!value->is_number()) fail(pointer, "a number or null");
  return value->get<double>();
}

std::string RunDocument::text(const std::string& pointer) const {
  const Json* value = find(pointer);
  if (value == nullptr) return "";
  if (!value->is_string()) fail(pointer, "a text");
  return value->get<std::string>();
}

std::vector<std::string> RunDocument::texts(const std::string& pointer) const {
  std::vector<std::string> list;
  for (Index i = 0; i < length(pointer); ++i) list.push_back(text(fmt::format("{}/{}", pointer, i)));
  return list;
}

Vector RunDocument::numbers(const std::string& pointer) const {
  const Json* list = find(pointer);
  if (list == nullptr) return {};
  if (!list->is_array()) fail(pointer, "a list of numbers");
  Vector values(static_cast<Index>(list->size()));
  for (Index i = 0; i < values.size(); ++i) {
    const Json& value = (*list)[static_cast<std::size_t>(i)];
    if (!value.is_number() && !value.is_null()) fail(pointer, "a list of numbers");
    values(i) = value.is_null() ? not_given : value.get<double>();
  }
  return values;
}

Interval RunDocument::interval(const std::string& pointer) const {
  return {number(pointer + "/lower"), number(pointer + "/upper"), number(pointer + "/level")};
}

std::vector<Index> RunDocument::places(const std::string& pointer, Index bound) const {
  std::vector<Index> list;
  for (const double value : numbers(pointer)) {
    if (!(value >= 0.0 && value < static_cast<double>(bound)) || value != std::floor(value))
      fail(pointer, fmt::format("a list of whole numbers from 0 to {}", bound - 1));
    list.push_back(static_cast<Index>(value));
  }
  return list;
}

Index RunDocument::length(const std::string& pointer) const {
  const Json* list = find(pointer);
  if (list == nullptr) return 0;
  if (!list->is_array()) fail(pointer, "a list");
  return static_cast<Index>(list->size());
}

std::vector<std::string> RunDocument::names(const std::string& pointer) const {
  std::vector<std::string> names;
  const Json* object = find(pointer);
  if (object == nullptr) return names;
  if (!object->is_object()) fail(pointer, "an object");
  for (const auto& [name, value] : object->items()) names.push_back(name);
  return names;
}

std::string RunDocument::scalar(const std::string& pointer) const {
  const Json* value = find(pointer);
  if (value == nullptr) return "";
  if (value->is_structured()) fail(pointer, "a text or a number");
  return value->is_string() ? value->get<std::string>() : value->dump();
}

std::vector<RuleEntry> rules_of(const RunDocument& run) {
  std::vector<RuleEntry> rules;
  const std::string chosen = run.text("/chosen/rule");
  for (const std::string& name : run.names("/rules")) {
    const std::string at = fmt::format("/rules/{}", member(name));
    rules.push_back({.name = name,
                     .outcome = run.text(at + "/outcome"),
                     .reason = run.text(at + "/reason"),
                     .time = run.number(at + "/time"),
                     .steps = run.number(at + "/steps"),
                     .effective_dof = run.number(at + "/effective_dof"),
                     .estimated_rmse = run.number(at + "/estimated_rmse"),
                     .loo_rmse = run.number(at + "/loo_rmse"),
                     .interval = run.interval(at + "/interval"),
                     .chosen = name == chosen});
    // An infinite number is written as null: a usable rule has a time, a lower end an upper one.
    constexpr double infinity = std::numeric_limits<double>::infinity();
    RuleEntry& rule = rules.back();
    if (rule.is_usable() && std::isnan(rule.time)) rule.time = infinity;
    if (std::isfinite(rule.interval.lower) && std::isnan(rule.interval.upper)) rule.interval.upper = infinity;
  }
  return rules;
}

}  // namespace gradflow
