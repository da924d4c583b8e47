#pragma once

#include <map>
#include <vector>

#include "gradflow/operators/operator_family.h"

namespace gradflow {

/// A weakly informative prior on one parameter p of a search:
///
///     flat          none
///     normal        N(location, scale^2)
///     exchangeable  p = location + m + scale t_3, with m common to all parameters of the group and exp(m)
///                   half-Cauchy
///
/// The last is for the logarithms of relevances. How far features differ in relevance is not known, but most
/// will not differ much, and a few may by orders of magnitude: Student's t with 3 degrees of freedom draws
/// what the data say little about to the others, and leaves what they say clearly almost where it is. To
/// switch all features off together (m -> -infinity) costs nothing, to switch them all on by a factor r costs
/// about 4 log r.
struct ParameterPrior {
  enum class Kind { flat, normal, exchangeable };

  Kind kind = Kind::flat;
  double location = 0.0;
  double scale = 1.0;
  int group = 0;  ///< exchangeable only

  static ParameterPrior normal(double mean, double sd) { return {Kind::normal, mean, sd}; }
  static ParameterPrior exchangeable(double location, double scale, int group = 0) {
    return {Kind::exchangeable, location, scale, group};
  }
};

/// Scale of the t prior of log relevances that default_priors() sets.
constexpr double relevance_scale = 1.0;

/// The priors of all parameters of a search, as a penalty on minus twice the log-likelihood:
///
///     sum_normal (p - location)^2 / scale^2  +  sum_groups min_m f(m),
///     f(m) = 2 log(1 + exp(2 m)) + sum_k 4 log(1 + (p_k - location_k - m)^2 / (3 scale_k^2))
///
/// At least 0; for groups that is reached as m falls. The minimum over m is sought from up to 32 of the
/// group's own values by reweighting. The penalty is continuous; its slope jumps only where two m are equally
/// good. Cost: at most some 50,000 flops for each parameter of a group.
class Prior {
 public:
  Prior() = default;
  explicit Prior(const std::vector<ParameterPrior>& parameters);

  void add(const ParameterPrior& prior);
  Index size() const noexcept { return static_cast<Index>(parameters_.size()); }
  const ParameterPrior& of(Index k) const { return parameters_[static_cast<std::size_t>(k)]; }

  struct Value {
    double penalty = 0.0;
    Vector slope{};  ///< d penalty/dp
  };
  /// Of as many parameters as there are priors: InputError for another number.
  Value at(const Vector& p) const;

 private:
  double common_shift(const Vector& p, const std::vector<Index>& group) const;  // m

  std::vector<ParameterPrior> parameters_;
  std::map<int, std::vector<Index>> groups_;  // of the exchangeable ones
};

/// For parameters whose name holds the word "relevance" exchangeable around the family's own start, those of
/// one term ("TERM.relevance:FEATURE") in one group; for the others a normal around that start with sd 2, a
/// factor of 7 either way.
Prior default_priors(const OperatorFamily& family);

}  // namespace gradflow
