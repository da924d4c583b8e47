#include "gradflow/operators/layered_kernel.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "gradflow/base/error.h"
#include "gradflow/base/parallel.h"
#include "operators/layered_recursion.h"

namespace gradflow {
namespace {

/// Numbers of K in a tile, about: with T, copies and sums 32 MB.
constexpr double entries_of_tile = 1 << 20;
constexpr Index most_tile = 128;

/// What a layer hands on, in the limit.
enum class Values { data, gaussian, other };

[[noreturn]] void no_limit(const Layer& layer, std::string_view reason) {
  throw InputError(fmt::format("layer '{}' has no infinite-width kernel here: {}", to_string(layer), reason));
}

bool has_weights(const Layer& layer) {
  return layer.kind == LayerKind::dense || layer.kind == LayerKind::conv1d || layer.kind == LayerKind::conv2d;
}

Values check_limit(const std::vector<Layer>& layers, Values values);

Values check_limit(const Layer& layer, Values values) {
  switch (layer.kind) {
    case LayerKind::dense:
    case LayerKind::conv1d:
    case LayerKind::conv2d: return Values::gaussian;
    case LayerKind::activation:
      if (values != Values::gaussian)
        no_limit(layer, "an activation needs Gaussian values, as those of a dense or conv layer before it");
      return Values::other;
    case LayerKind::layer_norm:
      if (layer.affine)
        no_limit(layer, "its trained scales and shifts are not in the recursion: take layernorm");
      if (values != Values::gaussian)
        no_limit(layer, "it needs Gaussian values, as those of a dense or conv layer before it");
      return Values::gaussian;
    case LayerKind::residual: {
      if (values == Values::data) no_limit(layer, "a residual block cannot be added to the data themselves");
      if (std::ranges::none_of(layer.inner, has_weights))
        no_limit(layer, "a residual block needs a dense or conv layer of its own");
      const Values inner = check_limit(layer.inner, values);
      if (values != Values::gaussian && inner != Values::gaussian)
        no_limit(layer, "after an activation a residual block must end with a dense or conv layer");
      return values == inner ? values : Values::other;
    }
    case LayerKind::flatten: return values == Values::data ? values : Values::other;
    case LayerKind::average_pool: break;
  }
  return values;
}

Values check_limit(const std::vector<Layer>& layers, Values values) {
  for (const Layer& layer : layers) values = check_limit(layer, values);
  return values;
}

void check_rows(const LayeredKernel& kernel, ConstBlock X) {
  kernel.check(X.cols());
  for (Index j = 0; j < X.cols(); ++j)
    for (Index i = 0; i < X.rows(); ++i)
      if (!std::isfinite(X(i, j)))
        throw InputError(fmt::format("features have the value {} in row {}, column {}: all must be finite",
                                     X(i, j), i + 1, j + 1));
}

Index tile_side(const LayeredRecursion& recursion) {
  const double side = std::sqrt(entries_of_tile / static_cast<double>(recursion.entries_per_pair()));
  return std::clamp<Index>(static_cast<Index>(side), 1, most_tile);
}

}  // namespace

void LayeredKernel::check(Index inputs) const {
  architecture.check();
  require(architecture.parameterization == Parameterization::ntk, "parameterization", "standard",
          "an infinite-width limit is that of ntk");
  TensorShape shape = architecture.input_shape(inputs);
  for (const Layer& layer : architecture.layers) shape = output_shape(layer, shape);
  check_limit(architecture.layers, Values::data);
}

bool is_layered_kernel_text(const std::string& text) {
  return text.starts_with("ntk(") || text.starts_with("nngp(");
}

LayeredKernel parse_layered_kernel(const std::string& text) {
  if (!is_layered_kernel_text(text) || !text.ends_with(')'))
    throw InputError(
        fmt::format("kernel '{}': write KIND(LAYERS) with KIND ntk or nngp, for example ntk(dense:64 relu "
                    "dense:1)",
                    text));
  LayeredKernel kernel;
  if (text.starts_with("nngp")) kernel.kind = InfiniteArchitecture::KernelKind::nngp;
  const std::size_t begin = text.find('(') + 1;
  std::string layers = text.substr(begin, text.size() - 1 - begin);
  layers.insert(std::min(layers.find(','), layers.size()), ",ntk");
  try {
    kernel.architecture = parse_layered_architecture(layers);
    check_limit(kernel.architecture.layers, Values::data);
  } catch (const InputError& error) {
    throw InputError(fmt::format("kernel '{}': {}", text, error.what()));
  }
  return kernel;
}

std::string to_string(const LayeredKernel& kernel) {
  std::string layers = to_string(kernel.architecture);
  if (const std::size_t option = layers.find(",ntk"); option != std::string::npos) layers.erase(option, 4);
  return fmt::format("{}({})", kernel.kind == InfiniteArchitecture::KernelKind::ntk ? "ntk" : "nngp", layers);
}

Matrix kernel_gram(const LayeredKernel& kernel, ConstBlock X) {
  check_rows(kernel, X);
  const LayeredRecursion recursion(kernel, X.cols());
  const auto marginals = recursion.marginals(X);
  const Index n = X.rows(), side = tile_side(recursion), blocks = (n + side - 1) / side;
  Matrix gram(n, n);
  parallel_for(blocks * (blocks + 1) / 2, 1, [&](Index number, Index) {
    // Tile (I, J), J <= I, counted row by row.
    auto I = static_cast<Index>((std::sqrt(8.0 * static_cast<double>(number) + 1.0) - 1.0) / 2.0);
    while (I * (I + 1) / 2 > number) --I;
    while ((I + 1) * (I + 2) / 2 <= number) ++I;
    const Index J = number - I * (I + 1) / 2;
    const Index row = I * side, column = J * side;
    const Index rows = std::min(side, n - row), columns = std::min(side, n - column);
    const Matrix tile = recursion.tile(X, marginals, row, rows, X, marginals, column, columns);
    for (Index j = 0; j < columns; ++j)
      for (Index i = I == J ? j + 1 : 0; i < rows; ++i)
        gram(row + i, column + j) = gram(column + j, row + i) = tile(i, j);
  });
  gram.diagonal() = marginals.kernel;
  return gram;
}

Matrix kernel_cross(const LayeredKernel& kernel, ConstBlock X_new, ConstBlock X) {
  if (X_new.cols() != X.cols())
    throw InputError(
        fmt::format("the new features have {} columns: the first have {}", X_new.cols(), X.cols()));
  check_rows(kernel, X_new);
  check_rows(kernel, X);
  const LayeredRecursion recursion(kernel, X.cols());
  const auto of_new = recursion.marginals(X_new), of_old = recursion.marginals(X);
  const Index side = tile_side(recursion), across = (X.rows() + side - 1) / side;
  Matrix cross(X_new.rows(), X.rows());
  parallel_for((X_new.rows() + side - 1) / side * across, 1, [&](Index number, Index) {
    const Index row = number / across * side, column = number % across * side;
    const Index rows = std::min(side, X_new.rows() - row), columns = std::min(side, X.rows() - column);
    cross.block(row, column, rows, columns) =
        recursion.tile(X_new, of_new, row, rows, X, of_old, column, columns);
  });
  return cross;
}

Vector kernel_diagonal(const LayeredKernel& kernel, ConstBlock X) {
  check_rows(kernel, X);
  return LayeredRecursion(kernel, X.cols()).marginals(X).kernel;
}

namespace {

double layers_flops(const std::vector<Layer>& layers, TensorShape& shape, bool pairs) {
  constexpr double dual_flops = 60.0;  // as in a kernel of dense networks
  double flops = 0.0;
  for (const Layer& layer : layers) {
    shape = output_shape(layer, shape);
    const auto places = static_cast<double>(shape.positions());
    const double each = pairs ? places * places : places;
    const auto size = static_cast<double>(layer.size);
    if (layer.kind == LayerKind::activation) flops += dual_flops * each;
    if (layer.kind == LayerKind::conv1d) flops += 2.0 * size * each;
    if (layer.kind == LayerKind::conv2d) flops += 2.0 * size * size * each;
    flops += 4.0 * each + layers_flops(layer.inner, shape, pairs);
  }
  return flops;
}

bool pools(const LayeredKernel& kernel) {
  return std::ranges::any_of(kernel.architecture.layers,
                             [](const Layer& layer) { return layer.kind == LayerKind::average_pool; });
}

}  // namespace

double entry_flops(const LayeredKernel& kernel, Index inputs) {
  TensorShape shape = kernel.architecture.input_shape(inputs);
  const double places = static_cast<double>(shape.positions()) * (pools(kernel) ? 1.0 : 0.0);
  return 2.0 * static_cast<double>(inputs) * std::max(1.0, places) +
         layers_flops(kernel.architecture.layers, shape, pools(kernel));
}

double working_bytes(const LayeredKernel& kernel, Index inputs, Index n) {
  const auto entries = static_cast<double>(LayeredRecursion(kernel, inputs).entries_per_pair());
  const auto layers = static_cast<double>(kernel.architecture.layers.size());
  return 8.0 * static_cast<double>(threads()) * 4.0 * std::max(entries_of_tile, entries) +
         8.0 * static_cast<double>(n) * layers * (pools(kernel) ? std::sqrt(entries) : entries);
}

std::string describe(const LayeredKernel& kernel) {
  LayeredArchitecture layers = kernel.architecture;
  layers.parameterization = Parameterization::standard;  // whose text has no variances
  return fmt::format("infinite-width {} of {}, sw2 = {}, sb2 = {}",
                     kernel.kind == InfiniteArchitecture::KernelKind::ntk ? "NTK" : "NNGP", to_string(layers),
                     kernel.architecture.sw2, kernel.architecture.bias ? kernel.architecture.sb2 : 0.0);
}

std::unique_ptr<DenseOperator> make_operator(const LayeredKernel& kernel, ConstBlock X) {
  Matrix theta = kernel_gram(kernel, X);
  if (theta.rows() > 0) theta /= static_cast<double>(theta.rows());
  return std::make_unique<DenseOperator>(std::move(theta), describe(kernel));
}

}  // namespace gradflow
