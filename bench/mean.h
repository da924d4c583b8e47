#pragma once

#include <cmath>
#include <vector>

namespace gradflow::bench {

struct Mean {
  double mean = 0.0, standard_error = 0.0;  ///< 0 of one value: unknown
};

/// Of independent values, at least one.
inline Mean mean_of(const std::vector<double>& values) {
  Mean result;
  const auto n = static_cast<double>(values.size());
  for (const double value : values) result.mean += value / n;
  double square = 0.0;
  for (const double value : values) square += (value - result.mean) * (value - result.mean);
  if (n > 1.0) result.standard_error = std::sqrt(square / (n - 1.0) / n);
  return result;
}

/// Of get(item) over the items.
template <typename Item, typename Get>
Mean mean_of(const std::vector<Item>& items, Get get) {
  std::vector<double> values;
  for (const Item& item : items) values.push_back(get(item));
  return mean_of(values);
}

}  // namespace gradflow::bench
