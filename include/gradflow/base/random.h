#pragma once

#include <boost/random/mersenne_twister.hpp>
#include <cstdint>
#include <string_view>
#include <vector>

#include "gradflow/base/types.h"

namespace gradflow {

/// A reproducible source of random numbers: the same (seed, stream) gives the same bits on every machine,
/// compiler and number of threads (Boost.Random, whose distributions, unlike the standard library's, are
/// specified). Streams with different names are independent draws under one user-visible seed.
class RandomStream {
 public:
  RandomStream(std::uint64_t seed, std::string_view stream);

  double uniform();                          ///< U[0, 1)
  double uniform(double low, double high);   ///< U[low, high)
  double normal();                           ///< N(0, 1)
  double sign();                             ///< -1 or +1, each with probability 1/2
  std::uint64_t below(std::uint64_t bound);  ///< uniform on {0, ..., bound - 1}; bound >= 1

  Vector normals(Index count);
  Matrix normals(Index rows, Index cols);       ///< filled column by column
  std::vector<Index> permutation(Index count);  ///< Fisher-Yates shuffle of 0, ..., count - 1
  /// At most `most` of 0, ..., count - 1, ascending: all where there are no more. Of one stream's first draws
  /// a larger sample holds every smaller one.
  std::vector<Index> sample(Index count, Index most);

 private:
  boost::random::mt19937_64 engine_;
};

}  // namespace gradflow
