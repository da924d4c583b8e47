#include "gradflow/inference/left_out.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>

#include "gradflow/base/error.h"
#include "gradflow/base/random.h"

namespace gradflow {

double LeftOutErrors::root_mean_square() const {
  return known() ? std::sqrt(sizes.squaredNorm() / static_cast<double>(sizes.size()))
                 : std::numeric_limits<double>::quiet_NaN();
}

double LeftOutErrors::widening() const { return known() ? std::max(1.0, root_mean_square()) : 1.0; }

double LeftOutErrors::quantile(double level) const {
  require(level > 0.0 && level < 1.0, "level of an interval", level, "must be between 0 and 1");
  require(known(), "number of left-out errors", sizes.size(), "must be at least 1");
  const auto n = static_cast<double>(sizes.size());
  const double k = std::ceil(level * (n + 1.0) - 1e-9);  // 0.95 (n + 1) may be an integer but for rounding
  if (k > n) return std::numeric_limits<double>::infinity();
  return sizes(std::max<Index>(1, static_cast<Index>(k)) - 1);
}

std::vector<Index> assign_folds(const std::vector<Index>& group, int folds, std::uint64_t seed) {
  require(folds >= 2, "number of folds", folds, "must be >= 2");
  std::map<Index, std::vector<Index>> members;
  for (std::size_t row = 0; row < group.size(); ++row) members[group[row]].push_back(static_cast<Index>(row));
  const auto groups = static_cast<Index>(members.size());
  if (groups < folds)
    throw InputError(
        fmt::format("{} folds of {} rows that differ: there must be as many rows as folds", folds, groups));
  std::vector<const std::vector<Index>*> order;
  for (const auto& [name, rows] : members) order.push_back(&rows);
  std::vector<Index> fold(group.size());
  std::vector<std::size_t> sizes(static_cast<std::size_t>(folds), 0);
  for (const Index next : RandomStream(seed, "folds").permutation(groups)) {
    const std::vector<Index>& rows = *order[static_cast<std::size_t>(next)];
    const auto smallest = std::min_element(sizes.begin(), sizes.end());
    for (const Index row : rows) fold[static_cast<std::size_t>(row)] = smallest - sizes.begin();
    *smallest += rows.size();
  }
  return fold;
}

LeftOut leave_folds_out(const std::vector<Index>& fold, const HeldOutFit& fit) {
  LeftOut out;
  int& folds = out.errors.folds;
  for (const Index each : fold) folds = std::max(folds, static_cast<int>(each) + 1);
  std::vector<double> sizes;
  for (int k = 0; k < folds; ++k) {
    std::vector<Index> kept, held;
    for (std::size_t row = 0; row < fold.size(); ++row)
      (fold[row] == k ? held : kept).push_back(static_cast<Index>(row));
    const Vector z = fit(k, kept, held);
    require(z.size() == static_cast<Index>(held.size()), "left-out errors of a fold", z.size(),
            "must be as many as its rows");
    for (const double each : z) {
      if (std::isnan(each)) ++out.without;
      if (std::isinf(each)) ++out.infinite;
      if (std::isfinite(each)) sizes.push_back(std::abs(each));
    }
  }
  std::sort(sizes.begin(), sizes.end());
  if (!sizes.empty()) {
    const double largest = sizes.back();
    sizes.insert(sizes.end(), static_cast<std::size_t>(out.infinite), largest);
  }
  out.errors.sizes = Eigen::Map<const Vector>(sizes.data(), static_cast<Index>(sizes.size()));
  return out;
}

}  // namespace gradflow
