#include "cli/further_test_options.h"

#include "cli/numbers.h"

namespace gradflow::cli {
namespace {

constexpr const char* group_name = "Tests beside the score test (docs/tests.md)";

CLI::Option* text_option(CLI::App& command, const std::string& name, std::string& target,
                         const std::string& help, const char* type) {
  return command.add_option(name, target, help)->group(group_name)->type_name(type);
}

void check_whole(CLI::Option* option, const std::string& name) {
  option->check(CLI::Validator(
      [name](std::string& text) {
        whole_number(name, text);
        return std::string();
      },
      ""));
}

}  // namespace

void add_further_test_options(CLI::App& command, Settings& s) {
  command
      .add_flag("--likelihood-ratio", s.likelihood_ratio,
                "Likelihood ratio of time 0 on the ridge path, with its simulated exact null")
      ->group(group_name);
  check_whole(
      text_option(command, "--permutations", s.permutations,
                  "Also p by so many permutations, which take no normal errors for granted", "INTEGER"),
      "--permutations");
  command
      .add_option("--also", s.also,
                  "Test this kernel too, and correct for taking the best of all (may be repeated)")
      ->group(group_name)
      ->type_name("TEXT")
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  text_option(command, "--group", s.group, "Test the kernel of these features given the kernel of all others",
              "A,B,...");
  text_option(command, "--given", s.given, "Test the operator given this kernel of all features", "TEXT");
  command.add_flag("--binary", s.binary, "A response of two values: its test with a logistic null model")
      ->group(group_name);
  check_whole(text_option(command, "--draws", s.draws,
                          "Of each simulated null (default: --likelihood-ratio 10000, --also 4000, --group "
                          "and --given 1999, --binary 9999)",
                          "INTEGER"),
              "--draws");
}

}  // namespace gradflow::cli
