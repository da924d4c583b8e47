#include "gradflow/training/trainable.h"

#include <gtest/gtest.h>

#include "gradflow/base/error.h"
#include "gradflow/base/parallel.h"
#include "gradflow/base/random.h"
#include "gradflow/operators/finite_ntk.h"

namespace gradflow {
namespace {

const std::vector<std::string> dense_architectures{"linear",           "tanh:6",      "relu:7-5,no-bias",
                                                   "gelu:4x3",         "erf:6-5,ntk", "cos:5-4,no-bias,ntk",
                                                   "sin:5,ntk,sb2=0.3"};

Vector moved(const TrainableNetwork& network, const Vector& direction, double step) {
  return network.parameters() + step * direction;
}

TEST(Trainable, PullsBackWhatCentralDifferencesSay) {
  for (const std::string& text : dense_architectures)
    for (const Centring centring : all_centrings)
      for (const Index outputs : {Index{1}, Index{3}}) {
        RandomStream random(3, text);
        const auto network = make_trainable(parse_architecture(text), 4, outputs, 11, centring);
        const Matrix X = random.normals(9, 4), U = random.normals(9, outputs);
        const Vector v = random.normals(network->parameters().size());
        const auto pass = network->make_pass();
        pass->forward(X);
        const double slope = pass->pull_back(U).dot(v);
        constexpr double h = 1e-6;

        const Vector up = moved(*network, v, h), down = moved(*network, v, -h);
        network->set_parameters(up);
        const Matrix f_up = network->output(X);
        network->set_parameters(down);
        const double difference = ((f_up - network->output(X)).array() * U.array()).sum() / (2.0 * h);

        EXPECT_NEAR(slope, difference, 1e-6 * std::max(1.0, std::abs(slope)))
            << text << ' ' << to_string(centring) << ' ' << outputs;
      }
}

TEST(Trainable, IsTheDenseNetworkItWasMadeFrom) {
  for (const std::string& text : dense_architectures) {
    const Matrix X = RandomStream(4, text).normals(200, 4);
    const auto dense = DenseNetwork::initialise(parse_architecture(text), 4, 11);
    const auto network = make_trainable(dense);
    const auto drawn = make_trainable(parse_architecture(text), 4, 1, 11);

    EXPECT_LT((network->output(X) - dense.output(X)).norm(), 1e-13 * dense.output(X).norm());
    EXPECT_EQ(network->parameters(), drawn->parameters());
    EXPECT_LT((network->dense().output(X) - dense.output(X)).norm(), 1e-14);
    EXPECT_LT((network->kernel(X) - ntk_gram(dense, X)).norm(), 1e-12 * ntk_gram(dense, X).norm());
  }
}

TEST(Trainable, CopiesStartAtZeroWithTheKernelOfOne) {
  for (const std::string& text : dense_architectures) {
    RandomStream random(4, text);
    const Matrix X = random.normals(20, 4);
    const auto one = make_trainable(parse_architecture(text), 4, 1, 11);
    const auto pair = make_trainable(parse_architecture(text), 4, 1, 11, Centring::copies);

    EXPECT_EQ(pair->output(X).norm(), 0.0);
    EXPECT_LT((pair->kernel(X) - one->kernel(X)).norm(), 1e-12 * one->kernel(X).norm());

    // One dense network of twice the width is the same function, wherever the parameters are.
    pair->set_parameters(pair->parameters() + 0.3 * random.normals(pair->parameters().size()));
    EXPECT_LT((pair->dense().output(X) - pair->output(X)).norm(), 1e-12 * pair->output(X).norm());
  }
}

TEST(Trainable, ZeroLastLayerStartsAtZero) {
  const Matrix X = RandomStream(4, "x").normals(20, 4);
  const auto network = make_trainable(parse_architecture("relu:8x2"), 4, 1, 11, Centring::zero_last_layer);

  EXPECT_EQ(network->output(X).norm(), 0.0);
  EXPECT_GT(network->kernel(X).norm(), 0.0);
}

TEST(Trainable, HasTheSameBitsForAnyNumberOfThreadsInBothPrecisions) {
  const Matrix X = RandomStream(4, "x").normals(500, 6), U = RandomStream(5, "u").normals(500, 1);
  for (const Precision precision : {Precision::float32, Precision::float64}) {
    const auto network = make_trainable(parse_architecture("relu:40x2"), 6, 1, 2, Centring::none, precision);
    const auto run = [&](int count) {
      set_threads(count);
      const auto pass = network->make_pass();
      const Vector f = pass->forward(X);
      const Vector g = pass->pull_back(U);
      set_threads(0);
      return std::make_pair(f, g);
    };
    const auto [f1, g1] = run(1);
    const auto [f2, g2] = run(2);

    EXPECT_EQ(f1, f2);
    EXPECT_EQ(g1, g2);
  }
}

TEST(Trainable, Float32AgreesWithFloat64ToItsRounding) {
  const Matrix X = RandomStream(4, "x").normals(300, 6), U = RandomStream(5, "u").normals(300, 1);
  const auto wide = make_trainable(parse_architecture("tanh:30x2"), 6, 1, 2);
  const auto narrow =
      make_trainable(parse_architecture("tanh:30x2"), 6, 1, 2, Centring::none, Precision::float32);
  const auto pass = wide->make_pass(), narrow_pass = narrow->make_pass();

  EXPECT_LT((pass->forward(X) - narrow_pass->forward(X)).norm(), 1e-5 * wide->output(X).norm());
  const Vector g = pass->pull_back(U);
  EXPECT_LT((g - narrow_pass->pull_back(U)).norm(), 1e-5 * g.norm());
}

TEST(Trainable, RefusesWrongShapes) {
  const auto network = make_trainable(parse_architecture("relu:3"), 4, 1, 1);

  EXPECT_THROW(network->set_parameters(Vector::Zero(3)), InputError);
  EXPECT_THROW(network->output(Matrix::Zero(2, 5)), InputError);
  EXPECT_THROW(parse_centring("half"), InputError);
}

}  // namespace
}  // namespace gradflow
