#pragma once

#include <string_view>

namespace gradflow {

/// Receives how far a long computation is. The library never prints: the program's terminal display and a
/// Python progress bar are implementations of this.
class Progress {
 public:
  virtual ~Progress() = default;
  /// `stage` names the work in a few words; `fraction` in [0, 1] is the part of that stage done. Called from
  /// the thread that started the computation. May throw to cancel it.
  virtual void update(std::string_view stage, double fraction) = 0;
};

inline void report_progress(Progress* progress, std::string_view stage, double fraction) {
  if (progress != nullptr) progress->update(stage, fraction);
}

}  // namespace gradflow
