#pragma once

#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <vector>

#include "gradflow/training/collapse.h"
#include "gradflow/training/initial_flow.h"

namespace gradflow {

struct WatchOptions {
  Index probes = 100;          ///< rows on which kernels and features are compared, >= 2; at most n are used
  double growth = 1.5;         ///< of the steps from look to look, > 1
  std::uint64_t seed = 1;      ///< of the choice of probes
  double lazy_drift = 0.1;     ///< kernel drift up to which training is called lazy, > 0
  double lazy_distance = 0.1;  ///< distance from the linearised training likewise, > 0
  double collapsed = 0.1;      ///< every measure of collapse up to which classes are called collapsed, > 0
  void check() const;
};

/// Of a network that tells classes apart. Scores are F + X beta: logits under cross-entropy.
struct ClassLook {
  Collapse collapse{};
  Margins margins{};
  double training_accuracy = std::numeric_limits<double>::quiet_NaN();
  double held_out_accuracy = std::numeric_limits<double>::quiet_NaN();
};

/// What one look saw. NaN: not computed.
struct WatchRecord {
  Index step = 0;
  double time = std::numeric_limits<double>::quiet_NaN();  ///< flow time, matched for adam and adamw
  double training_loss = std::numeric_limits<double>::quiet_NaN();
  double held_out_loss = std::numeric_limits<double>::quiet_NaN();  ///< the same loss, at held-out rows
  double drift = 0.0;                                               ///< |H_s - H_0|_F / |H_0|_F on the probes
  double alignment = 1.0;  ///< <H_s, H_0> / (|H_s|_F |H_0|_F) on the probes: 1 while H only grows
  /// |r_s - exp(-tM) w| / |w|: from the training of the network linearised at theta_0.
  double distance = std::numeric_limits<double>::quiet_NaN();
  double position = std::numeric_limits<double>::quiet_NaN();  ///< r'Mr / (lambda_1 r'r)
  Index learned = -1;                                          ///< leading directions learned; -1: not known
  double frontier = std::numeric_limits<double>::quiet_NaN();  ///< their next eigenvalue over lambda_1
  double dof = std::numeric_limits<double>::quiet_NaN();       ///< of the linearised training so far
  std::vector<double> feature_movement{};  ///< per hidden layer |A_s - A_0|_F / |A_0|_F on the probes
  std::vector<double> stable_rank{};       ///< per layer |W|_F^2 / |W|_2^2; of two copies, the first's then
                                           ///< the second's
  std::optional<ClassLook> classes{};      ///< where the responses are indicators of classes
};

/// Whether the theory of a fixed operator still describes the training.
struct Verdict {
  bool lazy = true;
  Index since = -1;  ///< the first look's step at which it was not lazy; -1: none
  double time = std::numeric_limits<double>::quiet_NaN();  ///< its flow time
  std::string sentence{};                                  ///< complete, with the numbers
  std::string collapse{};  ///< of classes: whether they collapsed, a sentence with the numbers; else empty
};

/// Watches a training at steps that grow geometrically, from theta_0 on. Cost of a look: one forward pass
/// over all rows and the held-out ones, the kernel and features of the probes, and 30 products with each
/// weight matrix; where the responses are indicators of K >= 2 classes (one 1 in each row), the features of
/// all rows and n p K multiply-adds (collapse.h).
class Watch final : public Monitor {
 public:
  /// At theta_0 of the trainer. `flow` may be null: what needs the spectrum at the start is then not
  /// computed; it outlives this. `held_out` may be empty.
  Watch(const Trainer& trainer, const InitialFlow* flow, TrainingSet held_out, const WatchOptions& options);

  Due due() const override { return {next_, std::numeric_limits<double>::infinity()}; }
  std::string look(const Trainer& trainer) override;
  void save(TensorFile& file) const override;
  void restore(const TensorFile& file) override;
  /// A last look, at the end of a training, unless the last was there.
  void finish(const Trainer& trainer);
  /// Forgets the looks after a step: of weights that were not kept.
  void cut(Index last_step);

  const std::vector<WatchRecord>& records() const noexcept { return records_; }
  Verdict verdict() const;

 private:
  WatchRecord record_of(const Trainer& trainer) const;
  std::string collapse_sentence() const;

  WatchOptions options_;
  const InitialFlow* flow_;
  TrainingSet held_out_;
  Labels labels_, held_out_labels_;  // empty: no classes
  Matrix probes_, H_start_;
  std::vector<Matrix> features_start_;
  Index next_ = 0;
  std::vector<WatchRecord> records_;
};

/// |W|_F^2 / |W|_2^2 in [1, min(rows, columns)], the spectral norm by 30 power iterations from the row of
/// largest norm. 0 for a zero matrix.
double stable_rank(const Matrix& W);

}  // namespace gradflow
