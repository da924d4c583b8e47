// ./x bench test_sizes [OUT.json]: how often the tests beyond the score test reject a true null: a 0/1
// response by balance of its classes, and a second operator given a first by their correlation.
#include <cmath>

#include "bench_support.h"
#include "gradflow/base/atomic_file.h"
#include "gradflow/inference/binary_test.h"
#include "gradflow/inference/component_test.h"
#include "gradflow/operators/make_operator.h"
#include "gradflow/spectrum/projected_spectrum.h"

namespace {

using namespace gradflow;
using bench::Json;

constexpr std::array<double, 3> levels{0.05, 0.01, 0.001};

struct Rates {
  std::array<double, 3> rejected{};
  Index answered = 0;

  void add(double p) {
    ++answered;
    for (std::size_t i = 0; i < levels.size(); ++i) rejected[i] += p <= levels[i] ? 1.0 : 0.0;
  }
  Json json() const {
    Json out{{"answered", answered}};
    for (std::size_t i = 0; i < levels.size(); ++i)
      out[fmt::format("{}", levels[i])] = rejected[i] / static_cast<double>(answered);
    return out;
  }
  std::string text() const {
    const auto share = [&](std::size_t i) { return rejected[i] / static_cast<double>(answered); };
    return fmt::format("{:.4f}  {:.4f}  {:.5f}", share(0), share(1), share(2));
  }
};

Matrix linear_kernel(const Matrix& X) { return X * X.transpose() / static_cast<double>(X.rows() * X.cols()); }

DenseOperator kernel(const std::string& name, const Matrix& X) {
  return name == "linear" ? DenseOperator(linear_kernel(X))
                          : DenseOperator(make_operator(InfiniteArchitecture{}, X)->entries());
}

// Intercept alone: the asymptotic null's eigenvalues are mu (1 - mu) times those of the projected operator.
Rates asymptotic_size(const DenseOperator& H, double share, int responses) {
  const Index n = H.size();
  const Vector values = projected_eigenvalues(H, FixedEffects::intercept(n));
  RandomStream random(1, fmt::format("responses {}", share));
  Matrix E(n, responses);
  for (double& value : E.reshaped()) value = random.uniform() < share ? 1.0 : 0.0;
  const Vector mean = E.colwise().mean().transpose();
  E.rowwise() -= mean.transpose();
  Matrix HE(n, responses);
  H.apply(E, HE);
  const Vector Q = E.cwiseProduct(HE).colwise().sum().transpose();
  Vector p(responses);
  parallel_for(responses, 16, [&](Index begin, Index end) {
    for (Index r = begin; r < end; ++r)
      p(r) = Q(r) > 0.0 ? std::exp(log_weighted_chi_square_above(mean(r) * (1.0 - mean(r)) * values, Q(r)))
                        : 2.0;
  });
  Rates rates;
  for (const double value : p)
    if (value <= 1.0 + 1e-9) rates.add(value);
  return rates;
}

struct Both {
  Rates asymptotic, bootstrap;
};

// With two covariates, one of which matters.
Both covariate_size(const DenseOperator& H, const FixedEffects& fixed, double offset, int responses) {
  Both both;
  RandomStream random(2, fmt::format("responses {}", offset));
  for (int r = 0; r < responses; ++r) {
    Vector y(H.size());
    for (Index i = 0; i < y.size(); ++i)
      y(i) = random.uniform() < 1.0 / (1.0 + std::exp(-offset - 0.5 * fixed.design()(i, 1))) ? 1.0 : 0.0;
    const BinaryTest test =
        binary_test(H, fixed, y, {.draws = 199, .seed = static_cast<std::uint64_t>(r), .smallest_class = 2});
    if (!usable(test.outcome)) continue;
    both.asymptotic.add(test.p_value_asymptotic);
    both.bootstrap.add(test.resampled.p_value);
  }
  return both;
}

Json binary_sizes() {
  const Index n = 200;
  Json out;
  fmt::print("0/1 response, n = {}, rejected at 0.05, 0.01, 0.001\n", n);
  const Matrix X = RandomStream(3, "features").normals(n, 5);
  Matrix design(n, 3);
  design << Vector::Ones(n), RandomStream(4, "covariates").normals(n, 2);
  const FixedEffects fixed(design, {"(intercept)", "a", "b"});
  for (const std::string name : {"linear", "ntk:relu:2"}) {
    const DenseOperator H = kernel(name, X);
    for (const double share : {0.5, 0.25, 0.1, 0.05, 0.02}) {
      const Rates rates = asymptotic_size(H, share, 4000);
      fmt::print("  {:<11} share {:<5} intercept   asymptotic {}\n", name, share, rates.text());
      out.push_back({{"kernel", name}, {"share", share}, {"intercept", rates.json()}});
    }
    for (const double share : {0.5, 0.1, 0.04}) {
      const Both both = covariate_size(H, fixed, std::log(share / (1.0 - share)), 500);
      fmt::print("  {:<11} share {:<5} covariates  asymptotic {}  bootstrap {}\n", name, share,
                 both.asymptotic.text(), both.bootstrap.text());
      out.push_back({{"kernel", name},
                     {"share", share},
                     {"covariates", both.asymptotic.json()},
                     {"bootstrap", both.bootstrap.json()}});
    }
  }
  return out;
}

Json component_sizes() {
  const Index n = 60, d = 10;
  const int responses = 400;
  Json out;
  fmt::print(
      "Second operator given the first, n = {}, signal of the first only, rejected at 0.05, 0.01, 0.001\n",
      n);
  for (const double correlation : {0.0, 0.5, 0.9})
    for (const double signal : {0.0, 0.5, 2.0}) {
      RandomStream random(5, "features");
      const Matrix first = random.normals(n, d),
                   second = correlation * first +
                            std::sqrt(1.0 - correlation * correlation) * random.normals(n, d);
      const DenseOperator H1(linear_kernel(first)), H2(linear_kernel(second));
      Rates given, bootstrap, ratio;
      for (int r = 0; r < responses; ++r) {
        const Vector y =
            signal / std::sqrt(static_cast<double>(d)) * first * random.normals(d) + random.normals(n);
        const ComponentTest test = component_test(
            H1, H2, FixedEffects::intercept(n), y,
            {.draws = 199, .seed = static_cast<std::uint64_t>(r), .likelihood_ratio = r < 100});
        given.add(test.given.p_value);
        bootstrap.add(test.bootstrap.p_value);
        if (r < 100) ratio.add(test.likelihood_ratio_bootstrap.p_value);
      }
      fmt::print("  correlation {:<4} signal {:<4} given {}  bootstrap {}  likelihood ratio {}\n",
                 correlation, signal, given.text(), bootstrap.text(), ratio.text());
      out.push_back({{"correlation", correlation},
                     {"signal", signal},
                     {"given", given.json()},
                     {"bootstrap", bootstrap.json()},
                     {"likelihood_ratio", ratio.json()}});
    }
  return out;
}

}  // namespace

int main(int argc, char** argv) {
  set_threads(1);  // a few hundred rows: starting threads would cost more than they save
  Json out;
  out["binary"] = binary_sizes();
  out["component"] = component_sizes();
  if (argc > 1) write_file_atomically(argv[1], out.dump(2) + "\n");
  return 0;
}
