#pragma once

#include <cblas.h>
#include <fmt/core.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <functional>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>
#include <vector>

#include "gradflow/base/blas_core.h"
#include "gradflow/base/parallel.h"
#include "gradflow/base/random.h"
#include "gradflow/base/types.h"
#include "mean.h"

namespace gradflow::bench {

using Json = nlohmann::json;

/// Before main: what is timed, LAPACK too, is timed with the kernels that the program of a user has.
inline const bool with_wider_blas = (restart_with_wider_blas(), true);

inline double seconds_of(const std::function<void()>& work) {
  const auto start = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

struct Timing {
  double best = 0.0, median = 0.0, worst = 0.0;
};

/// Seconds of `repeats` runs.
inline Timing time_of(int repeats, const std::function<void()>& work) {
  std::vector<double> seconds;
  for (int i = 0; i < repeats; ++i) seconds.push_back(seconds_of(work));
  std::sort(seconds.begin(), seconds.end());
  return {seconds.front(), seconds[seconds.size() / 2], seconds.back()};
}

inline Json to_json(const Timing& t) { return {{"best", t.best}, {"median", t.median}, {"worst", t.worst}}; }

inline Json timing_of(int repeats, const std::function<void()>& work) {
  return to_json(time_of(repeats, work));
}

/// Runs `work` in a process of its own; its result with "peak_bytes", the most memory that it held.
inline Json in_child(const std::function<Json()>& work) {
  int ends[2];
  if (pipe(ends) != 0) throw std::runtime_error("pipe");
  const pid_t child = fork();
  if (child == 0) {
    close(ends[0]);
    set_threads(0);
    Json result;
    try {
      result = work();
    } catch (const std::exception& error) {
      result = {{"error", error.what()}};
    }
    const std::string text = result.dump();
    for (std::size_t done = 0; done < text.size();) {
      const ssize_t count = write(ends[1], text.data() + done, text.size() - done);
      if (count <= 0) _exit(1);
      done += static_cast<std::size_t>(count);
    }
    _exit(0);
  }
  close(ends[1]);
  std::string text;
  char buffer[4096];
  for (ssize_t count = 0; (count = read(ends[0], buffer, sizeof buffer)) > 0;)
    text.append(buffer, static_cast<std::size_t>(count));
  close(ends[0]);
  int status = 0;
  rusage usage{};
  wait4(child, &status, 0, &usage);
  Json result = text.empty() ? Json{{"error", "the run died"}} : Json::parse(text);
  result["peak_bytes"] = 1024.0 * static_cast<double>(usage.ru_maxrss);
  if (result.contains("error")) fmt::print("  FAILED: {}\n", result["error"].get<std::string>());
  return result;
}

/// Flops per second of a float32 product of 4096 x 4096 matrices on all threads.
inline double sgemm_rate() {
  const int n = 4096;
  const Eigen::MatrixXf A = Eigen::MatrixXf::Constant(n, n, 0.5F), B = A;
  Eigen::MatrixXf C(n, n);
  const Json timing = timing_of(3, [&] {
    cblas_sgemm(CblasColMajor, CblasNoTrans, CblasNoTrans, n, n, n, 1.0F, A.data(), n, B.data(), n, 0.0F,
                C.data(), n);
  });
  return 2.0 * 4096.0 * 4096.0 * 4096.0 / timing["median"].get<double>();
}

/// Rows of d normal features and y = sin x_1 + x_2 x_3 + noise; the signal has standard deviation 1.2.
struct Simulated {
  Matrix X;
  Vector y;
};
inline Simulated simulate(Index n, Index d, std::uint64_t seed, double noise_sd = 0.5) {
  RandomStream random(seed, "bench");
  Simulated data{random.normals(n, d), Vector(n)};
  data.y = data.X.col(0).array().sin().matrix() + data.X.col(1).cwiseProduct(data.X.col(2)) +
           noise_sd * random.normals(n);
  return data;
}

}  // namespace gradflow::bench
