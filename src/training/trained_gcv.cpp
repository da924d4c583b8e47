#include "gradflow/training/trained_gcv.h"

#include <algorithm>
#include <cmath>

#include "base/special_values.h"
#include "gradflow/base/error.h"
#include "gradflow/spectrum/spectral_density.h"
#include "training/trainings_in_turn.h"

namespace gradflow {
namespace {

constexpr double errors_above = 2.0;  // of GCV, above the best: it has risen
constexpr double least_left = 0.01;   // of N, beyond which GCV says nothing

// Member 0 is the network, 1 to J are its twins.
class Twins final : TrainingsInTurn {
 public:
  Twins(TrainableNetwork& network, const TrainingSet& data, const TrainedGcvOptions& options)
      : TrainingsInTurn(network, options.twins + 1, options),
        data_(data),
        options_(options),
        basis_(orthonormal_columns(data.design)),
        freedom_(static_cast<double>((data.X.rows() - basis_.cols()) * data.Y.cols())) {
    if (freedom_ < 1.0)
      throw InputError(fmt::format("{} rows and {} fixed effects leave nothing to train on", data.X.rows(),
                                   basis_.cols()));
    disturbance_ = options.size * without_columns(basis_, data.Y).norm() / std::sqrt(freedom_);
    if (!(disturbance_ > 0.0)) disturbance_ = options.size;  // a constant response
    const Index K = data.Y.cols();
    for (Index j = 0; j < options.twins; ++j)
      signs_.push_back(
          without_columns(basis_, random_signs(data.Y.rows(), options.trainer.seed, j * K + 1, K, "twin")));
  }

  TrainedGcv go() {
    out_.twins = options_.twins;
    out_.freedom = static_cast<Index>(freedom_);
    run(out_, "were too few to see generalised cross-validation rise by more than its error");
    return std::move(out_);
  }

 private:
  TrainingSet rows(Index k) const override {
    TrainingSet set = data_;
    if (k > 0) set.Y += disturbance_ * signs_[static_cast<std::size_t>(k - 1)];
    return set;
  }
  std::optional<TrainingSet> asked(Index) const override { return {}; }
  std::string label(Index k) const override {
    return k == 0 ? "training the network" : fmt::format("training twin {}", k);
  }

  // The curve at the points that are new.
  bool settled(Index count) override {
    for (Index i = static_cast<Index>(out_.points.size()); i < count; ++i) add_point(i);
    for (Member& member : members()) member.predictions.clear();
    out_.best = std::min_element(out_.gcv.begin(), out_.gcv.end()) - out_.gcv.begin();
    return past_best(out_) && risen();
  }

  void add_point(Index i) {
    const Matrix& fitted = members().front().predictions.at(i);
    double dof = 0.0, square = 0.0;
    for (std::size_t j = 0; j < signs_.size(); ++j) {
      const Matrix moved =
          without_columns(basis_, members()[j + 1].predictions.at(i) - fitted) / disturbance_;
      dof += signs_[j].cwiseProduct(moved).sum();
      square += moved.squaredNorm();
    }
    const auto J = static_cast<double>(signs_.size());
    dof /= J;
    const double mean_square = (data_.Y - fitted).squaredNorm() / freedom_, left = 1.0 - dof / freedom_;
    out_.points.push_back(points().at(i));
    out_.dof.push_back(dof);
    out_.dof_standard_error.push_back(std::sqrt(2.0 * square / (J * J)));
    out_.mean_square.push_back(mean_square);
    out_.gcv.push_back(left < least_left ? infinity : mean_square / (left * left));
  }

  // Whether the last point is above the best by more than its own error.
  bool risen() const {
    const double left = freedom_ - out_.dof.back();
    const double relative_error = 2.0 * out_.dof_standard_error.back() / left;
    return std::isinf(out_.gcv.back()) ||
           out_.gcv.back() > (1.0 + errors_above * relative_error) * out_.at_best(out_.gcv);
  }

  void save_more(TensorFile& file) const override {
    const auto count = static_cast<Index>(out_.points.size());
    Matrix curves(count, 5);
    Index column = 0;
    for (const auto* curve :
         {&out_.points, &out_.gcv, &out_.dof, &out_.dof_standard_error, &out_.mean_square})
      curves.col(column++) = Eigen::Map<const Vector>(curve->data(), count);
    write_state(file, "twins.curves", curves);
  }
  void restore_more(const TensorFile& file) override {
    const Matrix curves = read_state(file, "twins.curves");
    Index column = 0;
    for (auto* curve : {&out_.points, &out_.gcv, &out_.dof, &out_.dof_standard_error, &out_.mean_square}) {
      const Vector values = curves.col(column++);
      curve->assign(values.begin(), values.end());
    }
  }

  const TrainingSet& data_;
  const TrainedGcvOptions& options_;
  Matrix basis_;  // orthonormal, of the fixed effects
  double freedom_, disturbance_ = 0.0;
  std::vector<Matrix> signs_;  // of the twins, off the fixed effects
  TrainedGcv out_;
};

}  // namespace

TrainedGcv trained_gcv(TrainableNetwork& network, const TrainingSet& data, const TrainedGcvOptions& options) {
  require(options.twins >= 1 && options.twins <= TrainedGcvOptions::most_twins, "twins", options.twins,
          fmt::format("must be from 1 to {}", TrainedGcvOptions::most_twins));
  require(options.size > 0.0, "size", options.size, "must be > 0");
  if (options.trainer.loss == TrainingLoss::cross_entropy)
    throw InputError("generalised cross-validation is for squared loss");
  return Twins(network, data, options).go();
}

}  // namespace gradflow
