#include "gradflow/network/dense_network.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "gradflow/base/error.h"
#include "gradflow/base/linear_algebra.h"
#include "gradflow/base/random.h"

namespace gradflow {
namespace {

/// Examples per block of a forward pass that keeps nothing but its result.
constexpr Index block_rows = 4096;

void check_shapes(const Architecture& architecture, const Parameters& parameters) {
  const std::size_t layers = architecture.widths.size() + 1;
  require(parameters.weights.size() == layers, "number of weight matrices", parameters.weights.size(),
          "must be the number of hidden layers plus one");
  require(parameters.biases.size() == (architecture.bias ? layers : 0), "number of bias vectors",
          parameters.biases.size(), "must be that of the weight matrices, or 0 without biases");
  require(parameters.weights.front().cols() >= 1, "network inputs", parameters.weights.front().cols(),
          "must be >= 1");
  for (std::size_t l = 0; l < layers; ++l) {
    const Matrix& W = parameters.weights[l];
    const Index width_out = l + 1 < layers ? architecture.widths[l] : 1;
    require(W.rows() == width_out, fmt::format("rows of W{}", l), W.rows(),
            fmt::format("must be {}, the width of the layer", width_out));
    require(l == 0 || W.cols() == architecture.widths[l - 1], fmt::format("columns of W{}", l), W.cols(),
            "must be the rows of the weight matrix before it");
    require(W.allFinite(), fmt::format("W{}", l), "a value that is not finite", "every entry must be finite");
    if (!architecture.bias) continue;
    const Vector& b = parameters.biases[l];
    require(b.size() == width_out, fmt::format("length of b{}", l), b.size(),
            fmt::format("must be {}", width_out));
    require(b.allFinite(), fmt::format("b{}", l), "a value that is not finite", "every entry must be finite");
  }
}

}  // namespace

DenseNetwork::DenseNetwork(Architecture architecture, Parameters parameters)
    : architecture_(std::move(architecture)), parameters_(std::move(parameters)) {
  architecture_.check();
  check_shapes(architecture_, parameters_);
}

DenseNetwork DenseNetwork::initialise(const Architecture& architecture, Index inputs, std::uint64_t seed) {
  architecture.check();
  require(inputs >= 1, "network inputs", inputs, "must be >= 1");
  const bool standard = architecture.parameterization == Parameterization::standard;
  RandomStream random(seed, "network/initialise");
  Parameters parameters;
  Index width_in = inputs;
  for (std::size_t l = 0; l <= architecture.widths.size(); ++l) {
    const Index width_out = l < architecture.widths.size() ? architecture.widths[l] : 1;
    const double bound = 1.0 / std::sqrt(static_cast<double>(width_in));
    const auto draw = [&] { return standard ? random.uniform(-bound, bound) : random.normal(); };
    Matrix W(width_out, width_in);
    for (double& entry : W.reshaped()) entry = draw();
    parameters.weights.push_back(std::move(W));
    if (architecture.bias) {
      Vector b(width_out);
      for (double& entry : b) entry = draw();
      parameters.biases.push_back(std::move(b));
    }
    width_in = width_out;
  }
  return DenseNetwork(architecture, std::move(parameters));
}

double DenseNetwork::weight_scale(Index layer) const {
  if (architecture_.parameterization == Parameterization::standard) return 1.0;
  return std::sqrt(architecture_.sw2 /
                   static_cast<double>(parameters_.weights[static_cast<std::size_t>(layer)].cols()));
}

double DenseNetwork::bias_scale() const noexcept {
  if (!architecture_.bias) return 0.0;
  return architecture_.parameterization == Parameterization::standard ? 1.0 : std::sqrt(architecture_.sb2);
}

void DenseNetwork::check_inputs(ConstBlock X) const {
  if (X.cols() != inputs())
    throw InputError(
        fmt::format("the features have {} columns: the network takes {} inputs", X.cols(), inputs()));
}

// z = weight_scale W a + bias_scale b for every row a of A.
Matrix DenseNetwork::layer_output(std::size_t layer, ConstBlock A) const {
  const Matrix& W = parameters_.weights[layer];
  Matrix Z(A.rows(), W.rows());
  if (architecture_.bias) Z.rowwise() = bias_scale() * parameters_.biases[layer].transpose();
  multiply(A, Transpose::no, W, Transpose::yes, Z, weight_scale(static_cast<Index>(layer)),
           architecture_.bias ? 1.0 : 0.0);
  return Z;
}

Vector DenseNetwork::output(ConstBlock X) const {
  check_inputs(X);
  const std::size_t last = parameters_.weights.size() - 1;
  Vector f(X.rows());
  for (Index begin = 0; begin < X.rows(); begin += block_rows) {
    const Index rows = std::min(block_rows, X.rows() - begin);
    Matrix A = layer_output(0, X.middleRows(begin, rows));
    for (std::size_t l = 1; l <= last; ++l) {
      activate(architecture_.activation, A);
      A = layer_output(l, A);
    }
    f.segment(begin, rows) = A.col(0);
  }
  return f;
}

Sweep DenseNetwork::sweep(ConstBlock X) const {
  check_inputs(X);
  const std::size_t last = parameters_.weights.size() - 1;
  Sweep sweep;
  sweep.layers.resize(last + 1);
  sweep.layers[0].inputs = X;
  for (std::size_t l = 0; l < last; ++l) {
    // The layer's gradients first hold phi'(z); the reverse pass multiplies what comes from above into them.
    Matrix Z = layer_output(l, sweep.layers[l].inputs);
    sweep.layers[l].gradients.resize(Z.rows(), Z.cols());
    activate(architecture_.activation, Z, sweep.layers[l].gradients);
    sweep.layers[l + 1].inputs = std::move(Z);
  }
  sweep.output = layer_output(last, sweep.layers[last].inputs);
  sweep.layers[last].gradients = Matrix::Ones(X.rows(), 1);
  for (std::size_t l = last; l-- > 0;) {
    const Matrix& W = parameters_.weights[l + 1];
    const double scale = weight_scale(static_cast<Index>(l) + 1);
    Matrix& D = sweep.layers[l].gradients;
    if (W.rows() == 1) {
      for (Index j = 0; j < D.cols(); ++j)
        D.col(j).array() *= scale * W(0, j) * sweep.layers[l + 1].gradients.col(0).array();
      continue;
    }
    Matrix from_above(D.rows(), D.cols());
    multiply(sweep.layers[l + 1].gradients, Transpose::no, W, Transpose::no, from_above, scale);
    D.array() *= from_above.array();
  }
  return sweep;
}

Vector DenseNetwork::jvp(ConstBlock X, const Parameters& direction) const {
  check_inputs(X);
  check_shapes(architecture_, direction);
  const std::size_t last = parameters_.weights.size() - 1;
  Vector Jv(X.rows());
  for (Index begin = 0; begin < X.rows(); begin += block_rows) {
    const Index rows = std::min(block_rows, X.rows() - begin);
    Matrix A = X.middleRows(begin, rows), dA;  // no dA: the features do not depend on theta
    for (std::size_t l = 0; l <= last; ++l) {
      // dz = weight_scale (V a + W da) + bias_scale db
      const double scale = weight_scale(static_cast<Index>(l));
      Matrix dZ = multiply(A, Transpose::no, direction.weights[l], Transpose::yes);
      if (l > 0) multiply(dA, Transpose::no, parameters_.weights[l], Transpose::yes, dZ, 1.0, 1.0);
      dZ *= scale;
      if (architecture_.bias) dZ.rowwise() += bias_scale() * direction.biases[l].transpose();
      if (l < last) {
        A = layer_output(l, A);
        Matrix slopes(A.rows(), A.cols());
        activate(architecture_.activation, A, slopes);
        dZ.array() *= slopes.array();
      }
      dA = std::move(dZ);
    }
    Jv.segment(begin, rows) = dA.col(0);
  }
  return Jv;
}

Parameters DenseNetwork::vjp(ConstBlock X, ConstVector u) const {
  require(u.size() == X.rows(), "DenseNetwork::vjp u.size", u.size(), "must equal the number of examples");
  check_inputs(X);
  Parameters gradient;
  for (const Matrix& W : parameters_.weights) gradient.weights.emplace_back(Matrix::Zero(W.rows(), W.cols()));
  for (const Vector& b : parameters_.biases) gradient.biases.emplace_back(Vector::Zero(b.size()));
  for (Index begin = 0; begin < X.rows(); begin += block_rows) {
    const Index rows = std::min(block_rows, X.rows() - begin);
    Sweep part = sweep(X.middleRows(begin, rows));
    for (std::size_t l = 0; l < gradient.weights.size(); ++l) {
      Matrix& D = part.layers[l].gradients;
      D.array().colwise() *= u.segment(begin, rows).array();
      multiply(D, Transpose::yes, part.layers[l].inputs, Transpose::no, gradient.weights[l],
               weight_scale(static_cast<Index>(l)), 1.0);
      if (architecture_.bias) gradient.biases[l] += bias_scale() * D.colwise().sum().transpose();
    }
  }
  return gradient;
}

}  // namespace gradflow
