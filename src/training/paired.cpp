#include <cmath>
#include <utility>

#include "gradflow/base/error.h"
#include "training/dense_pass.h"

namespace gradflow {
namespace {

const double half_root = 1.0 / std::sqrt(2.0);

class PairedPass final : public NetworkPass {
 public:
  PairedPass(std::unique_ptr<NetworkPass> first, std::unique_ptr<NetworkPass> second)
      : first_(std::move(first)), second_(std::move(second)) {}

  const Matrix& forward(ConstBlock X) override {
    output_ = half_root * (first_->forward(X) - second_->forward(X));
    return output_;
  }

  Vector pull_back(ConstBlock U) override {
    const Vector one = first_->pull_back(U), two = second_->pull_back(U);
    Vector both(one.size() + two.size());
    both << half_root * one, -half_root * two;
    return both;
  }

 private:
  std::unique_ptr<NetworkPass> first_, second_;
  Matrix output_;
};

// W of a layer of both copies side by side: blocks on the diagonal, with one set of inputs at the first layer
// and one difference at the last.
Matrix joined(const Matrix& one, const Matrix& two, double scale, bool first, bool last) {
  if (first && last) return scale * half_root * (one - two);
  Matrix both =
      Matrix::Zero(last ? one.rows() : one.rows() + two.rows(), first ? one.cols() : one.cols() + two.cols());
  both.topLeftCorner(one.rows(), one.cols()) = scale * one;
  both.bottomRightCorner(two.rows(), two.cols()) = scale * two;  // of the last layer, the same rows
  if (!last) return both;
  both.leftCols(one.cols()) *= half_root;
  both.rightCols(two.cols()) *= -half_root;
  return both;
}

Vector joined(const Vector& one, const Vector& two, double scale, bool last) {
  if (last) return scale * half_root * (one - two);
  Vector both(one.size() + two.size());
  both << scale * one, scale * two;
  return both;
}

/// Two networks of equal layers side by side, as one.
class SideBySide {
 public:
  SideBySide(const LayeredNetwork& one, const LayeredNetwork& two) : one_(one), two_(two) {}

  LayeredNetwork join() {
    LayeredArchitecture architecture = one_.architecture();
    parameters_.weights.resize(static_cast<std::size_t>(one_.layers()));
    if (architecture.bias) parameters_.biases.resize(parameters_.weights.size());
    architecture.layers = join(one_.sequence());
    architecture.parameterization = Parameterization::standard;
    return {std::move(architecture), std::move(parameters_)};
  }

 private:
  std::vector<Layer> join(const std::vector<PlacedLayer>& sequence) {
    std::vector<Layer> layers;
    for (const PlacedLayer& placed : sequence) {
      Layer layer = placed.layer;
      if (layer.kind == LayerKind::layer_norm && (!shared_ || placed.parameters >= 0)) refuse(layer);
      if (layer.kind == LayerKind::residual) {
        const bool was_shared = shared_;
        layer.inner = join(placed.inner);
        if (was_shared != shared_) refuse(placed.layer);
      } else if (placed.parameters >= 0) {
        join(placed.parameters, layer);
      }
      layers.push_back(std::move(layer));
    }
    return layers;
  }

  void join(Index number, Layer& layer) {
    const auto l = static_cast<std::size_t>(number);
    const bool last = number + 1 == one_.layers();
    const Parameters &of_one = one_.parameters(), &of_two = two_.parameters();
    parameters_.weights[l] =
        joined(of_one.weights[l], of_two.weights[l], one_.weight_scale(number), shared_, last);
    if (!parameters_.biases.empty())
      parameters_.biases[l] = joined(of_one.biases[l], of_two.biases[l], one_.bias_scale(), last);
    if (!last) layer.width *= 2;
    shared_ = false;
  }

  [[noreturn]] void refuse(const Layer& layer) const {
    throw InputError(
        fmt::format("two copies of '{}' are no one network of layers, as {} would act on both: take centring "
                    "zero-last-layer",
                    one_.text(), to_string(layer)));
  }

  const LayeredNetwork &one_, &two_;
  Parameters parameters_;
  bool shared_ = true;  // no weights yet: both have the same values
};

/// (H_1 + H_2) / 2.
class MeanOperator final : public TrainingOperator {
 public:
  MeanOperator(std::unique_ptr<TrainingOperator> first, std::unique_ptr<TrainingOperator> second)
      : first_(std::move(first)), second_(std::move(second)) {}

  Index size() const noexcept override { return first_->size(); }
  std::string description() const override { return fmt::format("{}, two copies", first_->description()); }

 private:
  void do_apply(ConstBlock X, Block Y) const override {
    Matrix other(X.rows(), X.cols());
    first_->apply(X, Y);
    second_->apply(X, other);
    Y = 0.5 * (Y + other);
  }
  Vector do_diagonal() const override { return 0.5 * (first_->diagonal() + second_->diagonal()); }

  std::unique_ptr<TrainingOperator> first_, second_;
};

class Paired final : public TrainableNetwork {
 public:
  Paired(std::unique_ptr<TrainableNetwork> first, std::unique_ptr<TrainableNetwork> second)
      : first_(std::move(first)), second_(std::move(second)) {
    join();
  }

  Index inputs() const override { return first_->inputs(); }
  Index outputs() const override { return first_->outputs(); }
  std::string description() const override {
    return fmt::format("the difference of two copies of {}", first_->description());
  }
  const Vector& parameters() const override { return theta_; }

  void set_parameters(Vector theta) override {
    require(theta.size() == theta_.size(), "number of parameters", theta.size(),
            fmt::format("must be {}", theta_.size()));
    const Index half = theta.size() / 2;
    first_->set_parameters(theta.head(half));
    second_->set_parameters(theta.tail(half));
    theta_ = std::move(theta);
  }

  std::vector<LayerEntries> layers() const override {
    std::vector<LayerEntries> both = first_->layers();
    const Index half = theta_.size() / 2;
    for (LayerEntries layer : second_->layers()) {
      layer.weights += half;
      if (layer.biases >= 0) layer.biases += half;
      both.push_back(layer);
    }
    return both;
  }

  std::unique_ptr<NetworkPass> make_pass() const override {
    return std::make_unique<PairedPass>(first_->make_pass(), second_->make_pass());
  }

  double pass_bytes(Index n) const override { return 2.0 * first_->pass_bytes(n); }
  Precision precision() const override { return first_->precision(); }

  // J = [J_1, -J_2] / sqrt(2)
  std::unique_ptr<TrainingOperator> products(ConstBlock X) const override {
    return std::make_unique<MeanOperator>(first_->products(X), second_->products(X));
  }
  Matrix kernel(ConstBlock X) const override { return 0.5 * (first_->kernel(X) + second_->kernel(X)); }
  Matrix kernel_cross(ConstBlock X_new, ConstBlock X) const override {
    return 0.5 * (first_->kernel_cross(X_new, X) + second_->kernel_cross(X_new, X));
  }

  std::vector<Matrix> features(ConstBlock X) const override {
    std::vector<Matrix> both = first_->features(X);
    const std::vector<Matrix> second = second_->features(X);
    for (std::size_t l = 0; l < both.size(); ++l) {
      Matrix side(both[l].rows(), both[l].cols() + second[l].cols());
      side << both[l], second[l];
      both[l] = std::move(side);
    }
    return both;
  }

  DenseNetwork dense() const override { return joined_network(first_->dense(), second_->dense()); }

  Matrix last_weights() const override {
    const Matrix one = first_->last_weights(), two = second_->last_weights();
    return joined(one, two, 1.0, first_->layers().size() == 1, true);
  }

  LayeredNetwork layered() const override {
    const LayeredNetwork one = first_->layered(), two = second_->layered();
    return SideBySide(one, two).join();
  }

 private:
  static DenseNetwork joined_network(const DenseNetwork& one, const DenseNetwork& two) {
    Architecture architecture = one.architecture();
    architecture.parameterization = Parameterization::standard;
    for (Index& width : architecture.widths) width *= 2;
    Parameters parameters;
    for (Index l = 0; l < one.layers(); ++l) {
      const auto at = static_cast<std::size_t>(l);
      const bool last = l + 1 == one.layers();
      parameters.weights.push_back(joined(one.parameters().weights[at], two.parameters().weights[at],
                                          one.weight_scale(l), l == 0, last));
      if (architecture.bias)
        parameters.biases.push_back(
            joined(one.parameters().biases[at], two.parameters().biases[at], one.bias_scale(), last));
    }
    return DenseNetwork(architecture, std::move(parameters));
  }

  void join() {
    theta_.resize(first_->parameters().size() + second_->parameters().size());
    theta_ << first_->parameters(), second_->parameters();
  }

  std::unique_ptr<TrainableNetwork> first_, second_;
  Vector theta_;
};

}  // namespace

std::unique_ptr<TrainableNetwork> make_paired(std::unique_ptr<TrainableNetwork> first,
                                              std::unique_ptr<TrainableNetwork> second) {
  return std::make_unique<Paired>(std::move(first), std::move(second));
}

}  // namespace gradflow
