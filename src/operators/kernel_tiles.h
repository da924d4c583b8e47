#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <new>

#include "gradflow/base/types.h"

namespace gradflow {

/// Rows and columns of a tile; matrices of tiles are padded to a multiple of it by rows of zeros.
constexpr Index tile_size = 128;
constexpr Index tile_entries = tile_size * tile_size;
constexpr Index tile_blocks(Index n) { return (n + tile_size - 1) / tile_size; }

/// Uninitialised numbers that begin on a 64-byte boundary. Throws std::bad_alloc.
template <typename Number>
class AlignedArray {
 public:
  explicit AlignedArray(std::size_t count)
      : numbers_(static_cast<Number*>(::operator new(bytes(count), alignment))) {}
  Number* data() const noexcept { return numbers_.get(); }

 private:
  static constexpr std::align_val_t alignment{64};
  static std::size_t bytes(std::size_t count) {
    if (count > static_cast<std::size_t>(PTRDIFF_MAX) / sizeof(Number)) throw std::bad_alloc();
    return count * sizeof(Number);
  }
  struct Free {
    void operator()(Number* numbers) const noexcept { ::operator delete(numbers, alignment); }
  };
  std::unique_ptr<Number, Free> numbers_;
};

/// Rows for products of tiles: in slivers of 16 rows, each 16 x features, column-major.
template <typename Real>
class SliverRows {
 public:
  explicit SliverRows(ConstBlock padded);  ///< whole tiles of rows
  Index blocks() const noexcept { return blocks_; }
  Index features() const noexcept { return features_; }
  const Real* block(Index I) const noexcept { return rows_.data() + I * tile_size * features_; }

 private:
  Index features_, blocks_;
  AlignedArray<Real> rows_;
};

/// tile(i, j) <- scale x_i.x_j, or scale |x_i - x_j|^2 as a sum of squared differences (exactly 0 for equal
/// rows), x_i in block I of `rows` and x_j in block J of `columns`; column-major, 64-byte aligned, in Real.
/// The same tile, transposed, for the blocks exchanged. Cost 128^2 features multiply-adds (and subtractions).
template <typename Real>
void multiply_rows(const SliverRows<Real>& rows, Index I, const SliverRows<Real>& columns, Index J,
                   Real scale, Real* tile);
template <typename Real>
void squared_distances(const SliverRows<Real>& rows, Index I, const SliverRows<Real>& columns, Index J,
                       Real scale, Real* tile);

/// y_I <- y_I + tile v_J and, unless the tile is on the diagonal, y_J <- y_J + tile' v_I, for `columns`
/// columns of V and Y whose columns lie `stride` apart (v_I points to row I tile_size of V). The tile is read
/// once. Sums in float64. Cost 4 columns 128^2 flops.
struct TileOperands {
  const double *v_I, *v_J;
  double *y_I, *y_J;
  Index columns, stride;
};
template <typename Entry>
void multiply_tile(const Entry* tile, bool on_diagonal, const TileOperands& operands);

/// matrix(i, j), matrix(j, i) <- entry / divisor for the entries of tile (I, J), J <= I, below the diagonal
/// of the n x n matrix; those beyond the last row are left out.
template <typename Entry>
void store_tile(const Entry* tile, Index I, Index J, double divisor, Matrix& matrix);

/// Calls visit(I, J), J <= I, once for every tile of the lower triangle, on all threads, so that visits to
/// one block row never overlap and have one order: round r = 0, 1, ..., blocks - 1 holds the tiles with I + J
/// = r modulo `blocks`, where each block row occurs once. After a visit that throws no further one begins,
/// and the exception is rethrown.
void for_each_tile(Index blocks, const std::function<void(Index I, Index J)>& visit);

}  // namespace gradflow
