#pragma once

#include <chrono>
#include <string>
#include <string_view>

#include "gradflow/base/progress.h"

namespace gradflow::cli {

/// To a terminal: what its line shows is taken away.
inline constexpr std::string_view clear_line = "\r\033[K";

/// One line on stderr that is overwritten: the stage, the part done and the time left. Silent unless stderr
/// is a terminal. Cleared when it is destroyed.
class TerminalProgress final : public Progress {
 public:
  explicit TerminalProgress(bool enabled);
  ~TerminalProgress() override;
  void update(std::string_view stage, double fraction) override;

 private:
  using Clock = std::chrono::steady_clock;
  bool enabled_;
  bool shown_ = false;
  std::string stage_;
  Clock::time_point start_ = Clock::now();
  Clock::time_point last_{};
};

}  // namespace gradflow::cli
