#include "training/dense_pass.h"

#include <cblas.h>

#include <algorithm>
#include <functional>

#include "gradflow/base/error.h"
#include "gradflow/base/parallel.h"

namespace gradflow {
namespace {

constexpr Index most_groups = 16;
constexpr Index least_rows = 64;  // of a group: fewer leave a product of matrices too thin
constexpr double flops_worth_a_thread = 2e7;

// body(g) for every g, on threads() threads where that is worth starting them. The same bits either way.
void for_each_group(std::size_t count, double flops, const std::function<void(std::size_t)>& body) {
  if (flops < flops_worth_a_thread) {
    for (std::size_t g = 0; g < count; ++g) body(g);
    return;
  }
  parallel_for(static_cast<Index>(count), 1, [&](Index g, Index) { body(static_cast<std::size_t>(g)); });
}

void product(CBLAS_TRANSPOSE a, CBLAS_TRANSPOSE b, Index m, Index n, Index k, float alpha, const float* A,
             Index lda, const float* B, Index ldb, float* C, Index ldc) {
  cblas_sgemm(CblasColMajor, a, b, static_cast<int>(m), static_cast<int>(n), static_cast<int>(k), alpha, A,
              static_cast<int>(lda), B, static_cast<int>(ldb), 0.0F, C, static_cast<int>(ldc));
}

void product(CBLAS_TRANSPOSE a, CBLAS_TRANSPOSE b, Index m, Index n, Index k, double alpha, const double* A,
             Index lda, const double* B, Index ldb, double* C, Index ldc) {
  cblas_dgemm(CblasColMajor, a, b, static_cast<int>(m), static_cast<int>(n), static_cast<int>(k), alpha, A,
              static_cast<int>(lda), B, static_cast<int>(ldb), 0.0, C, static_cast<int>(ldc));
}

}  // namespace

Index count_groups(Index n) { return std::clamp<Index>(n / least_rows, 1, most_groups); }

template <typename T>
DensePass<T>::DensePass(const Activation& activation, const std::vector<LayerEntries>& layers,
                        const Vector& theta)
    : activation_(activation), layers_(layers), theta_(theta) {
  for (const LayerEntries& layer : layers) {
    weights_.emplace_back(layer.rows, layer.columns);
    offsets_.emplace_back(layer.biases < 0 ? 0 : layer.rows);
  }
}

template <typename T>
void DensePass<T>::resize(Index n) {
  if (output_.rows() == n && !groups_.empty()) return;
  const Index count = count_groups(n);
  output_.resize(n, layers_.back().rows);
  groups_.resize(static_cast<std::size_t>(count));
  for (Index g = 0; g < count; ++g) {
    Group& group = groups_[static_cast<std::size_t>(g)];
    group.begin = n * g / count;
    group.rows = n * (g + 1) / count - group.begin;
    group.inputs.resize(layers_.size());
    group.slopes.resize(layers_.size() - 1);
    for (std::size_t l = 0; l < layers_.size(); ++l) group.inputs[l].resize(layers_[l].columns, group.rows);
    for (std::size_t l = 0; l + 1 < layers_.size(); ++l) group.slopes[l].resize(layers_[l].rows, group.rows);
    group.last.resize(layers_.back().rows, group.rows);
    group.gradient.resize(theta_.size());
  }
}

template <typename T>
const Matrix& DensePass<T>::forward(ConstBlock X) {
  if (X.cols() != layers_.front().columns)
    throw InputError(fmt::format("the features have {} columns: the network takes {} inputs", X.cols(),
                                 layers_.front().columns));
  resize(X.rows());
  for (std::size_t l = 0; l < layers_.size(); ++l) {
    const LayerEntries& layer = layers_[l];
    weights_[l] = theta_.segment(layer.weights, layer.rows * layer.columns)
                      .reshaped(layer.rows, layer.columns)
                      .template cast<T>();
    if (layer.biases >= 0)
      offsets_[l] = (layer.bias_scale * theta_.segment(layer.biases, layer.rows)).template cast<T>();
  }
  const SerialBlas serial;
  for_each_group(groups_.size(), flops(), [&](std::size_t g) { forward(X, groups_[g]); });
  return output_;
}

template <typename T>
void DensePass<T>::forward(ConstBlock X, Group& group) {
  group.inputs[0] = X.middleRows(group.begin, group.rows).transpose().template cast<T>();
  for (std::size_t l = 0; l < layers_.size(); ++l) {
    const LayerEntries& layer = layers_[l];
    const bool hidden = l + 1 < layers_.size();
    Panel& Z = hidden ? group.inputs[l + 1] : group.last;
    product(CblasNoTrans, CblasNoTrans, layer.rows, group.rows, layer.columns,
            static_cast<T>(layer.weight_scale), weights_[l].data(), layer.rows, group.inputs[l].data(),
            layer.columns, Z.data(), layer.rows);
    if (layer.biases >= 0) Z.colwise() += offsets_[l];
    if (hidden) activate_serially(activation_, Z, group.slopes[l]);
  }
  output_.middleRows(group.begin, group.rows) = group.last.transpose().template cast<double>();
}

template <typename T>
Vector DensePass<T>::pull_back(ConstBlock U) {
  require(U.rows() == output_.rows() && U.cols() == output_.cols(), "NetworkPass::pull_back U.rows", U.rows(),
          "must have the shape of the last output");
  {
    const SerialBlas serial;
    for_each_group(groups_.size(), flops(), [&](std::size_t g) { reverse(U, groups_[g]); });
  }
  Vector sum = groups_.front().gradient.template cast<double>();
  for (std::size_t g = 1; g < groups_.size(); ++g) sum += groups_[g].gradient.template cast<double>();
  return sum;
}

template <typename T>
void DensePass<T>::reverse(ConstBlock U, Group& group) {
  Panel top = U.middleRows(group.begin, group.rows).transpose().template cast<T>();
  Panel from_above;
  for (std::size_t l = layers_.size(); l-- > 0;) {
    const LayerEntries& layer = layers_[l];
    const Panel& D = l + 1 == layers_.size() ? top : group.slopes[l];
    product(CblasNoTrans, CblasTrans, layer.rows, layer.columns, group.rows,
            static_cast<T>(layer.weight_scale), D.data(), layer.rows, group.inputs[l].data(), layer.columns,
            group.gradient.data() + layer.weights, layer.rows);
    if (layer.biases >= 0)
      group.gradient.segment(layer.biases, layer.rows) = static_cast<T>(layer.bias_scale) * D.rowwise().sum();
    if (l == 0) break;
    from_above.resize(layer.columns, group.rows);
    product(CblasTrans, CblasNoTrans, layer.columns, group.rows, layer.rows,
            static_cast<T>(layer.weight_scale), weights_[l].data(), layer.rows, D.data(), layer.rows,
            from_above.data(), layer.columns);
    group.slopes[l - 1].array() *= from_above.array();
  }
}

template class DensePass<float>;
template class DensePass<double>;

}  // namespace gradflow
