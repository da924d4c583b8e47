// ./x bench speed [OUT.json]: ratios measured in one run, against this machine's own DGEMM and dsyevd.
#include <cblas.h>
#include <fmt/core.h>
#include <lapacke.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "bench_support.h"
#include "gradflow/base/atomic_file.h"
#include "gradflow/base/linear_algebra.h"
#include "gradflow/base/parallel.h"
#include "gradflow/base/random.h"
#include "gradflow/inference/analysis.h"
#include "gradflow/operators/dense_operator.h"
#include "gradflow/operators/finite_ntk.h"
#include "gradflow/operators/infinite_ntk.h"

namespace {

using namespace gradflow;

using bench::time_of;
using bench::Timing;
using bench::to_json;

double gemm_rate(Index n) {
  RandomStream random(1, "bench");
  const Matrix A = random.normals(n, n), B = random.normals(n, n);
  Matrix C(n, n);
  const Timing t = time_of(5, [&] { multiply(A, Transpose::no, B, Transpose::no, C); });
  return 2.0 * std::pow(static_cast<double>(n), 3) / t.median;
}

// H and C of a finite network: 2 n (n + n_new)(w_in + w_out) flops over the layers, no credit for symmetry.
nlohmann::json finite_operator() {
  const Index n = 2000, n_new = 500, p = 10, width = 500;
  RandomStream random(2, "bench");
  const Matrix X = random.normals(n, p), X_new = random.normals(n_new, p);
  Architecture architecture;
  architecture.widths = {width, width};
  const DenseNetwork network = DenseNetwork::initialise(architecture, p, 1);
  const double units = static_cast<double>((p + width) + (width + width) + (width + 1));
  const double flops = 2.0 * static_cast<double>(n * (n + n_new)) * units;
  const double rate = gemm_rate(2000);
  const Timing t = time_of(5, [&] { ntk_gram_and_cross(network, X, X_new); });
  const double share = flops / t.median / rate;
  fmt::print("finite-width H and C   n = {}, n_new = {}, p = {}, widths {}x2, float64\n", n, n_new, p, width);
  fmt::print(
      "  {:.3f} s (best {:.3f}, worst {:.3f});  {:.1f} GFLOP/s, DGEMM {:.1f} GFLOP/s;  ratio {:.2f} (aim > "
      "0.6)\n\n",
      t.median, t.best, t.worst, flops / t.median * 1e-9, rate * 1e-9, share);
  return {{"seconds", to_json(t)},
          {"gflops", flops / t.median * 1e-9},
          {"dgemm_gflops", rate * 1e-9},
          {"ratio", share}};
}

// Test and all rules after H, over one dsyevd with all vectors on the same matrix.
nlohmann::json inference_at(Index n) {
  RandomStream random(3, "bench");
  const Matrix X = random.normals(n, 10);
  const Vector y =
      X.col(0).array().sin().matrix() + X.col(1).cwiseProduct(X.col(2)) + 0.5 * random.normals(n);
  const int repeats = n <= 1000 ? 5 : 3;
  Matrix gram;
  const Timing build = time_of(repeats, [&] { gram = kernel_gram(InfiniteArchitecture{}, X); });
  const DenseOperator H(gram / static_cast<double>(n));
  const Timing eigen = time_of(repeats, [&] {
    Matrix vectors = H.entries();
    Vector values(n);
    LAPACKE_dsyevd(LAPACK_COL_MAJOR, 'V', 'L', static_cast<int>(n), vectors.data(), static_cast<int>(n),
                   values.data());
  });
  const Observations observations{y, Vector::Zero(n), Matrix(n, 0), {}, {}};
  Analysis analysis;
  const Timing all = time_of(repeats, [&] { analysis = analyse(H, observations); });
  fmt::print("  {:>6} {:>12.4f} {:>12.3f} {:>12.3f} {:>10.2f}   ", n, build.median, eigen.median, all.median,
             all.median / eigen.median);
  for (const auto& [stage, seconds] : analysis.seconds) fmt::print("{} {:.3f}  ", stage, seconds);
  fmt::print("\n");
  return {{"n", n},
          {"kernel_seconds", to_json(build)},
          {"dsyevd_seconds", to_json(eigen)},
          {"analyse_seconds", to_json(all)},
          {"ratio", all.median / eigen.median}};
}

}  // namespace

int main(int argc, char** argv) {
  set_threads(0);
  nlohmann::json out{{"threads", threads()}, {"blas", openblas_get_config()}};
  fmt::print("{} threads, {}\n\n", threads(), openblas_get_config());
  out["finite_operator"] = finite_operator();
  fmt::print(
      "test and all rules after H, against dsyevd with all vectors (aim < 1.3 at n = 2000); seconds\n");
  fmt::print("  {:>6} {:>12} {:>12} {:>12} {:>10}   stages of the last run\n", "n", "NTK (inf.)", "dsyevd",
             "test+rules", "ratio");
  for (const Index n : {500, 1000, 2000, 4000}) out["inference"].push_back(inference_at(n));
  if (argc > 1) write_file_atomically(argv[1], out.dump(2) + "\n");
  return 0;
}
