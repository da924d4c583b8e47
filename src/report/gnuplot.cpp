#include "report/gnuplot.h"

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>
#include <sstream>
#include <vector>

#include "gradflow/base/error.h"
#include "report/html_text.h"

extern char** environ;

namespace gradflow {
namespace {

using File = std::unique_ptr<std::FILE, int (*)(std::FILE*)>;

File unnamed_file() {
  File file(std::tmpfile(), std::fclose);
  if (!file) throw FileError(fmt::format("cannot make a temporary file: {}", std::strerror(errno)));
  // Without this, a process started meanwhile by another thread would hold it.
  fcntl(fileno(file.get()), F_SETFD, FD_CLOEXEC);
  return file;
}

std::string contents(const File& file) {
  std::rewind(file.get());
  std::string text;
  std::array<char, 65536> block{};
  while (const std::size_t read = std::fread(block.data(), 1, block.size(), file.get()))
    text.append(block.data(), read);
  return text;
}

// The caller's environment, with numbers written as in C whatever the user's language.
std::vector<char*> plain_environment(std::string& locale) {
  std::vector<char*> variables;
  for (char** variable = environ; *variable != nullptr; ++variable) {
    const std::string_view text = *variable;
    if (!text.starts_with("LC_") && !text.starts_with("LANG=") && !text.starts_with("GNUPLOT"))
      variables.push_back(*variable);
  }
  variables.push_back(locale.data());
  variables.push_back(nullptr);
  return variables;
}

int wait_for(pid_t process) {
  int status = 0;
  while (waitpid(process, &status, 0) < 0)
    if (errno != EINTR) throw FileError(fmt::format("cannot wait for gnuplot: {}", std::strerror(errno)));
  return status;
}

// The first line that is no warning.
std::string first_error(const std::string& said) {
  std::istringstream lines(said);
  for (std::string line; std::getline(lines, line);)
    if (line.find_first_not_of(" \t") != std::string::npos && line.find("arning") == std::string::npos)
      return line;
  return "";
}

void replace_all(std::string& text, std::string_view from, std::string_view to) {
  std::string out;
  std::size_t begin = 0;
  for (std::size_t at = 0; (at = text.find(from, begin)) != std::string::npos; begin = at + from.size())
    out.append(text, begin, at - begin).append(to);
  text = out.append(text, begin, std::string::npos);
}

// Removes every stretch from `from` to the next `to`, both included.
void remove_between(std::string& text, std::string_view from, std::string_view to) {
  std::string out;
  std::size_t begin = 0;
  for (std::size_t at = 0; (at = text.find(from, begin)) != std::string::npos;) {
    const std::size_t end = text.find(to, at + from.size());
    if (end == std::string::npos) break;
    out.append(text, begin, at - begin);
    begin = end + to.size();
  }
  text = out.append(text, begin, std::string::npos);
}

}  // namespace

Drawing run_gnuplot(const std::string& program, const std::string& script) {
  const File input = unnamed_file(), output = unnamed_file(), errors = unnamed_file();
  if (std::fwrite(script.data(), 1, script.size(), input.get()) != script.size() ||
      std::fflush(input.get()) != 0)
    throw FileError(fmt::format("cannot write a temporary file: {}", std::strerror(errno)));
  std::rewind(input.get());
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, fileno(input.get()), STDIN_FILENO);
  posix_spawn_file_actions_adddup2(&actions, fileno(output.get()), STDOUT_FILENO);
  posix_spawn_file_actions_adddup2(&actions, fileno(errors.get()), STDERR_FILENO);
  std::string name = program, plain = "-d", from_input = "-", locale = "LC_ALL=C";
  std::array<char*, 4> arguments{name.data(), plain.data(), from_input.data(), nullptr};
  std::vector<char*> environment = plain_environment(locale);
  pid_t process = 0;
  const int refused =
      posix_spawnp(&process, program.c_str(), &actions, nullptr, arguments.data(), environment.data());
  posix_spawn_file_actions_destroy(&actions);
  if (refused != 0)
    throw InputError(fmt::format(
        "the figures are drawn by gnuplot, and '{}' was not found or cannot be started: install it "
        "(apt-get install gnuplot-nox)",
        program));
  const int status = wait_for(process);
  if (WIFEXITED(status) && WEXITSTATUS(status) == 127)
    throw InputError(
        fmt::format("'{}' cannot be started: install it (apt-get install gnuplot-nox)", program));
  Drawing drawing{contents(output), contents(errors)};
  const std::string said = first_error(drawing.warnings);
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0 || !said.empty())
    throw InputError(
        fmt::format("'{}' failed to draw a figure: {}", program, said.empty() ? "it said nothing" : said));
  if (drawing.svg.find("</svg>") == std::string::npos)
    throw InputError(fmt::format("'{}' drew no SVG: is its terminal 'svg' there?", program));
  return drawing;
}

std::string finished_svg(const std::string& drawn, const std::string& id, const std::string& title,
                         const std::string& description) {
  const std::size_t box = drawn.find("viewBox=\""), start = drawn.find("<defs>"), end = drawn.rfind("</svg>");
  if (box == std::string::npos || start == std::string::npos || end == std::string::npos)
    throw InputError("gnuplot's SVG has another form than that of versions 5 and 6");
  const std::string view = drawn.substr(box, drawn.find('"', box + 9) + 1 - box);
  std::string body = drawn.substr(start, end - start);
  remove_between(body, "<title>", "</title>");
  remove_between(body, "<filter", "</filter>");
  remove_between(body, " font-family=\"", "\"");
  remove_between(body, " id=\"", "\"");  // of plots: repeated in every panel
  replace_all(body, "xlink:href='#", fmt::format("href='#{}-", id));
  replace_all(body, " id='", fmt::format(" id='{}-", id));
  replace_all(body, "  '/>", "'/>");
  return fmt::format(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" {0} role=\"img\" aria-labelledby=\"{1}-title {1}-desc\" "
      "font-family=\"system-ui, -apple-system, 'Segoe UI', Helvetica, Arial, sans-serif\">"
      "<title id=\"{1}-title\">{2}</title><desc id=\"{1}-desc\">{3}</desc>\n<g>{4}</svg>\n",
      view, id, escaped(title), escaped(description), body);
}

}  // namespace gradflow
