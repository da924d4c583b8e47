#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <string>

#include "cli/commands.h"
#include "cli/numbers.h"
#include "cli/output.h"
#include "gradflow/base/atomic_file.h"
#include "gradflow/base/error.h"
#include "gradflow/data/csv_writer.h"
#include "gradflow/model/simulate.h"
#include "gradflow/report/json_report.h"

namespace gradflow::cli {
namespace {

void refuse_model_options(const Settings& s) {
  if (!s.kernel.empty() || !s.tau.empty())
    throw InputError(fmt::format("{} is for the function model, and the function is '{}'",
                                 s.kernel.empty() ? "--tau" : "--kernel", s.function));
}

SimulationOptions make_simulation(const Settings& s) {
  SimulationOptions options;
  options.function = parse_test_function(s.function);
  options.rows = count_of("--rows", s.rows);
  if (!s.dimension.empty()) {
    options.features = count_of("--dimension", s.dimension);
    if (options.features == 0) throw InputError("--dimension 0: must be >= 1");
  }
  const bool model = options.function == TestFunction::model;
  if (!model && !s.noise.empty() && !s.signal_to_noise.empty())
    throw InputError("--noise and --snr: give one, the other follows from it");
  if (!s.classes.empty() && !s.binary_rate.empty())
    throw InputError("--classes and --binary-rate: give one, the labels are one or the other");
  if (!s.noise.empty()) options.noise = nonnegative_number("--noise", s.noise);
  if (!s.signal_to_noise.empty()) options.signal_to_noise = positive_number("--snr", s.signal_to_noise);
  options.noise_kind = parse_noise_kind(s.noise_kind);
  options.correlation = finite_number("--correlation", s.correlation);
  options.copies = count_of("--copies", s.simulated_copies);
  options.replicates = count_of("--replicates", s.replicates);
  if (!s.classes.empty()) {
    options.classes = count_of("--classes", s.classes);
    if (options.classes < 2) throw InputError(fmt::format("--classes {}: must be >= 2", s.classes));
  }
  if (!s.binary_rate.empty()) options.binary_rate = open_fraction("--binary-rate", s.binary_rate);
  options.seed = whole_number("--seed", s.seed);
  options.replicate = whole_number("--replicate", s.replicate);
  options.fixed_inputs = s.fixed_inputs;
  if (!s.tau.empty() && !s.signal_to_noise.empty())
    throw InputError("--tau and --snr: give one, the other follows from it");
  if (model) {
    options.operator_spec.kernel = parse_kernel_sum(s.kernel.empty() ? "ntk:relu:2" : s.kernel);
    if (!s.tau.empty()) options.tau = nonnegative_number("--tau", s.tau);
  } else {
    refuse_model_options(s);
  }
  options.check();
  return options;
}

using Sink = std::function<void(std::string_view)>;

// Rows 0 to n - 1 of a CSV text, in pieces.
void write_rows(const Sink& sink, std::string header, Index n,
                const std::function<void(std::string&, Index)>& append_row) {
  constexpr std::size_t piece = 1 << 16;
  std::string text = std::move(header);
  for (Index i = 0; i < n; ++i) {
    append_row(text, i);
    if (text.size() < piece) continue;
    sink(text);
    text.clear();
  }
  sink(text);
}

void write_table(const Sink& sink, const SimulatedData& data) {
  std::string header;
  for (Index j = 0; j < data.X.cols(); ++j) header += fmt::format("x{},", j + 1);
  write_rows(sink, header + "y\n", data.X.rows(), [&data](std::string& text, Index i) {
    for (const double x : data.X.row(i)) text += fmt::format("{},", csv_number(x));
    text += fmt::format("{}\n", csv_number(data.y(i)));
  });
}

void write_truth(const Sink& sink, const SimulatedData& data) {
  write_rows(sink, "f\n", data.f.size(),
             [&data](std::string& text, Index i) { text += fmt::format("{}\n", csv_number(data.f(i))); });
}

void write_file(const std::string& path, const SimulatedData& data,
                void (*write)(const Sink&, const SimulatedData&)) {
  AtomicFile file(path);
  write([&file](std::string_view text) { file.write(text); }, data);
  file.commit();
}

// A path as a shell takes it.
std::string quoted(const std::string& path) {
  constexpr std::string_view plain =
      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./+-=@%:,";
  if (path.find_first_not_of(plain) == std::string::npos) return path;
  std::string text = "'";
  for (const char c : path) text += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return text + "'";
}

std::string text_of(const Settings& s, const SimulationOptions& options, const SimulatedData& data) {
  const bool model = options.function == TestFunction::model;
  std::string text = fmt::format("{}: f = {}\n", to_string(options.function), formula(options.function));
  text += fmt::format("{} rows, {} features, {} noise of sd {:.4g}, signal-to-noise ratio {:.4g}\n",
                      data.X.rows(), data.X.cols(), to_string(options.noise_kind), data.noise,
                      data.signal_to_noise);
  if (model) text += fmt::format("s^2 = {:.6g}, tau = {:.6g}\n", data.noise * data.noise, data.tau);
  text += fmt::format("Written to {}{}.\n", s.output,
                      s.truth.empty() ? "" : fmt::format(", and f to {}", s.truth));
  text += fmt::format("Next: gradflow stop {} --target y", quoted(s.output));
  // The kernel of the model is that of the features as they are.
  if (model) text += fmt::format(" --kernel {} --standardize none", quoted(options.operator_spec.text()));
  return text + "\n";
}

void check_simulated_files(const Settings& s) {
  for (const std::string& path : {s.output, s.truth, s.json}) require_writable(path, {});
  if (s.truth == "-") throw InputError("--truth -: must be a file; standard output is the table's");
  if (same_file(s.output, s.truth))
    throw InputError(fmt::format("-o and --truth name the same file, '{}'", s.truth));
  for (const std::string& result : {s.output, s.truth})
    if (same_file(s.json, result))
      throw InputError(fmt::format("--json and another result name the same file, '{}'", s.json));
}

}  // namespace

int simulate_command(Invocation& invocation) {
  const Settings& s = invocation.settings;
  check_simulated_files(s);
  const SimulationOptions options = make_simulation(s);
  invocation.record.seed = options.seed;
  const SimulatedData data = simulate(options);
  if (!s.truth.empty()) write_file(s.truth, data, write_truth);
  if (!s.json.empty())
    write_file_atomically(s.json, json_simulation_report(invocation.record, options, data));
  if (s.output.empty() || s.output == "-") {
    write_table(print, data);
    return exit_usable;
  }
  write_file(s.output, data, write_table);
  if (!s.quiet) print(text_of(s, options, data));
  return exit_usable;
}

}  // namespace gradflow::cli
