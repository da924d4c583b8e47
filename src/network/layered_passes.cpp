#include "network/layered_passes.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "gradflow/base/linear_algebra.h"
#include "network/layer_kinds.h"

namespace gradflow {
namespace {

/// The same storage with other extents (Eigen leaves values as they are where the size is the same).
Matrix reshaped(Matrix A, Index rows, Index cols) {
  A.resize(rows, cols);
  return A;
}
Block as(Matrix& A, Index rows, Index cols) { return Block(Eigen::Map<Matrix>(A.data(), rows, cols)); }

/// use(column of the patches, place in the output, entry column of the array), wherever a patch lies in the
/// array.
template <typename Use>
void for_patches(const PlacedLayer& placed, const Use& use) {
  const Layer& layer = placed.layer;
  const TensorShape &in = placed.input, &out = placed.output;
  const bool two = layer.kind == LayerKind::conv2d;
  const Index rows = two ? layer.size : 1, pad_rows = two ? layer.padding : 0,
              row_stride = two ? layer.stride : 1;
  Index column = 0;
  for (Index c = 0; c < in.channels; ++c)
    for (Index a = 0; a < rows; ++a)
      for (Index b = 0; b < layer.size; ++b, ++column)
        for (Index y = 0; y < out.height; ++y) {
          const Index from_y = y * row_stride + a - pad_rows;
          if (from_y < 0 || from_y >= in.height) continue;
          for (Index x = 0; x < out.width; ++x) {
            const Index from_x = x * layer.stride + b - layer.padding;
            if (from_x < 0 || from_x >= in.width) continue;
            use(column, y * out.width + x, (c * in.height + from_y) * in.width + from_x);
          }
        }
}

Index patch_entries(const PlacedLayer& placed) {
  return placed.input.channels * placed.layer.size *
         (placed.layer.kind == LayerKind::conv2d ? placed.layer.size : 1);
}

// (n places) x (channels size size): what the weights see at every place.
Matrix patches(const PlacedLayer& placed, const Matrix& A) {
  const Index n = A.rows();
  Matrix P = Matrix::Zero(n * placed.output.positions(), patch_entries(placed));
  for_patches(placed, [&](Index column, Index place, Index entry) {
    P.col(column).segment(place * n, n) = A.col(entry);
  });
  return P;
}

// The transpose of patches().
Matrix from_patches(const PlacedLayer& placed, const Matrix& P, Index n) {
  Matrix A = Matrix::Zero(n, placed.input.size());
  for_patches(placed, [&](Index column, Index place, Index entry) {
    A.col(entry) += P.col(column).segment(place * n, n);
  });
  return A;
}

// Rows are (place, example), columns channels; at rank 1, examples and features.
void normalise(Block A, Matrix& inverse_sd) {
  const Vector mean = A.rowwise().mean();
  A.colwise() -= mean;
  inverse_sd = ((A.rowwise().squaredNorm() / static_cast<double>(A.cols())).array() + layer_norm_epsilon)
                   .rsqrt()
                   .matrix();
  A.array().colwise() *= inverse_sd.col(0).array();
}

// t -> (t - mean t - xhat mean(xhat t)) / sd, the symmetric derivative of normalise().
void apply_norm_derivative(const LayerTape& tape, Block t) {
  const Vector mean = t.rowwise().mean(), along = t.cwiseProduct(tape.inputs).rowwise().mean();
  t.colwise() -= mean;
  for (Index c = 0; c < t.cols(); ++c) t.col(c).array() -= tape.inputs.col(c).array() * along.array();
  t.array().colwise() *= tape.slopes.col(0).array();
}

void clear(Block A) { A.setZero(); }

void scale_columns(Block A, const Matrix& gamma) {
  for (Index c = 0; c < A.cols(); ++c) A.col(c) *= gamma(c, 0);
}

// A += xhat o gamma + bias_scale beta, at every row.
void add_affine(Block A, const Matrix& normalised, const Matrix& gamma, const Vector* beta,
                double bias_scale) {
  for (Index c = 0; c < A.cols(); ++c) {
    A.col(c) += gamma(c, 0) * normalised.col(c);
    if (beta != nullptr) A.col(c).array() += bias_scale * (*beta)(c);
  }
}

// (1, G) and, with biases, (0, B - G): gradients of scale and shift as those of a layer with two places.
void visit_affine(const LayerPasses::Visitor& visit, Index layer, const LayerTape& tape, ConstBlock D,
                  Index n, bool bias) {
  Matrix inputs = Matrix::Zero(bias ? 2 * n : n, 1), gradients = Matrix::Zero(inputs.rows(), D.cols());
  inputs.topRows(n).setOnes();
  auto G = gradients.topRows(n);
  for (Index begin = 0; begin < D.rows(); begin += n) {
    const auto d = D.middleRows(begin, n);
    G += d.cwiseProduct(tape.inputs.middleRows(begin, n));
    if (bias) gradients.bottomRows(n) += d;
  }
  if (bias) gradients.bottomRows(n) -= G;
  visit(layer, inputs, gradients);
}

Matrix pool(const TensorShape& shape, const Matrix& A) {
  Matrix mean(A.rows(), shape.channels);
  for (Index c = 0; c < shape.channels; ++c)
    mean.col(c) = A.middleCols(c * shape.positions(), shape.positions()).rowwise().mean();
  return mean;
}

Matrix spread(const TensorShape& shape, const Matrix& D) {
  Matrix all(D.rows(), shape.size());
  const double share = 1.0 / static_cast<double>(shape.positions());
  for (Index c = 0; c < shape.channels; ++c)
    all.middleCols(c * shape.positions(), shape.positions()).colwise() = share * D.col(c);
  return all;
}

// z = weight_scale W a + bias_scale b for every row a of A.
Matrix weighted_sum(const Matrix& A, const Matrix& W, double scale, const Vector* bias, double bias_scale) {
  Matrix Z(A.rows(), W.rows());
  if (bias != nullptr) Z.rowwise() = bias_scale * bias->transpose();
  multiply(A, Transpose::no, W, Transpose::yes, Z, scale, bias != nullptr ? 1.0 : 0.0);
  return Z;
}

const Vector* bias_of(const Parameters& parameters, std::size_t layer) {
  return parameters.biases.empty() ? nullptr : &parameters.biases[layer];
}

}  // namespace

Matrix LayerPasses::forward(const std::vector<PlacedLayer>& layers, Matrix A,
                            std::vector<LayerTape>* tapes) const {
  const Index n = A.rows();
  if (tapes != nullptr) tapes->resize(layers.size());
  for (std::size_t k = 0; k < layers.size(); ++k) {
    const PlacedLayer& placed = layers[k];
    LayerTape unused;
    LayerTape& tape = tapes != nullptr ? (*tapes)[k] : unused;
    const TensorShape& shape = placed.input;
    switch (placed.layer.kind) {
      case LayerKind::dense:
      case LayerKind::conv1d:
      case LayerKind::conv2d: {
        const auto l = static_cast<std::size_t>(placed.parameters);
        tape.inputs = is_convolution(placed.layer) ? patches(placed, A) : std::move(A);
        A = reshaped(weighted_sum(tape.inputs, parameters.weights[l], placed.weight_scale,
                                  bias_of(parameters, l), bias_scale),
                     n, placed.output.size());
        break;
      }
      case LayerKind::activation:
        tape.slopes.resize(A.rows(), A.cols());
        activate_serially(placed.layer.activation, A, tape.slopes);
        break;
      case LayerKind::layer_norm: {
        const Block rows = as(A, n * shape.positions(), shape.channels);
        normalise(rows, tape.slopes);
        if (placed.parameters >= 0) {
          const auto l = static_cast<std::size_t>(placed.parameters);
          tape.inputs = rows;
          clear(rows);
          add_affine(rows, tape.inputs, parameters.weights[l], bias_of(parameters, l), bias_scale);
        } else if (tapes != nullptr) {
          tape.inputs = rows;
        }
        break;
      }
      case LayerKind::residual:
        A += forward(placed.inner, A, tapes != nullptr ? &tape.inner : nullptr);
        break;
      case LayerKind::average_pool: A = pool(shape, A); break;
      case LayerKind::flatten: break;
    }
  }
  return A;
}

Matrix LayerPasses::reverse(const std::vector<PlacedLayer>& layers, std::vector<LayerTape>& tapes, Matrix D,
                            bool wanted, const Visitor& visit) const {
  const Index n = D.rows();
  for (std::size_t k = layers.size(); k-- > 0;) {
    const PlacedLayer& placed = layers[k];
    LayerTape& tape = tapes[k];
    const TensorShape& shape = placed.input;
    switch (placed.layer.kind) {
      case LayerKind::dense:
      case LayerKind::conv1d:
      case LayerKind::conv2d: {
        const Matrix& W = parameters.weights[static_cast<std::size_t>(placed.parameters)];
        Matrix gradients = reshaped(std::move(D), n * placed.output.positions(), W.rows());
        D = Matrix();
        if (k > 0 || wanted) {
          Matrix below(gradients.rows(), W.cols());
          multiply(gradients, Transpose::no, W, Transpose::no, below, placed.weight_scale);
          D = is_convolution(placed.layer) ? from_patches(placed, below, n) : std::move(below);
        }
        visit(placed.parameters, tape.inputs, gradients);
        break;
      }
      case LayerKind::activation: D.array() *= tape.slopes.array(); break;
      case LayerKind::layer_norm: {
        const Block rows = as(D, n * shape.positions(), shape.channels);
        if (placed.parameters >= 0) {
          visit_affine(visit, placed.parameters, tape, rows, n, !parameters.biases.empty());
          scale_columns(rows, parameters.weights[static_cast<std::size_t>(placed.parameters)]);
        }
        apply_norm_derivative(tape, rows);
        break;
      }
      case LayerKind::residual: {
        const bool below = k > 0 || wanted;
        Matrix through = reverse(placed.inner, tape.inner, D, below, visit);
        if (below) D += through;
        break;
      }
      case LayerKind::average_pool: D = spread(shape, D); break;
      case LayerKind::flatten: break;
    }
  }
  return D;
}

Matrix LayerPasses::tangent(const std::vector<PlacedLayer>& layers, const std::vector<LayerTape>& tapes,
                            Matrix dA, const Parameters& direction) const {
  for (std::size_t k = 0; k < layers.size(); ++k) {
    const PlacedLayer& placed = layers[k];
    const LayerTape& tape = tapes[k];
    const TensorShape& shape = placed.input;
    const bool zero = dA.size() == 0;
    switch (placed.layer.kind) {
      case LayerKind::dense:
      case LayerKind::conv1d:
      case LayerKind::conv2d: {
        const auto l = static_cast<std::size_t>(placed.parameters);
        const Index n = tape.inputs.rows() / placed.output.positions();
        Matrix dZ = weighted_sum(tape.inputs, direction.weights[l], placed.weight_scale,
                                 bias_of(direction, l), bias_scale);
        if (!zero)
          multiply(is_convolution(placed.layer) ? patches(placed, dA) : dA, Transpose::no,
                   parameters.weights[l], Transpose::yes, dZ, placed.weight_scale, 1.0);
        dA = reshaped(std::move(dZ), n, placed.output.size());
        break;
      }
      case LayerKind::residual: {
        Matrix through = tangent(placed.inner, tape.inner, dA, direction);
        if (zero)
          dA = std::move(through);
        else
          dA += through;
        break;
      }
      case LayerKind::activation:
        if (!zero) dA.array() *= tape.slopes.array();
        break;
      case LayerKind::layer_norm: {
        if (zero && placed.parameters < 0) break;
        if (zero) dA = Matrix::Zero(tape.inputs.rows() / shape.positions(), shape.size());
        const Block rows = as(dA, tape.inputs.rows(), shape.channels);
        if (!zero) apply_norm_derivative(tape, rows);
        if (placed.parameters < 0) break;
        const auto l = static_cast<std::size_t>(placed.parameters);
        if (!zero) scale_columns(rows, parameters.weights[l]);
        add_affine(rows, tape.inputs, direction.weights[l], bias_of(direction, l), bias_scale);
        break;
      }
      case LayerKind::average_pool:
        if (!zero) dA = pool(shape, dA);
        break;
      case LayerKind::flatten: break;
    }
  }
  return dA;
}

}  // namespace gradflow
