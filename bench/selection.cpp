// ./x bench selection [OUT.json] [ROWS]...: one likelihood with its gradient, by Cholesky and by probes
// (inference/stochastic_likelihood.h), in one run; CPU seconds. Eight features, ntk:relu:2 with a relevance
// for each, at the optimum of 1,000 rows.
#include <fmt/core.h>

#include <cmath>
#include <cstdlib>
#include <ctime>
#include <nlohmann/json.hpp>
#include <numbers>

#include "bench_support.h"
#include "gradflow/base/atomic_file.h"
#include "gradflow/base/linear_algebra.h"
#include "gradflow/inference/likelihood.h"
#include "gradflow/inference/selection.h"
#include "gradflow/inference/stochastic_likelihood.h"
#include "gradflow/operators/kernel_family.h"

namespace {

using namespace gradflow;
using bench::Json;

// Of all threads: what others do on the machine counts little.
double seconds_of(const std::function<void()>& work) {
  const std::clock_t start = std::clock();
  work();
  return static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC;
}

struct Rows {
  Matrix X;
  Vector y;
};

// Friedman's function of 5 of 8 features (1991), noise 1 beside a signal of 4.9.
Rows rows_of(Index n) {
  RandomStream random(1, "selection bench");
  Rows rows{Matrix(n, 8), Vector(n)};
  for (Index i = 0; i < n; ++i) {
    const Vector x = Vector::NullaryExpr(8, [&](Index) { return random.uniform(); });
    rows.y(i) = 10.0 * std::sin(std::numbers::pi * x(0) * x(1)) + 20.0 * (x(2) - 0.5) * (x(2) - 0.5) +
                10.0 * x(3) + 5.0 * x(4) + random.normal();
    rows.X.row(i) = std::sqrt(12.0) * (x.array() - 0.5).matrix().transpose();
  }
  return rows;
}

std::shared_ptr<const KernelFamily> family_of(const Rows& rows) {
  return std::make_shared<KernelFamily>(parse_kernel_sum("ntk:relu:2,sb2=0.1"), rows.X);
}

Json measure(Index n, const CandidateFit& fit, Index fitted_rows) {
  const Rows rows = rows_of(n);
  const std::shared_ptr<const KernelFamily> family = family_of(rows);
  const FixedEffects fixed = FixedEffects::intercept(n);
  const Index m = family->parameters();
  Vector x(m + 1);
  x << fit.parameters, std::log(fit.tau * static_cast<double>(n) / static_cast<double>(fitted_rows));
  Json result{{"rows", n}};
  LikelihoodValue exact;
  const RestrictedLikelihood by_cholesky(*family, {.y = rows.y}, fixed);
  result["cholesky_seconds"] = seconds_of([&] { exact = by_cholesky.at(x); });
  fmt::print("n = {}: by Cholesky {:.2f} s, -2 log L {:.2f}, dof {:.0f}\n", n,
             result["cholesky_seconds"].get<double>(), exact.criterion, exact.effective_dof);
  for (const Index rank : {Index{0}, Index{-1}, n / 10}) {
    const ProbeOptions options{.rank = rank};
    double setup = 0.0;
    std::unique_ptr<StochasticLikelihood> likelihood;
    setup = seconds_of([&] {
      likelihood = std::make_unique<StochasticLikelihood>(*family, rows.y, fixed, x.head(m), options);
    });
    ProbedLikelihood value, with_errors;
    const double seconds = seconds_of([&] { value = likelihood->at(x); });
    const double all =
        seconds_of([&] { with_errors = likelihood->at(x, StochasticLikelihood::Errors::gradient_too); });
    fmt::print(
        "  rank {:>4}: {:.2f} s ({:.2f} s with errors, landmarks {:.2f} s), {} iterations, -2 log L "
        "{:.2f} +- {:.2f}, gradient's errors {:.3g} to {:.3g}\n",
        value.rank, seconds, all, setup, value.iterations, value.criterion, value.criterion_error,
        with_errors.gradient_error.minCoeff(), with_errors.gradient_error.maxCoeff());
    Json entry{{"rank", value.rank},
               {"seconds", seconds},
               {"seconds_with_errors", all},
               {"landmark_seconds", setup},
               {"iterations", value.iterations},
               {"criterion_error", value.criterion_error}};
    const Vector z = (with_errors.gradient - exact.gradient).cwiseQuotient(with_errors.gradient_error);
    entry["largest_z"] = z.cwiseAbs().maxCoeff();
    fmt::print("             against Cholesky: -2 log L {:+.2f}, gradient within {:.1f} standard errors\n",
               value.criterion - exact.criterion, z.cwiseAbs().maxCoeff());
    result["probed"].push_back(entry);
  }
  return result;
}

}  // namespace

int main(int argc, char** argv) {
  constexpr Index first = 1000;
  const Rows rows = rows_of(first);
  const CandidateFit fit =
      select({{"ntk", family_of(rows), {}}}, {.y = rows.y}, FixedEffects::intercept(first), {.starts = 1})
          .candidates.front();
  fmt::print("{} threads; tau tr H/n at 1,000 rows: {:.3g}, dof {:.0f}\n", threads(),
             fit.tau * family_of(rows)->at(fit.parameters)->H().trace() / first, fit.value.effective_dof);
  Json out{{"threads", threads()}};
  std::vector<Index> sizes;
  for (int k = 2; k < argc; ++k) sizes.push_back(std::atol(argv[k]));
  if (sizes.empty()) sizes = {1000, 4000, 8000};
  for (const Index n : sizes) out["sizes"].push_back(measure(n, fit, first));
  if (argc > 1) write_file_atomically(argv[1], out.dump(2) + "\n");
  return 0;
}
