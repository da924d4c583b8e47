#pragma once

#include <string>
#include <vector>

#include "report/json_parts.h"

namespace gradflow {

/// A run's JSON document as a report reads it. Members are named by JSON pointers ("/test/p_value"). What is
/// absent or null reads as NaN, "" or an empty list; a value of another type is an InputError that names the
/// source, the member and what is required.
class RunDocument {
 public:
  /// Throws InputError: no JSON, or not the document of a run of `test`, `stop`, `fit`, `spectrum` or
  /// `train`.
  static RunDocument parse(const std::string& text, const std::string& source);

  bool has(const std::string& pointer) const;  ///< present and not null
  double number(const std::string& pointer) const;
  std::string text(const std::string& pointer) const;
  std::vector<std::string> texts(const std::string& pointer) const;
  Vector numbers(const std::string& pointer) const;
  Interval interval(const std::string& pointer) const;
  /// Whole numbers in [0, bound); others are an InputError.
  std::vector<Index> places(const std::string& pointer, Index bound) const;
  Index length(const std::string& pointer) const;                    ///< of a list
  std::vector<std::string> names(const std::string& pointer) const;  ///< members of an object, in order
  /// A scalar as text: strings as they are, numbers and flags as JSON writes them.
  std::string scalar(const std::string& pointer) const;

  bool of_classes() const { return has("/classes") && !of_training(); }
  bool of_training() const { return has("/training"); }  ///< of gradflow train
  const std::string& source() const { return source_; }

 private:
  const Json* find(const std::string& pointer) const;
  [[noreturn]] void fail(const std::string& pointer, std::string_view must) const;

  Json json_;
  std::string source_;
};

/// A member's name as part of a JSON pointer.
std::string member(std::string name);

/// A stopping rule as a document states it.
struct RuleEntry {
  std::string name, outcome, reason;
  double time, steps, effective_dof, estimated_rmse, loo_rmse;
  Interval interval;
  bool chosen;

  bool is_usable() const {
    return outcome == "converged" || outcome == "at_zero" || outcome == "on_boundary";
  }
};
std::vector<RuleEntry> rules_of(const RunDocument& run);

/// Whether errors and variances are in units of a transformed response.
bool is_transformed(const RunDocument& run);
std::string shown_transform(const RunDocument& run);  ///< "box-cox, lambda 0.47", or nothing

}  // namespace gradflow
