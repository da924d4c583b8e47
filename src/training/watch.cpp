#include "gradflow/training/watch.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "gradflow/base/error.h"
#include "gradflow/base/random.h"
#include "training/validation_stop.h"

namespace gradflow {
namespace {

constexpr int norm_iterations = 30;
constexpr Index numbers_per_look = 12;
constexpr Index numbers_per_class_look = 11;

double ratio(double part, double whole) {
  return whole > 0.0 ? part / whole : std::numeric_limits<double>::quiet_NaN();
}

ClassLook class_look(const Trainer& trainer, const Labels& labels) {
  const TrainableNetwork& network = trainer.network();
  const Matrix& X = trainer.data().X;
  const Matrix scores = trainer.fitted();
  const std::vector<Matrix> features = network.features(X);
  return {.collapse =
              neural_collapse(features.empty() ? X : features.back(), labels, network.last_weights(), scores),
          .margins = margins(scores, labels),
          .training_accuracy = accuracy(scores, labels)};
}

Vector numbers_of(const ClassLook& look) {
  const Collapse& c = look.collapse;
  const Margins& m = look.margins;
  return (Vector(numbers_per_class_look) << c.spread, c.norms, c.angles, c.duality, c.nearest, m.least, m.low,
          m.median, m.scale, look.training_accuracy, look.held_out_accuracy)
      .finished();
}

ClassLook class_look_of(const Vector& v) {
  return {.collapse = {.spread = v(0), .norms = v(1), .angles = v(2), .duality = v(3), .nearest = v(4)},
          .margins = {.least = v(5), .low = v(6), .median = v(7), .scale = v(8)},
          .training_accuracy = v(9),
          .held_out_accuracy = v(10)};
}

}  // namespace

double stable_rank(const Matrix& W) {
  const double square = W.squaredNorm();
  if (!(square > 0.0)) return 0.0;
  Index row = 0;
  W.rowwise().squaredNorm().maxCoeff(&row);
  Vector v = W.row(row).transpose();
  for (int k = 0; k < norm_iterations; ++k) v = (W.transpose() * (W * v.normalized())).eval();
  return square / v.norm();
}

void WatchOptions::check() const {
  require(probes >= 2, "probes", probes, "must be >= 2");
  require(growth > 1.0, "growth", growth, "must be > 1");
  require(lazy_drift > 0.0, "lazy_drift", lazy_drift, "must be > 0");
  require(lazy_distance > 0.0, "lazy_distance", lazy_distance, "must be > 0");
  require(collapsed > 0.0, "collapsed", collapsed, "must be > 0");
}

Watch::Watch(const Trainer& trainer, const InitialFlow* flow, TrainingSet held_out,
             const WatchOptions& options)
    : options_(options),
      flow_(flow),
      held_out_(std::move(held_out)),
      labels_(labels_of_indicators(trainer.data().Y)),
      held_out_labels_(labels_of_indicators(held_out_.Y)) {
  options_.check();
  const Matrix& X = trainer.data().X;
  std::vector<Index> rows = RandomStream(options_.seed, "watch probes").permutation(X.rows());
  rows.resize(static_cast<std::size_t>(std::min(options_.probes, X.rows())));
  probes_ = X(rows, Eigen::all);
  H_start_ = trainer.network().kernel(probes_);
  features_start_ = trainer.network().features(probes_);
}

WatchRecord Watch::record_of(const Trainer& trainer) const {
  WatchRecord record;
  record.step = trainer.steps();
  record.time = trainer.time();
  record.training_loss = trainer.loss();
  if (!labels_.empty()) record.classes = class_look(trainer, labels_);
  if (held_out_.X.rows() > 0) {
    const Matrix F = trainer.predict(held_out_.X, held_out_.design);
    record.held_out_loss = trainer.loss_of(F, held_out_.Y);
    if (record.classes && !held_out_labels_.empty())
      record.classes->held_out_accuracy = accuracy(F, held_out_labels_);
  }
  const Matrix H = trainer.network().kernel(probes_);
  record.drift = ratio((H - H_start_).norm(), H_start_.norm());
  record.alignment = ratio(H.cwiseProduct(H_start_).sum(), H.norm() * H_start_.norm());
  const std::vector<Matrix> features = trainer.network().features(probes_);
  for (std::size_t l = 0; l < features.size(); ++l)
    record.feature_movement.push_back(
        ratio((features[l] - features_start_[l]).norm(), features_start_[l].norm()));
  const Vector& theta = trainer.network().parameters();
  for (const LayerEntries& layer : trainer.network().layers())
    record.stable_rank.push_back(stable_rank(
        theta.segment(layer.weights, layer.rows * layer.columns).reshaped(layer.rows, layer.columns)));
  if (flow_ == nullptr) return record;
  const Matrix r = trainer.residual();
  if (std::isnan(record.time)) record.time = flow_->matched_time(r);
  record.distance = ratio((r - flow_->residual(record.time)).norm(), flow_->start_norm());
  record.position = flow_->position(r);
  record.learned = flow_->learned_directions(r);
  record.frontier = flow_->frontier(record.learned);
  record.dof = flow_->effective_dof(record.time);
  return record;
}

std::string Watch::look(const Trainer& trainer) {
  records_.push_back(record_of(trainer));
  const auto grown = static_cast<Index>(std::ceil(options_.growth * static_cast<double>(trainer.steps())));
  next_ = std::max(grown, trainer.steps() + 1);
  return "";
}

void Watch::finish(const Trainer& trainer) {
  // A training that diverged ends before its last looks: those are of weights that were not kept.
  std::erase_if(records_, [&](const WatchRecord& r) { return r.step > trainer.steps(); });
  if (records_.empty() || records_.back().step != trainer.steps()) records_.push_back(record_of(trainer));
}

void Watch::cut(Index last_step) {
  std::erase_if(records_, [&](const WatchRecord& r) { return r.step > last_step; });
}

std::string Watch::collapse_sentence() const {
  if (!records_.front().classes) return "";
  const Collapse& start = records_.front().classes->collapse;
  const ClassLook& end = *records_.back().classes;
  const Collapse& c = end.collapse;
  if (std::isnan(c.spread))
    return "Whether the classes collapsed is not defined: their features have one mean.";
  const bool together = c.spread <= options_.collapsed && c.nearest <= options_.collapsed;
  const bool simplex = c.norms <= options_.collapsed && c.angles <= options_.collapsed;
  const char* what = "The classes did not collapse";
  if (together && simplex && c.duality <= options_.collapsed)
    what = "The classes collapsed, each to a corner of a simplex that the last weights share";
  else if (together && simplex)
    what = "The classes collapsed, each to a corner of a simplex, which the last weights do not share";
  else if (together)
    what = "The classes collapsed, each to a point, but these are not the corners of a simplex";
  else if (c.spread < start.spread)
    what = "The classes drew together and did not collapse";
  return fmt::format(
      "{}: the spread of their features within over that between them went from {:.3g} to {:.3g} (NC1), "
      "their "
      "means are {:.3g} from equal lengths and {:.3g} from a simplex's angles (NC2), the last weights {:.3g} "
      "from "
      "the means (NC3), and the nearest mean is not the network's class in {:.3g} % of the rows (NC4); "
      "margins "
      "are {:.3g} or less in 5 % of the rows, in units of the scores' root mean square.",
      what, start.spread, c.spread, c.norms, c.angles, c.duality, 100.0 * c.nearest,
      end.margins.low / end.margins.scale);
}

Verdict Watch::verdict() const {
  Verdict verdict;
  if (records_.empty()) {
    verdict.sentence = "Nothing was seen of the training.";
    return verdict;
  }
  verdict.collapse = collapse_sentence();
  const WatchRecord& last = records_.back();
  const auto numbers = [](const WatchRecord& r) {
    std::string text = fmt::format("kernel drift {:.3g}, alignment {:.3g}", r.drift, r.alignment);
    if (!std::isnan(r.distance))
      text += fmt::format(", distance from the linearised training {:.3g}", r.distance);
    return text;
  };
  for (const WatchRecord& r : records_) {
    if (!(r.drift > options_.lazy_drift || r.distance > options_.lazy_distance)) continue;
    verdict.lazy = false;
    verdict.since = r.step;
    verdict.time = r.time;
    verdict.sentence = fmt::format(
        "Training was not lazy from step {} on at the latest ({}): the theory of a fixed operator does not "
        "describe it; at the end {}.",
        r.step, numbers(r), numbers(last));
    return verdict;
  }
  verdict.sentence = fmt::format(
      "Training was lazy to its end ({}): the theory of a fixed operator describes it.", numbers(last));
  return verdict;
}

void Watch::save(TensorFile& file) const {
  const std::size_t features = features_start_.size();
  const std::size_t layers = records_.empty() ? 0 : records_.front().stable_rank.size();
  const Index fixed = numbers_per_look + (labels_.empty() ? 0 : numbers_per_class_look);
  Matrix numbers(fixed + static_cast<Index>(features + layers), static_cast<Index>(records_.size()));
  for (std::size_t k = 0; k < records_.size(); ++k) {
    const WatchRecord& r = records_[k];
    auto column = numbers.col(static_cast<Index>(k));
    column.head(numbers_per_look) << static_cast<double>(r.step), r.time, r.training_loss, r.held_out_loss,
        r.drift, r.alignment, r.distance, r.position, static_cast<double>(r.learned), r.frontier, r.dof, 0.0;
    if (r.classes) column.segment(numbers_per_look, numbers_per_class_look) = numbers_of(*r.classes);
    for (std::size_t l = 0; l < features; ++l) column(fixed + static_cast<Index>(l)) = r.feature_movement[l];
    for (std::size_t l = 0; l < layers; ++l)
      column(fixed + static_cast<Index>(features + l)) = r.stable_rank[l];
  }
  write_state(file, "watch.records", numbers);
  write_state(file, "watch.next", Vector(Vector::Constant(1, static_cast<double>(next_))));
}

void Watch::restore(const TensorFile& file) {
  const Matrix numbers = read_state(file, "watch.records");
  records_.clear();
  for (Index k = 0; k < numbers.cols(); ++k) {
    const auto v = numbers.col(k);
    WatchRecord r{.step = static_cast<Index>(v(0)),
                  .time = v(1),
                  .training_loss = v(2),
                  .held_out_loss = v(3),
                  .drift = v(4),
                  .alignment = v(5),
                  .distance = v(6),
                  .position = v(7),
                  .learned = static_cast<Index>(v(8)),
                  .frontier = v(9),
                  .dof = v(10)};
    if (!labels_.empty()) r.classes = class_look_of(v.segment(numbers_per_look, numbers_per_class_look));
    const auto features = static_cast<Index>(features_start_.size());
    const Index fixed = numbers_per_look + (labels_.empty() ? 0 : numbers_per_class_look);
    for (Index l = 0; l < features; ++l) r.feature_movement.push_back(v(fixed + l));
    for (Index l = fixed + features; l < v.size(); ++l) r.stable_rank.push_back(v(l));
    records_.push_back(std::move(r));
  }
  next_ = static_cast<Index>(read_state(file, "watch.next")(0));
}

}  // namespace gradflow
