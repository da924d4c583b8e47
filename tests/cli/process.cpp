#include "cli/process.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <stdexcept>
#include <thread>

namespace gradflow::cli_test {
namespace {

void set_limit(int resource, double bytes) {
  if (bytes <= 0.0) return;
  const rlimit limit{static_cast<rlim_t>(bytes), static_cast<rlim_t>(bytes)};
  if (setrlimit(static_cast<decltype(RLIMIT_AS)>(resource), &limit) != 0) _exit(125);
}

}  // namespace

Process::Process(const std::string& folder, const std::vector<std::string>& arguments, const Limits& limits) {
  std::vector<std::string> words{GRADFLOW_PROGRAM};
  words.insert(words.end(), arguments.begin(), arguments.end());
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  const std::string out = capture_ / "out", err = capture_ / "err";
  id_ = fork();
  if (id_ < 0) throw std::runtime_error("fork failed");
  if (id_ > 0) return;
  if (chdir(folder.c_str()) != 0) _exit(125);
  redirect(out, STDOUT_FILENO);
  redirect(err, STDERR_FILENO);
  // OpenBLAS maps address space for every core of the machine unless told otherwise.
  if (limits.address_space > 0.0) setenv("OPENBLAS_NUM_THREADS", "2", 1);
  set_limit(RLIMIT_AS, limits.address_space);
  set_limit(RLIMIT_FSIZE, limits.file_size);
  execv(GRADFLOW_PROGRAM, argv.data());
  _exit(126);
}

Process::~Process() {
  if (ended_) return;
  kill(id_, SIGKILL);
  waitpid(id_, nullptr, 0);
}

void Process::send(int signal) const { kill(id_, signal); }

bool Process::running() {
  if (ended_) return false;
  int status = 0;
  rusage used{};
  if (wait4(id_, &status, WNOHANG, &used) == 0) return true;
  ended_ = true;
  result_ = {.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : -1,
             .signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0,
             .peak_resident = 1024.0 * static_cast<double>(used.ru_maxrss),
             .out = capture_.read("out"),
             .err = capture_.read("err")};
  return false;
}

template <typename Condition>
bool Process::wait_until(Condition&& condition) {
  while (!condition()) {
    if (!running()) return condition();
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return true;
}

bool Process::says(const std::string& text) {
  return wait_until([&] { return capture_.read("err").find(text) != std::string::npos; });
}

bool Process::has_written(const std::string& path, double bytes) {
  return wait_until([&] {
    std::error_code absent;
    const auto size = std::filesystem::file_size(path, absent);
    return !absent && static_cast<double>(size) >= bytes;
  });
}

Ended Process::wait() {
  while (running()) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  return result_;
}

}  // namespace gradflow::cli_test
