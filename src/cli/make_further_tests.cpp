#include "cli/make_further_tests.h"

#include "cli/numbers.h"
#include "gradflow/base/error.h"

namespace gradflow::cli {
namespace {

constexpr std::uint64_t most_draws = 100'000'000;

Index draws_of(const std::string& option, const std::string& text) {
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

FurtherTestOptions make_further_tests(const Settings& s, const Job& job) {
  FurtherTestOptions options;
  options.likelihood_ratio = s.likelihood_ratio;
  if (!s.permutations.empty()) options.permutations = draws_of("--permutations", s.permutations);
  for (const std::string& text : s.also) options.also.push_back(kernel_of(text, s));
  options.group = split_list(s.group);
  if (!s.given.empty()) options.given = kernel_of(s.given, s);
  options.binary = s.binary;
  if (!s.draws.empty()) options.draws = draws_of("--draws", s.draws);
  if (options.draws && !options.any())
    throw InputError(
        "--draws is for --likelihood-ratio, --also, --group, --given and --binary, and none of them is "
        "given");
  options.check(job);
  return options;
}

}  // namespace gradflow::cli
