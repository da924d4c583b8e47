#include "support.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <exception>
#include <map>
#include <mutex>
#include <thread>

#include "gradflow/base/parallel.h"

namespace gradflow::calibration {
namespace {

double log_choose(double n, double k) {
  return std::lgamma(n + 1.0) - std::lgamma(k + 1.0) - std::lgamma(n - k + 1.0);
}

double log_beta(double a, double b) { return std::lgamma(a) + std::lgamma(b) - std::lgamma(a + b); }

// log Pr(K = k) of the number of rejections among N if the test is exact.
double log_probability(const SizeRow& row, double level, double k) {
  const auto N = static_cast<double>(row.answered), R = static_cast<double>(row.shared_null_draws);
  if (row.shared_null_draws == 0)
    return log_choose(N, k) + k * std::log(level) + (N - k) * std::log1p(-level);
  const double a = std::round(level * (R + 1.0)), b = R + 1.0 - a;
  return log_choose(N, k) + log_beta(k + a, N - k + b) - log_beta(a, b);
}

const char* text_of(Claim claim) {
  switch (claim) {
    case Claim::exact: return "exact";
    case Claim::at_most: return "at most";
    case Claim::none: break;
  }
  return "approximate";
}

}  // namespace

Index Effort::of(Index count, Index least) const {
  return std::max<Index>(least, static_cast<Index>(std::llround(scale * static_cast<double>(count))));
}

void for_each_repetition(Index count, const std::function<void(Index r)>& body) {
  set_threads(0);
  const int cores = threads();
  set_threads(1);
  std::atomic<Index> next{0};
  std::exception_ptr failure;
  std::mutex failure_mutex;
  const auto work = [&] {
    for (Index r = next++; r < count; r = next++) {
      try {
        body(r);
      } catch (...) {
        const std::lock_guard lock(failure_mutex);
        if (!failure) failure = std::current_exception();
        next = count;
      }
    }
  };
  {
    std::vector<std::jthread> helpers;
    for (int i = 1; i < cores; ++i) helpers.emplace_back(work);
    work();
  }
  set_threads(0);
  if (failure) std::rethrow_exception(failure);
}

void SizeRow::add(const Vector& p_values) {
  for (const double p : p_values) {
    if (std::isnan(p)) continue;
    ++answered;
    // Resampled p-values are multiples of 1/(R + 1): equality with the level must survive rounding.
    for (std::size_t i = 0; i < test_levels.size(); ++i)
      rejected[i] += p <= test_levels[i] * (1.0 + 1e-12) ? 1 : 0;
  }
}

double SizeRow::share(std::size_t level) const {
  return static_cast<double>(rejected[level]) / static_cast<double>(answered);
}

Bounds bounds_of(const SizeRow& row, std::size_t level, double error) {
  const double beyond = row.claim == Claim::at_most ? error : 0.5 * error;
  const Index N = row.answered;
  // The fewest and the most rejections whose tails, they themselves included, are not below `beyond`.
  Index fewest = 0, most = N;
  const auto at = [&](Index k) {
    return std::exp(log_probability(row, test_levels[level], static_cast<double>(k)));
  };
  if (row.claim != Claim::at_most)
    for (double tail = at(0); tail < beyond; tail += at(fewest)) ++fewest;
  for (double tail = at(N); tail < beyond; tail += at(most)) --most;
  return {static_cast<double>(fewest) / static_cast<double>(N),
          static_cast<double>(most) / static_cast<double>(N)};
}

std::string verdict(const SizeRow& row, std::size_t level, const Bounds& bounds) {
  const bool high = row.share(level) > bounds.upper, low = row.share(level) < bounds.lower;
  if (row.claim == Claim::none) return high ? "high" : low ? "low" : "";
  return high || low ? "MISS" : "PASS";
}

Json report_sizes(const std::string& title, const std::vector<SizeRow>& rows) {
  std::size_t claimed = 0;
  for (const SizeRow& row : rows) claimed += row.claim == Claim::none ? 0 : test_levels.size();
  const double error = familywise_error / static_cast<double>(std::max<std::size_t>(claimed, 1));
  Json out{{"title", title}, {"claimed_cells", claimed}, {"familywise_error", familywise_error}};
  std::vector<std::string> missed;
  std::map<std::string, std::string> bounds_text;
  fmt::print("\n{}\n  {:<48} {:<7} {:<24} {:<11} {:>8}  {:<13} {:<13} {}\n", title, "setting", "noise",
             "test", "claim", "draws", "0.05", "0.01", "0.001");
  for (const SizeRow& row : rows) {
    if (row.answered == 0) continue;
    std::string line = fmt::format("  {:<48} {:<7} {:<24} {:<11} {:>8} ", row.setting, row.noise, row.test,
                                   text_of(row.claim), row.answered);
    Json entry{{"setting", row.setting}, {"noise", row.noise},
               {"test", row.test},       {"claim", text_of(row.claim)},
               {"draws", row.answered},  {"shared_null_draws", row.shared_null_draws}};
    std::string allowed;
    for (std::size_t i = 0; i < test_levels.size(); ++i) {
      const Bounds bounds = bounds_of(row, i, error);
      const std::string word = verdict(row, i, bounds);
      line += fmt::format(" {:.5f} {:<5}", row.share(i), word);
      allowed += fmt::format("  {:.5f}-{:.5f}", bounds.lower, bounds.upper);
      entry["sizes"].push_back({{"level", test_levels[i]},
                                {"size", row.share(i)},
                                {"bounds", {bounds.lower, bounds.upper}},
                                {"verdict", word}});
      if (word == "MISS")
        missed.push_back(fmt::format("{}, {} noise, {}: {:.5f} at {}", row.setting, row.noise, row.test,
                                     row.share(i), test_levels[i]));
    }
    if (row.claim != Claim::none)
      bounds_text[fmt::format("{:>8} draws, {}{}", row.answered, text_of(row.claim),
                              row.shared_null_draws > 0 ? ", simulated null" : "")] = allowed;
    fmt::print("{}\n", line);
    out["rows"].push_back(entry);
  }
  fmt::print("  Bounds of PASS, each {} / {} of a false MISS:\n", familywise_error, claimed);
  for (const auto& [draws, text] : bounds_text) fmt::print("    {:<40} {}\n", draws, text);
  fmt::print("  Cells of which something is claimed: {}; MISS: {}\n", claimed, missed.size());
  for (const std::string& cell : missed) fmt::print("    {}\n", cell);
  out["missed"] = missed;
  return out;
}

Json report_shares(const std::string& title, const std::vector<SizeRow>& rows) {
  Json out{{"title", title}};
  fmt::print("\n{}\n  {:<48} {:<24} {:>8}  {:<8} {:<8} {}\n", title, "signal", "test", "draws", "0.05",
             "0.01", "0.001");
  for (const SizeRow& row : rows) {
    fmt::print("  {:<48} {:<24} {:>8}  {:.4f}   {:.4f}   {:.4f}\n", row.setting, row.test, row.answered,
               row.share(0), row.share(1), row.share(2));
    out["rows"].push_back({{"signal", row.setting},
                           {"test", row.test},
                           {"draws", row.answered},
                           {"shares", {row.share(0), row.share(1), row.share(2)}}});
  }
  return out;
}

SimulatedData draw(TestFunction function, Index rows, Index repetition) {
  SimulationOptions options;
  options.function = function;
  options.rows = rows;
  options.seed = 30;
  options.replicate = static_cast<std::uint64_t>(repetition);
  return simulate(options);
}

}  // namespace gradflow::calibration
