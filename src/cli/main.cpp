#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <boost/version.hpp>
#include <cstdio>
#include <functional>
#include <new>

#include "cli/class_command.h"
#include "cli/further_test_options.h"
#include "cli/interrupt.h"
#include "cli/numbers.h"
#include "cli/options.h"
#include "cli/output.h"
#include "cli/several_targets.h"
#include "cli/train_command.h"
#include "gradflow/base/blas_core.h"
#include "gradflow/base/error.h"
#include "gradflow/base/parallel.h"
#include "gradflow/model/version.h"

extern "C" char* openblas_get_config(void);

namespace gradflow::cli {
namespace {

struct Command {
  CLI::App* app;
  int (*run)(Invocation&);
};

std::string version_text() {
  return fmt::format("gradflow {}\nEigen {}.{}.{}, Boost {}.{}.{}, {}, compiler {}", version,
                     EIGEN_WORLD_VERSION, EIGEN_MAJOR_VERSION, EIGEN_MINOR_VERSION, BOOST_VERSION / 100000,
                     BOOST_VERSION / 100 % 1000, BOOST_VERSION % 100, openblas_get_config(), __VERSION__);
}

CLI::App* add_command(CLI::App& app, const std::string& name, const std::string& sentence,
                      const std::string& examples) {
  CLI::App* command = app.add_subcommand(name, sentence);
  command->footer("Examples:\n" + examples);
  command->allow_extras();
  command->get_formatter()->column_width(36);
  return command;
}

CLI::App* add_report(CLI::App& app, Settings& s) {
  CLI::App* report =
      add_command(app, "report", "A page to look at: verdict, figures and settings, in one HTML file.",
                  "  gradflow report price.model -o report.html\n"
                  "  gradflow report run.json -o report.html --figures figures");
  add_report_options(*report, s);
  add_file_output(*report, s, "The page, HTML (-: standard output)", true);
  return report;
}

CLI::App* add_train(CLI::App& app, Settings& s) {
  CLI::App* train = add_command(
      app, "train", "The finite network itself, trained to the stopping time, and watched.",
      "  gradflow train data.csv --target price -o price.safetensors\n"
      "  gradflow train data.csv --target price --network gelu:256x2 --optimizer adam --batch 32\n"
      "  gradflow train data.csv --target price --stop follow-gdf --watch price.json\n"
      "  gradflow train data.csv --target species --classes --optimizer adam -o species.safetensors");
  add_data_options(*train, s);
  add_training_options(*train, s);
  return train;
}

void add_options_of_stop_and_fit(CLI::App& command, Settings& s) {
  add_noise_options(command, s);
  add_rules_option(command, s);
}

std::vector<Command> add_commands(CLI::App& app, Settings& s) {
  CLI::App* test =
      add_command(app, "test", "Is training warranted? A score test with an exact p-value.",
                  "  gradflow test data.csv --target price\n"
                  "  gradflow test --features X.npy --response y.npy --network relu:128x2\n"
                  "  gradflow test data.csv --target price --group rooms,area --permutations 9999");
  CLI::App* stop =
      add_command(app, "stop", "How long to train? The test, and all stopping rules side by side.",
                  "  gradflow stop data.csv --target price --learning-rate 0.01\n"
                  "  gradflow stop data.csv --target price --kernel ntk:erf:3 --json run.json");
  CLI::App* fit =
      add_command(app, "fit", "The network trained for that long, as a model file for gradflow predict.",
                  "  gradflow fit data.csv --target price -o price.model\n"
                  "  gradflow fit data.csv --target species --classes -o species.model\n"
                  "  gradflow fit data.csv --target price --id house --covariates year -o price.model");
  CLI::App* train = add_train(app, s);
  CLI::App* predict = add_command(app, "predict", "What does the model say of new rows, and how surely?",
                                  "  gradflow predict price.model new.csv -o predictions.csv\n"
                                  "  gradflow predict price.model --features X_new.npy -o -");
  CLI::App* spectrum =
      add_command(app, "spectrum", "Which directions does training learn, and how fast? The eigenvalues.",
                  "  gradflow spectrum data.csv --target price -o spectrum.csv");
  CLI::App* kernel = add_command(app, "kernel", "The training operator H = kernel/n as a matrix file.",
                                 "  gradflow kernel --features X.npy --network relu:128x2 -o H.npy\n"
                                 "  gradflow kernel data.csv --target price --cross new.csv -o C.npy");
  CLI::App* simulate =
      add_command(app, "simulate", "Data of which the truth is known, from a test function or the model.",
                  "  gradflow simulate friedman1 -n 500 -o data.csv --truth f.csv\n"
                  "  gradflow simulate model --kernel ntk:erf:3 --tau 5 --seed 7 -o data.csv");
  CLI::App* report = add_report(app, s);
  for (CLI::App* command : {test, stop, fit, spectrum, kernel}) {
    add_data_options(*command, s);
    add_network_options(*command, s);
    if (command != kernel) add_test_options(*command, s);
    if (command != kernel && command != test) {
      add_stopping_options(*command, s);
      add_choice_options(*command, s, command == fit);
    }
    if (command != kernel && command != spectrum) add_computation_options(*command, s);
    if (command == stop || command == fit) add_options_of_stop_and_fit(*command, s);
    if (command == test || command == stop || command == fit) add_class_options(*command, s);
  }
  add_further_test_options(*test, s);
  add_new_row_options(*predict, s);
  add_cross_option(*kernel, s);
  add_simulation_options(*simulate, s);
  add_file_output(*fit, s, "The model file (safetensors)", true);
  add_file_output(
      *predict, s,
      "CSV with id, mean, sd, lower, upper, or of classes id, class, p_NAME, ... (-: standard output)",
      false);
  add_file_output(*spectrum, s, "All eigenvalues as CSV", false);
  add_file_output(*kernel, s, "The matrix, NPY, float64", true);
  add_file_output(*simulate, s, "CSV with x1, ..., xd, y (-: standard output, the default)", false);
  for (CLI::App* command : {test, stop, fit, train, predict, spectrum, kernel, simulate})
    add_output_options(*command, s);
  return {{test, test_command},         {stop, stop_command},         {fit, fit_command},
          {predict, predict_command},   {spectrum, spectrum_command}, {kernel, kernel_command},
          {simulate, simulate_command}, {report, report_command},     {train, train_command}};
}

int fail(const std::string& sentence, const std::string& help) {
  std::fputs(fmt::format("gradflow: error: {}\n", sentence).c_str(), stderr);
  if (!help.empty()) std::fputs(fmt::format("try '{}'\n", help).c_str(), stderr);
  return exit_bad_input;
}

// One sentence in the style of the others for what CLI11 says.
std::string sentence_of(const CLI::ParseError& error) {
  std::string text = error.what();
  if (dynamic_cast<const CLI::ArgumentMismatch*>(&error) != nullptr) {
    const std::string name = text.substr(0, text.find(':'));
    return text.find("required") != std::string::npos && text.find("missing") != std::string::npos
               ? fmt::format("{} needs a value", name)
               : fmt::format("{} is given more than once", name);
  }
  if (dynamic_cast<const CLI::RequiredError*>(&error) != nullptr &&
      text.find("is required") != std::string::npos)
    return text.starts_with("--output") ? "-o FILE is required" : text;
  return text;
}

void refuse_extras(const CLI::App& command) {
  const std::vector<std::string> extras = command.remaining();
  if (extras.empty()) return;
  const std::string& first = extras.front();
  if (!first.starts_with('-')) throw InputError(fmt::format("unexpected argument '{}'", first));
  const std::string nearest = nearest_option(command, first.substr(0, first.find('=')));
  throw InputError(nearest.empty() ? fmt::format("unknown option {}", first)
                                   : fmt::format("unknown option {}: did you mean {}?", first, nearest));
}

int run_command(const Command& command, Settings settings, const std::vector<std::string>& arguments) {
  Invocation invocation{std::move(settings), {}};
  RunRecord& record = invocation.record;
  const std::uint64_t threads_asked = whole_number("--threads", invocation.settings.threads);
  if (threads_asked > 4096)
    throw InputError(fmt::format("--threads {}: must be at most 4096", threads_asked));
  set_threads(static_cast<int>(threads_asked));
  record.command = command.app->get_name();
  record.arguments = arguments;
  record.options = options_in_effect(*command.app);
  record.threads = threads();
  const bool trains = record.command == "train";  // whose options are others, and are checked there
  if (!trains) check_class_options(*command.app, invocation.settings);
  int (*const run)(Invocation&) =
      invocation.settings.target_is_class && !trains ? class_command : command.run;
  const bool takes_several =
      trains || record.command == "test" || record.command == "stop" || record.command == "fit";
  if (!takes_several) return run(invocation);
  const std::vector<std::string> targets = targets_of(invocation.settings);
  return targets.size() > 1 ? several_targets(invocation, targets, run) : run(invocation);
}

int unknown_command(const std::string& name) {
  return fail(fmt::format("unknown command '{}': must be test, stop, fit, train, predict, spectrum, kernel, "
                          "simulate or report",
                          name),
              "gradflow --help");
}

int run_program(int argc, char** argv) {
  CLI::App app(
      "Is training a network on these data warranted, how long should it train, and what does it predict?",
      "gradflow");
  app.set_version_flag("--version", version_text);
  app.require_subcommand(0, 1);
  app.footer("Each command has its own help: gradflow stop --help");
  Settings settings;
  const std::vector<Command> commands = add_commands(app, settings);
  const std::vector<std::string> arguments(argv, argv + argc);
  if (argc < 2)
    return fail("no command: test, stop, fit, train, predict, spectrum, kernel, simulate or report",
                "gradflow --help");
  std::string help = "gradflow --help";
  try {
    for (const Command& command : commands)
      if (command.app->get_name() == arguments[1]) help = fmt::format("gradflow {} --help", arguments[1]);
    if (!arguments[1].starts_with('-') && help == "gradflow --help") return unknown_command(arguments[1]);
    app.parse(argc, argv);
    for (const Command& command : commands) {
      if (!command.app->parsed()) continue;
      refuse_extras(*command.app);
      help.clear();  // from here on an error is about the input, not the command line
      return run_command(command, settings, arguments);
    }
    return fail(fmt::format("unknown option {}", arguments[1]), help);
  } catch (const CLI::Success& request) {  // --help and --version
    return app.exit(request);
  } catch (const CLI::ParseError& error) {
    return fail(sentence_of(error), help);
  } catch (const InputError& error) {
    return fail(error.what(), help);
  } catch (const std::bad_alloc&) {
    return fail("memory ran out although the plan fitted: give --max-memory less than other programs leave",
                "");
  } catch (const std::exception& error) {
    std::fputs(fmt::format("gradflow: internal fault: {}\n", error.what()).c_str(), stderr);
    return exit_fault;
  }
}

}  // namespace
}  // namespace gradflow::cli

int main(int argc, char** argv) {
  gradflow::restart_with_wider_blas();
  gradflow::cli::clean_up_on_interrupt();
  return gradflow::cli::run_program(argc, argv);
}
