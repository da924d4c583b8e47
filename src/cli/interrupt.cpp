#include "cli/interrupt.h"

#include <unistd.h>

#include <csignal>
#include <string_view>

#include "cli/terminal_progress.h"
#include "gradflow/base/atomic_file.h"

namespace gradflow::cli {
namespace {

constexpr int signals[] = {SIGINT, SIGTERM, SIGHUP};

volatile std::sig_atomic_t stderr_is_terminal = 0;

// Async-signal-safe calls only. All three signals are blocked in here; the one raised again is delivered,
// with its default action, when this returns.
extern "C" void on_interrupt(int number) {
  remove_temporaries_now();
  if (stderr_is_terminal != 0) {
    [[maybe_unused]] const auto written = write(STDERR_FILENO, clear_line.data(), clear_line.size());
  }
  struct sigaction action {};
  action.sa_handler = SIG_DFL;
  sigaction(number, &action, nullptr);
  raise(number);
}

}  // namespace

void clean_up_on_interrupt() {
  stderr_is_terminal = isatty(STDERR_FILENO);
  struct sigaction action {};
  action.sa_handler = &on_interrupt;
  action.sa_flags = SA_RESTART;
  sigemptyset(&action.sa_mask);
  for (const int number : signals) sigaddset(&action.sa_mask, number);
  for (const int number : signals) {
    struct sigaction before {};
    if (sigaction(number, nullptr, &before) == 0 && before.sa_handler != SIG_IGN)
      sigaction(number, &action, nullptr);
  }
}

}  // namespace gradflow::cli
