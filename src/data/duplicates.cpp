#include "data/duplicates.h"

#include <algorithm>
#include <bit>
#include <cstdint>
#include <unordered_map>

namespace gradflow {
namespace {

// One round of the splitmix64 finaliser. Source: Steele, Lea, Flood (2014).
std::uint64_t mixed(std::uint64_t x) {
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
  return x ^ (x >> 31);
}

std::vector<std::uint64_t> row_hashes(const std::vector<ConstBlock>& blocks, Index rows) {
  std::vector<std::uint64_t> hashes(static_cast<std::size_t>(rows), 0x9e3779b97f4a7c15ULL);
  for (const ConstBlock& block : blocks)
    for (Index col = 0; col < block.cols(); ++col)
      for (Index row = 0; row < rows; ++row) {
        std::uint64_t& hash = hashes[static_cast<std::size_t>(row)];
        // Adding zero makes -0 and 0, which compare equal, the same bits.
        hash = mixed(hash ^ std::bit_cast<std::uint64_t>(block(row, col) + 0.0)) + hash;
      }
  return hashes;
}

}  // namespace

std::vector<Index> first_equal_rows(const std::vector<ConstBlock>& blocks) {
  const Index rows = blocks.empty() ? 0 : blocks.front().rows();
  const std::vector<std::uint64_t> hashes = row_hashes(blocks, rows);
  const auto equal = [&](Index a, Index b) {
    return std::all_of(blocks.begin(), blocks.end(), [&](const ConstBlock& block) {
      return block.cols() == 0 || block.row(a) == block.row(b);
    });
  };
  std::unordered_map<std::uint64_t, std::vector<Index>> first_of;  // rows unlike any earlier one, by hash
  std::vector<Index> first(static_cast<std::size_t>(rows));
  for (Index row = 0; row < rows; ++row) {
    std::vector<Index>& earlier = first_of[hashes[static_cast<std::size_t>(row)]];
    const auto found =
        std::find_if(earlier.begin(), earlier.end(), [&](Index other) { return equal(row, other); });
    first[static_cast<std::size_t>(row)] = found != earlier.end() ? *found : row;
    if (found == earlier.end()) earlier.push_back(row);
  }
  return first;
}

std::vector<Index> repeated_rows(const std::vector<ConstBlock>& blocks) {
  const std::vector<Index> first = first_equal_rows(blocks);
  std::vector<Index> repeated;
  for (std::size_t row = 0; row < first.size(); ++row)
    if (first[row] != static_cast<Index>(row)) repeated.push_back(static_cast<Index>(row));
  return repeated;
}

}  // namespace gradflow
