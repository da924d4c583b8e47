#pragma once

#include <cmath>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

#include "gradflow/base/progress.h"
#include "gradflow/base/random.h"
#include "gradflow/operators/dense_operator.h"
#include "gradflow/spectrum/projected_spectrum.h"
#include "gradflow/training/trainer.h"

/// Small problems that the tests of training share.
namespace gradflow::training_tests {

inline constexpr Centring all_centrings[] = {Centring::none, Centring::copies, Centring::zero_last_layer};

/// n rows of d normal features, y = sin x_1 + x_2 x_3 + noise, and an intercept.
inline TrainingSet small_set(Index n, Index d, std::uint64_t seed = 1, double noise = 0.3) {
  RandomStream random(seed, "training tests");
  TrainingSet set;
  set.X = random.normals(n, d);
  set.Y = set.X.col(0).array().sin().matrix() + set.X.col(1).cwiseProduct(set.X.col(2)) +
          noise * random.normals(n);
  set.design = Matrix::Ones(n, 1);
  return set;
}

inline std::unique_ptr<TrainableNetwork> network_of(const std::string& text, Index inputs,
                                                    Centring centring = Centring::none,
                                                    Precision precision = Precision::float64) {
  return make_trainable(DenseNetwork::initialise(parse_architecture(text), inputs, 5), centring, precision);
}

/// M at the network's present parameters.
inline ProjectedSpectrum spectrum_of(const TrainableNetwork& network, const TrainingSet& set) {
  const DenseOperator H(network.kernel(set.X) / static_cast<double>(set.X.rows()));
  return project(H, FixedEffects::intercept(set.X.rows()));
}

class Interruption final : public Progress {
 public:
  explicit Interruption(int after) : left_(after) {}
  void update(std::string_view, double) override {
    if (left_-- == 0) throw std::runtime_error("interrupted");
  }

 private:
  int left_;
};

template <typename Result>
struct Interrupted {
  Result result{};
  int interruptions = 0;
};

/// Of something with a checkpoint, work(progress): begun again after every interruption, which come later and
/// later, until it ends.
template <typename Work>
auto interrupted(Work work) {
  Interrupted<decltype(work(std::declval<Progress&>()))> all;
  for (int after = 3;; after += 37) {
    Interruption interruption(after);
    try {
      all.result = work(interruption);
      return all;
    } catch (const std::runtime_error&) {
      ++all.interruptions;
    }
  }
}

}  // namespace gradflow::training_tests
