#include "cli/terminal_progress.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cstdio>

namespace gradflow::cli {
namespace {

constexpr auto shortest_interval = std::chrono::milliseconds(100);
}  // namespace

TerminalProgress::TerminalProgress(bool enabled) : enabled_(enabled && isatty(STDERR_FILENO) == 1) {}

TerminalProgress::~TerminalProgress() {
  if (shown_) std::fputs(clear_line.data(), stderr);
}

void TerminalProgress::update(std::string_view stage, double fraction) {
  if (!enabled_) return;
  const auto now = Clock::now();
  if (stage == stage_ && now - last_ < shortest_interval) return;
  stage_ = stage;
  last_ = now;
  std::string line = fmt::format("{}{}", clear_line, stage);
  if (fraction > 0.0) line += fmt::format(" ({:.0f} %)", 100.0 * fraction);
  const double elapsed = std::chrono::duration<double>(now - start_).count();
  if (fraction > 0.05 && elapsed > 2.0)
    line += fmt::format(", about {:.0f} s left", elapsed * (1.0 / fraction - 1.0));
  std::fputs(line.c_str(), stderr);
  std::fflush(stderr);
  shown_ = true;
}

}  // namespace gradflow::cli
