#include "gradflow/operators/kernel_operator.h"

#include <algorithm>
#include <cmath>
#include <type_traits>
#include <utility>
#include <variant>

#include "gradflow/base/error.h"
#include "gradflow/base/parallel.h"
#include "gradflow/operators/make_operator.h"
#include "operators/kernel_terms.h"

namespace gradflow {
namespace {

/// Number of the tile (I, J), J <= I, counted row by row, and of all of them.
Index tile_number(Index I, Index J) { return I * (I + 1) / 2 + J; }
double tile_count(Index n) {
  const double blocks = static_cast<double>(tile_blocks(n));
  return 0.5 * blocks * (blocks + 1.0);
}

/// Tiles that were evaluated before: the lower triangle of tiles, one after another.
template <typename Entry>
class StoredTiles {
 public:
  template <typename Real>
  explicit StoredTiles(const EvaluatedTiles<Real>& evaluated)
      : entries_(static_cast<std::size_t>(tile_number(evaluated.blocks(), 0)) *
                 static_cast<std::size_t>(tile_entries)) {
    parallel_for(evaluated.blocks(), 1, [&](Index block, Index) {
      const Index I = evaluated.blocks() - 1 - block;  // the longest rows first
      alignas(64) Real tile[tile_entries];
      for (Index J = 0; J <= I; ++J) {
        evaluated.evaluate(I, J, tile);
        std::copy_n(tile, tile_entries, entries_.data() + tile_number(I, J) * tile_entries);
      }
    });
  }
  const Entry* tile(Index I, Index J) const { return entries_.data() + tile_number(I, J) * tile_entries; }
  double entry(Index i, Index j) const {
    if (i < j) std::swap(i, j);
    return static_cast<double>(tile(i / tile_size, j / tile_size)[j % tile_size * tile_size + i % tile_size]);
  }

 private:
  AlignedArray<Entry> entries_;
};

void check_rows(ConstBlock X) {
  require(X.rows() >= 1, "rows of a training operator", X.rows(), "it needs at least one");
  require(X.cols() >= 1, "number of features", X.cols(), "a kernel needs at least one");
  for (Index j = 0; j < X.cols(); ++j)
    for (Index i = 0; i < X.rows(); ++i)
      if (!std::isfinite(X(i, j)))
        throw InputError(fmt::format("features have the value {} in row {}, column {}: all must be finite",
                                     X(i, j), i + 1, j + 1));
}

}  // namespace

struct KernelOperator::Tiles {
  std::variant<EvaluatedTiles<double>, EvaluatedTiles<float>, StoredTiles<double>, StoredTiles<float>> tiles;

  template <typename Any>
  explicit Tiles(Any&& any) : tiles(std::forward<Any>(any)) {}

  /// The tiles and the diagonal of Theta.
  template <typename Real>
  static std::unique_ptr<const Tiles> make(const KernelSum& kernel, ConstBlock X, KernelStorage storage,
                                           Vector& diagonal) {
    EvaluatedTiles<Real> evaluated(kernel, X);
    diagonal = evaluated.diagonal().head(X.rows());
    constexpr double most_entry = 1e30;
    if (std::is_same_v<Real, float> || storage == KernelStorage::float32)
      require(diagonal.maxCoeff() <= most_entry, "largest entry of a kernel", diagonal.maxCoeff(),
              "is too large for float32: use float64, or scale the features");
    switch (storage) {
      case KernelStorage::float32: return std::make_unique<const Tiles>(StoredTiles<float>(evaluated));
      case KernelStorage::float64: return std::make_unique<const Tiles>(StoredTiles<double>(evaluated));
      case KernelStorage::none: break;
    }
    return std::make_unique<const Tiles>(std::move(evaluated));
  }

  /// use(entries of the tile (I, J)), J <= I; an evaluated tile lives on the stack.
  template <typename Use>
  void with_tile(Index I, Index J, const Use& use) const {
    std::visit([&](const auto& any) { with_tile(any, I, J, use); }, tiles);
  }
  template <typename Real, typename Use>
  static void with_tile(const EvaluatedTiles<Real>& evaluated, Index I, Index J, const Use& use) {
    alignas(64) Real tile[tile_entries];
    evaluated.evaluate(I, J, tile);
    use(static_cast<const Real*>(tile));
  }
  template <typename Entry, typename Use>
  static void with_tile(const StoredTiles<Entry>& stored, Index I, Index J, const Use& use) {
    use(stored.tile(I, J));
  }
};

KernelOperator::KernelOperator(const KernelSum& kernel, ConstBlock X, const KernelOptions& options)
    : kernel_(kernel) {
  check_rows(X);
  kernel.check(X.cols());
  if (options.storage == KernelStorage::none) X_ = X;
  tiles_ = options.precision == Precision::float32
               ? Tiles::make<float>(kernel, X, options.storage, diagonal_)
               : Tiles::make<double>(kernel, X, options.storage, diagonal_);
}

KernelOperator::~KernelOperator() = default;

std::string KernelOperator::description() const { return describe(kernel_); }

double KernelOperator::storage_bytes(Index n, KernelStorage storage) {
  const double bytes = storage == KernelStorage::none ? 0.0 : storage == KernelStorage::float32 ? 4.0 : 8.0;
  return bytes * tile_count(n) * static_cast<double>(tile_entries);
}

double KernelOperator::working_bytes(const KernelSum& kernel, Index n, Index d, Index columns) {
  constexpr double most_coefficients = 2.0 * 1025.0;
  const double rows = static_cast<double>(tile_blocks(n) * tile_size);
  // X as given and padded; T, K_0 and two copies of the diagonal; V and Y padded
  double numbers = 2.0 * static_cast<double>(d) + 4.0 + 2.0 * static_cast<double>(columns);
  for (const KernelTerm& term : kernel.terms) {
    numbers += static_cast<double>(d);  // in slivers
    if (term.kind != KernelTerm::Kind::network) continue;
    // The variance twice and three numbers; tanh's coefficients, of one layer in float64 beside the others
    const double depth = static_cast<double>(term.network.depth);
    const bool series = term.network.activation.kind == ActivationKind::tanh && depth > 0.0;
    numbers += 5.0 * depth + (series ? most_coefficients * (depth + 1.0) : 0.0);
  }
  return 8.0 * rows * numbers;
}

void KernelOperator::do_apply(ConstBlock X, Block Y) const {
  // An odd number of blocks to a column: else its neighbours would share their places in the nearest cache.
  const Index n = size(), blocks = tile_blocks(n), rows = (blocks | 1) * tile_size, columns = X.cols();
  // Aligned, as the vectors that multiply_tile loads would else straddle two lines of the cache.
  const auto entries = static_cast<std::size_t>(rows * columns);
  const AlignedArray<double> v_entries(entries), sum_entries(entries);
  Eigen::Map<Matrix> V(v_entries.data(), rows, columns), sums(sum_entries.data(), rows, columns);
  V.bottomRows(rows - n).setZero();
  sums.setZero();
  V.topRows(n) = X;
  for_each_tile(blocks, [&](Index I, Index J) {
    const TileOperands operands{V.data() + I * tile_size,
                                V.data() + J * tile_size,
                                sums.data() + I * tile_size,
                                sums.data() + J * tile_size,
                                columns,
                                rows};
    tiles_->with_tile(I, J, [&](const auto* tile) { multiply_tile(tile, I == J, operands); });
  });
  Y = sums.topRows(n) / static_cast<double>(n);
}

Vector KernelOperator::do_diagonal() const { return diagonal_ / static_cast<double>(size()); }

double KernelOperator::do_squared_norm() const {
  const Index n = size(), blocks = tile_blocks(n);
  Vector sums(blocks);
  parallel_for(blocks, 1, [&](Index I, Index) {
    double sum = 0.0;
    for (Index J = 0; J <= I; ++J)
      tiles_->with_tile(I, J, [&](const auto* tile) {
        const Index rows = std::min(tile_size, n - I * tile_size),
                    cols = std::min(tile_size, n - J * tile_size);
        double square = 0.0;
        for (Index j = 0; j < cols; ++j)
          for (Index i = 0; i < rows; ++i) {
            const auto entry = static_cast<double>(tile[j * tile_size + i]);
            square += entry * entry;
          }
        sum += I == J ? square : 2.0 * square;
      });
    sums(I) = sum;
  });
  return sums.sum() / (static_cast<double>(n) * static_cast<double>(n));
}

Matrix KernelOperator::do_matrix() const {
  const Index n = size();
  Matrix H(n, n);
  for_each_tile(tile_blocks(n), [&](Index I, Index J) {
    tiles_->with_tile(I, J, [&](const auto* tile) { store_tile(tile, I, J, static_cast<double>(n), H); });
  });
  return H;
}

Matrix KernelOperator::do_entries(const std::vector<Index>& rows, const std::vector<Index>& cols) const {
  Matrix picked(static_cast<Index>(rows.size()), static_cast<Index>(cols.size()));
  if (picked.size() == 0) return picked;
  const auto gather = [&](const auto& entry) {
    parallel_for(picked.cols(), 64, [&](Index begin, Index end) {
      for (Index j = begin; j < end; ++j)
        for (Index i = 0; i < picked.rows(); ++i)
          picked(i, j) = entry(rows[static_cast<std::size_t>(i)], cols[static_cast<std::size_t>(j)]);
    });
  };
  if (const auto* stored = std::get_if<StoredTiles<float>>(&tiles_->tiles))
    gather([&](Index i, Index j) { return stored->entry(i, j); });
  else if (const auto* exact = std::get_if<StoredTiles<double>>(&tiles_->tiles))
    gather([&](Index i, Index j) { return exact->entry(i, j); });
  else {
    picked = kernel_cross(kernel_, X_(rows, Eigen::all), X_(cols, Eigen::all));
    for (Index j = 0; j < picked.cols(); ++j)
      for (Index i = 0; i < picked.rows(); ++i)
        if (rows[static_cast<std::size_t>(i)] == cols[static_cast<std::size_t>(j)])
          picked(i, j) = diagonal_[rows[static_cast<std::size_t>(i)]];
  }
  return picked / static_cast<double>(size());
}

}  // namespace gradflow
