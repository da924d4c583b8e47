#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

#include "cli/run_program.h"

namespace gradflow::cli_test {

/// Whether the tests and the program are built with a sanitizer: slower, and with address space of its own.
#ifdef GRADFLOW_SANITIZED
inline constexpr bool sanitized = true;
#else
inline constexpr bool sanitized = false;
#endif

/// What the program may use, as `ulimit` sets it in a shell; 0: no limit.
struct Limits {
  double address_space = 0.0;  ///< bytes, ulimit -v
  double file_size = 0.0;      ///< bytes, ulimit -f
};

struct Ended {
  int exit_code = -1;          ///< -1 when the program died of a signal
  int signal = 0;              ///< that it died of
  double peak_resident = 0.0;  ///< bytes, at the peak
  std::string out, err;
};

/// The program while it runs in `folder` with these arguments. Killed at the end if it still runs.
class Process {
 public:
  Process(const std::string& folder, const std::vector<std::string>& arguments, const Limits& limits = {});
  ~Process();
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;

  void send(int signal) const;
  bool running();
  /// Waits until standard error holds the text; false when the program ended before that.
  bool says(const std::string& text);
  /// Waits until the file is at least this long; false when the program ended before that.
  bool has_written(const std::string& path, double bytes);
  Ended wait();

 private:
  template <typename Condition>
  bool wait_until(Condition&& condition);

  TemporaryFolder capture_;
  pid_t id_ = -1;
  bool ended_ = false;
  Ended result_;
};

}  // namespace gradflow::cli_test
