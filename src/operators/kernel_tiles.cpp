#include "operators/kernel_tiles.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <thread>
#include <type_traits>
#include <vector>

#include "gradflow/base/parallel.h"
#include "operators/kernel_lanes.h"

namespace gradflow {
namespace {

constexpr Index sliver = 16;  // rows of X whose values of one feature lie side by side

template <typename Number, int bytes>
struct VectorOf {
  typedef Number type __attribute__((vector_size(bytes)));
};

enum class PairSum { products, squared_differences };

/// tile <- scale times the sums over features of x y or (x - y)^2, x in the rows of I and y in those of J,
/// each tile_size x d in slivers. Blocks of 2 vectors x `columns` sums stay in registers, `depth` features of
/// their operands in the nearest cache.
template <int bytes, PairSum what, typename Real>
[[gnu::always_inline]] inline void sum_pairs(const Real* rows_I, const Real* rows_J, Index features,
                                             Real scale, Real* tile) {
  using Lanes = typename VectorOf<Real, bytes>::type;
  constexpr Index width = bytes / static_cast<Index>(sizeof(Real)), columns = bytes == 64 ? 8 : 4;
  constexpr Index depth = 128;
  const auto at = [features](Index row, Index feature) __attribute__((always_inline)) {
    return row / sliver * sliver * features + feature * sliver + row % sliver;
  };
  for (Index begin = 0; begin < features; begin += depth) {
    const Index count = std::min(depth, features - begin);
    for (Index i = 0; i < tile_size; i += 2 * width)
      for (Index j = 0; j < tile_size; j += columns) {
        const Real *upper = rows_I + at(i, begin), *lower = rows_I + at(i + width, begin);
        const Real* other = rows_J + at(j, begin);
        Lanes upper_sums[columns] = {}, lower_sums[columns] = {};
        for (Index k = 0; k < count; ++k, upper += sliver, lower += sliver, other += sliver) {
          Lanes a, b;
          std::memcpy(&a, upper, bytes);
          std::memcpy(&b, lower, bytes);
          for (Index c = 0; c < columns; ++c) {
            if constexpr (what == PairSum::products) {
              upper_sums[c] += a * other[c];
              lower_sums[c] += b * other[c];
            } else {
              const Lanes above = a - other[c], below = b - other[c];
              upper_sums[c] += above * above;
              lower_sums[c] += below * below;
            }
          }
        }
        for (Index c = 0; c < columns; ++c) {
          Real* const entries = tile + (j + c) * tile_size + i;
          Lanes a = {}, b = {};
          if (begin > 0) {
            std::memcpy(&a, entries, bytes);
            std::memcpy(&b, entries + width, bytes);
          }
          a += scale * upper_sums[c];
          b += scale * lower_sums[c];
          std::memcpy(entries, &a, bytes);
          std::memcpy(entries + width, &b, bytes);
        }
      }
  }
}

template <int bytes>
[[gnu::always_inline]] inline double sum_of(const typename VectorOf<double, bytes>::type& lanes) {
  if constexpr (bytes == 16) {
    return lanes[0] + lanes[1];
  } else {
    typename VectorOf<double, bytes / 2>::type low, high;
    std::memcpy(&low, &lanes, bytes / 2);
    std::memcpy(&high, reinterpret_cast<const char*>(&lanes) + bytes / 2, bytes / 2);
    return sum_of<bytes / 2>(low + high);
  }
}

/// For `columns` columns of a tile, j and following, and `width` columns of V, b and following: y_I += panel
/// v_J and, with both, y_J += panel' v_I. Every entry that is loaded is used 2 width times. With `ahead` the
/// entries some columns on are fetched into the cache meanwhile.
template <int bytes, bool both, Index columns, Index width, bool ahead>
[[gnu::always_inline]] inline void multiply_panel(const double* panel, Index j, Index b,
                                                  const TileOperands& operands) {
  using Lanes = typename VectorOf<double, bytes>::type;
  constexpr Index lanes = bytes / static_cast<Index>(sizeof(double));
  constexpr Index reach = 2 * columns;
  constexpr Index chains = width == 1 ? 2 : 1;  // of dependent sums, for each column of V
  const Index shift = b * operands.stride;
  const double *const v_I = operands.v_I + shift, *const v_J = operands.v_J + shift + j;
  double *const y_I = operands.y_I + shift, *const y_J = operands.y_J + shift + j;
  double factors[columns][width];
  Lanes sums[columns][width] = {};
  for (Index c = 0; c < columns; ++c)
    for (Index k = 0; k < width; ++k) factors[c][k] = v_J[k * operands.stride + c];
  for (Index i = 0; i < tile_size; i += lanes) {
    Lanes y[width][chains] = {}, v[width];
    for (Index k = 0; k < width; ++k) {
      std::memcpy(&y[k][0], y_I + k * operands.stride + i, bytes);
      std::memcpy(&v[k], v_I + k * operands.stride + i, bytes);
    }
    for (Index c = 0; c < columns; ++c) {
      Lanes entries;
      std::memcpy(&entries, panel + c * tile_size + i, bytes);
      if constexpr (ahead) __builtin_prefetch(panel + (c + reach) * tile_size + i);
      for (Index k = 0; k < width; ++k) {
        y[k][c % chains] += entries * factors[c][k];
        if constexpr (both) sums[c][k] += entries * v[k];
      }
    }
    for (Index k = 0; k < width; ++k) {
      for (Index chain = 1; chain < chains; ++chain) y[k][0] += y[k][chain];
      std::memcpy(y_I + k * operands.stride + i, &y[k][0], bytes);
    }
  }
  if constexpr (both)
    for (Index k = 0; k < width; ++k)
      for (Index c = 0; c < columns; ++c) y_J[k * operands.stride + c] += sum_of<bytes>(sums[c][k]);
}

template <int bytes, bool both, typename Entry>
[[gnu::always_inline]] inline void multiply_panels(const Entry* tile, const TileOperands& operands) {
  // As many sums as leave registers for their operands: 4 x 4 of 32, 2 x 2 of 16.
  constexpr Index columns = bytes == 64 ? 8 : 4, width = columns / 2;
  constexpr bool in_place = std::is_same_v<Entry, double>;
  alignas(64) double converted[columns * tile_size];
  for (Index j = 0; j < tile_size; j += columns) {
    const Entry* const entries = tile + j * tile_size;
    const double* panel;
    if constexpr (in_place) {
      panel = entries;
    } else {
      for (Index i = 0; i < columns * tile_size; ++i) converted[i] = static_cast<double>(entries[i]);
      panel = converted;
    }
    Index b = 0;
    for (; b + width <= operands.columns; b += width)
      for (Index half = 0; half < columns; half += width)
        multiply_panel<bytes, both, width, width, in_place>(panel + half * tile_size, j + half, b, operands);
    for (; b < operands.columns; ++b)
      multiply_panel<bytes, both, columns, 1, in_place>(panel, j, b, operands);
  }
}

}  // namespace

template <typename Real>
SliverRows<Real>::SliverRows(ConstBlock padded)
    : features_(padded.cols()),
      blocks_(padded.rows() / tile_size),
      rows_(static_cast<std::size_t>(padded.size())) {
  for (Index i = 0; i < padded.rows(); ++i)
    for (Index k = 0; k < features_; ++k)
      rows_.data()[i / sliver * sliver * features_ + k * sliver + i % sliver] =
          static_cast<Real>(padded(i, k));
}

template class SliverRows<double>;
template class SliverRows<float>;

template <typename Real>
void multiply_rows(const SliverRows<Real>& rows, Index I, const SliverRows<Real>& columns, Index J,
                   Real scale, Real* tile) {
  lanes::dispatch([&](auto bytes) __attribute__((always_inline)) {
    sum_pairs<decltype(bytes)::value, PairSum::products>(rows.block(I), columns.block(J), rows.features(),
                                                         scale, tile);
  });
}

template <typename Real>
void squared_distances(const SliverRows<Real>& rows, Index I, const SliverRows<Real>& columns, Index J,
                       Real scale, Real* tile) {
  lanes::dispatch([&](auto bytes) __attribute__((always_inline)) {
    sum_pairs<decltype(bytes)::value, PairSum::squared_differences>(rows.block(I), columns.block(J),
                                                                    rows.features(), scale, tile);
  });
}

template void multiply_rows(const SliverRows<double>&, Index, const SliverRows<double>&, Index, double,
                            double*);
template void multiply_rows(const SliverRows<float>&, Index, const SliverRows<float>&, Index, float, float*);
template void squared_distances(const SliverRows<double>&, Index, const SliverRows<double>&, Index, double,
                                double*);
template void squared_distances(const SliverRows<float>&, Index, const SliverRows<float>&, Index, float,
                                float*);

template <typename Entry>
void multiply_tile(const Entry* tile, bool on_diagonal, const TileOperands& operands) {
  lanes::dispatch([&](auto bytes) __attribute__((always_inline)) {
    if (on_diagonal)
      multiply_panels<decltype(bytes)::value, false>(tile, operands);
    else
      multiply_panels<decltype(bytes)::value, true>(tile, operands);
  });
}

template void multiply_tile(const double*, bool, const TileOperands&);
template void multiply_tile(const float*, bool, const TileOperands&);

template <typename Entry>
void store_tile(const Entry* tile, Index I, Index J, double divisor, Matrix& matrix) {
  const Index n = matrix.rows(), i0 = I * tile_size, j0 = J * tile_size;
  const Index i1 = std::min(n, i0 + tile_size), j1 = std::min(n, j0 + tile_size);
  for (Index j = j0; j < j1; ++j)
    for (Index i = std::max(i0, j); i < i1; ++i)
      matrix(i, j) = static_cast<double>(tile[(j - j0) * tile_size + i - i0]) / divisor;
  for (Index i = i0; i < i1; ++i)
    for (Index j = j0; j < std::min(i, j1); ++j) matrix(j, i) = matrix(i, j);
}

template void store_tile(const double*, Index, Index, double, Matrix&);
template void store_tile(const float*, Index, Index, double, Matrix&);

void for_each_tile(Index blocks, const std::function<void(Index, Index)>& visit) {
  const Index most = blocks / 2 + 1;                                         // tiles in a round, or one less
  std::vector<std::atomic<Index>> rounds(static_cast<std::size_t>(blocks));  // done, of each block row
  std::atomic<Index> next{0};
  std::atomic<bool> failed{false};
  const auto wait_for = [&](Index block, Index round) {
    while (rounds[static_cast<std::size_t>(block)].load(std::memory_order_acquire) < round && !failed)
      std::this_thread::yield();
  };
  // Whatever order parallel_for has, tiles are claimed in order: a tile waits only for tiles claimed before
  // it.
  parallel_for(blocks * most, 1, [&](Index, Index) {
    const Index claimed = next++, round = claimed / most, step = claimed % most;
    // I + J = round from the middle outwards, then I + J = round + blocks
    const bool low = step <= round / 2;
    const Index J = low ? round / 2 - step : (round + blocks) / 2 - (step - round / 2 - 1);
    const Index I = (low ? round : round + blocks) - J;
    if (!low && J <= round) return;
    wait_for(I, round);
    wait_for(J, round);
    if (failed) return;
    try {
      visit(std::max(I, J), std::min(I, J));
    } catch (...) {
      failed = true;
      throw;
    }
    for (const Index block : {I, J})
      rounds[static_cast<std::size_t>(block)].store(round + 1, std::memory_order_release);
  });
}

}  // namespace gradflow
