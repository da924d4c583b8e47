#include "gradflow/base/random.h"

#include <algorithm>
#include <boost/random/normal_distribution.hpp>
#include <boost/random/uniform_01.hpp>
#include <boost/random/uniform_int_distribution.hpp>
#include <numeric>
#include <utility>

namespace gradflow {
namespace {

// FNV-1a over the stream's name, then one splitmix64 round per word: seeds that differ by one bit give
// unrelated states. Sources: Fowler, Noll, Vo (1991); Steele, Lea, Flood (2014).
std::uint64_t mix(std::uint64_t x) {
  x += 0x9e3779b97f4a7c15ULL;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
  return x ^ (x >> 31);
}

std::uint64_t hash_name(std::string_view name) {
  std::uint64_t hash = 0xcbf29ce484222325ULL;
  for (const char c : name) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3ULL;
  return hash;
}

}  // namespace

RandomStream::RandomStream(std::uint64_t seed, std::string_view stream)
    : engine_(mix(seed ^ mix(hash_name(stream)))) {}

double RandomStream::uniform() { return boost::random::uniform_01<double>()(engine_); }

double RandomStream::uniform(double low, double high) { return low + (high - low) * uniform(); }

double RandomStream::normal() { return boost::random::normal_distribution<double>()(engine_); }

double RandomStream::sign() { return (engine_() >> 63) != 0 ? 1.0 : -1.0; }

std::uint64_t RandomStream::below(std::uint64_t bound) {
  return boost::random::uniform_int_distribution<std::uint64_t>(0, bound - 1)(engine_);
}

Vector RandomStream::normals(Index count) {
  Vector draws(count);
  for (double& x : draws) x = normal();
  return draws;
}

Matrix RandomStream::normals(Index rows, Index cols) {
  Matrix draws(rows, cols);
  for (Index j = 0; j < cols; ++j)
    for (Index i = 0; i < rows; ++i) draws(i, j) = normal();
  return draws;
}

std::vector<Index> RandomStream::permutation(Index count) {
  std::vector<Index> order(static_cast<std::size_t>(count));
  std::iota(order.begin(), order.end(), Index{0});
  for (std::size_t i = order.size(); i > 1; --i) std::swap(order[i - 1], order[below(i)]);
  return order;
}

std::vector<Index> RandomStream::sample(Index count, Index most) {
  std::vector<Index> members = permutation(count);
  members.resize(static_cast<std::size_t>(std::min(count, most)));
  std::sort(members.begin(), members.end());
  return members;
}

}  // namespace gradflow
