#include "cli/further_test_options.h"

#include <fmt/format.h>

#include <algorithm>

#include "cli/numbers.h"
#include "gradflow/base/error.h"

namespace gradflow::cli {
namespace {

constexpr const char* group_name = "Tests beside the score test (docs/tests.md)";
constexpr std::uint64_t most_draws = 100'000'000;

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

Index count_of(const std::string& option, const std::string& text) {
  const std::uint64_t count = whole_number(option, text);
  if (count < 1 || count > most_draws)
    throw InputError(fmt::format("{} {}: must be between 1 and {}", option, text, most_draws));
  return static_cast<Index>(count);
}

// The variances of --sw2 and --sb2 are those of every network.
KernelSum kernel_of(const std::string& text, const Settings& s) {
  KernelSum kernel = parse_kernel_sum(text);
  for (KernelTerm& term : kernel.terms) {
    if (term.kind != KernelTerm::Kind::network) continue;
    if (!s.sw2.empty()) term.network.sw2 = positive_number("--sw2", s.sw2);
    if (!s.sb2.empty()) term.network.sb2 = nonnegative_number("--sb2", s.sb2);
    term.network.check();
  }
  return kernel;
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

FurtherTestOptions make_further_tests(const Settings& s, const Job& job) {
  FurtherTestOptions options;
  options.likelihood_ratio = s.likelihood_ratio;
  if (!s.permutations.empty()) options.permutations = count_of("--permutations", s.permutations);
  for (const std::string& text : s.also) options.also.push_back(kernel_of(text, s));
  options.group = split_list(s.group);
  if (!s.given.empty()) options.given = kernel_of(s.given, s);
  options.binary = s.binary;
  if (!s.draws.empty()) options.draws = count_of("--draws", s.draws);
  if (options.draws && !options.any())
    throw InputError(
        "--draws is for --likelihood-ratio, --also, --group, --given and --binary, and none of them is "
        "given");
  options.check(job);
  return options;
}

}  // namespace gradflow::cli
