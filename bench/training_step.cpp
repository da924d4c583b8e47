// ./x bench training_step [OUT.json]: one full-batch step of gradient descent in float32, over PyTorch's step
// of the same network with as many threads (training_step.py under GRADFLOW_TEST_PYTHON or /usr/bin/python3),
// as a part of the machine's SGEMM rate, and the cost of watching a training.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <optional>

#include "bench_support.h"
#include "gradflow/base/atomic_file.h"
#include "gradflow/training/train.h"

namespace {

using namespace gradflow;
using bench::Json;

constexpr Index n = 10000, d = 50, width = 512;
constexpr int rounds = 5, steps_of_a_round = 8, watched_steps = 150;

std::unique_ptr<TrainableNetwork> make_network() {
  Architecture architecture;
  architecture.widths = {width, width};
  return make_trainable(DenseNetwork::initialise(architecture, d, 1), Centring::none, Precision::float32);
}

TrainingSet make_data() {
  const bench::Simulated data = bench::simulate(n, d, 1);
  return {data.X, data.y, Matrix::Ones(n, 1)};
}

TrainerOptions descent() {
  TrainerOptions options;
  options.optimiser.learning_rate = 1e-3;
  return options;
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

// PyTorch's step, or nothing where there is no PyTorch.
std::optional<Json> torch_step() {
  const char* python = std::getenv("GRADFLOW_TEST_PYTHON");
  const std::string command = fmt::format("{} {}/bench/training_step.py {} {} {} {} {} 2>/dev/null",
                                          python != nullptr ? python : "/usr/bin/python3",
                                          GRADFLOW_SOURCE_DIR, n, d, width, steps_of_a_round, threads());
  std::FILE* pipe = popen(command.c_str(), "r");
  if (pipe == nullptr) return {};
  std::string text;
  for (int c = std::fgetc(pipe); c != EOF; c = std::fgetc(pipe)) text += static_cast<char>(c);
  if (pclose(pipe) != 0) return {};
  return Json::parse(text);
}

// Seconds of a training, watched or not, on the same steps.
double training_seconds(const TrainingSet& data, bool watch) {
  const auto network = make_network();
  TrainRequest request;
  request.learning_rate = 1e-3;
  request.stop = TrainingStop::steps;
  request.steps = watched_steps;
  request.watch = watch;
  return bench::seconds_of([&] { train(*network, data, request); });
}

}  // namespace

int main(int argc, char** argv) {
  const TrainingSet data = make_data();
  const auto network = make_network();
  Trainer trainer(*network, data, descent());
  trainer.step();
  std::vector<double> ours, theirs;
  std::string version;
  for (int round = 0; round < rounds; ++round) {
    for (int step = 0; step < steps_of_a_round; ++step)
      ours.push_back(bench::seconds_of([&] { trainer.step(); }));
    const std::optional<Json> torch = torch_step();
    if (!torch) continue;
    version = (*torch)["version"];
    theirs.push_back((*torch)["seconds"]);
  }
  const auto parameters = static_cast<double>(network->parameters().size());
  const double step = median(ours), sgemm = bench::sgemm_rate();
  // The gradient in the first layer's inputs is not asked for.
  const double flops = 2.0 * static_cast<double>(n) * (3.0 * parameters - static_cast<double>(d * width));
  Json out{{"seconds", step}, {"gflops", 1e-9 * flops / step}, {"sgemm_gflops", 1e-9 * sgemm}};
  fmt::print("one full-batch step, n = {}, d = {}, relu {}x2, float32, {} threads\n", n, d, width, threads());
  fmt::print("  gradflow  {:.4f} s, {:.0f} GFLOP/s; SGEMM {:.0f} GFLOP/s: ratio {:.2f}\n", step,
             1e-9 * flops / step, 1e-9 * sgemm, flops / step / sgemm);
  if (theirs.empty()) {
    fmt::print("  PyTorch   not found: Debian's package is python3-torch\n");
  } else {
    const double other = median(theirs);
    out["torch"] = {{"version", version}, {"seconds", other}, {"ratio", step / other}};
    fmt::print("  PyTorch   {:.4f} s ({}): gradflow over PyTorch {:.2f} (aim 1.0)\n", other, version,
               step / other);
  }
  std::vector<double> plain, watched;
  for (int round = 0; round < 3; ++round) {
    plain.push_back(training_seconds(data, false));
    watched.push_back(training_seconds(data, true));
  }
  const double cost = median(watched) / median(plain) - 1.0;
  out["watching"] = {{"steps", watched_steps}, {"seconds", median(plain)}, {"cost", cost}};
  fmt::print("  {} steps of gradflow train {:.2f} s; watched {:.2f} s: watching costs {:.1f} % (aim 10)\n",
             watched_steps, median(plain), median(watched), 100.0 * cost);
  if (argc > 1) write_file_atomically(argv[1], out.dump(2) + "\n");
  return 0;
}
