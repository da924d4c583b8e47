#include "model/averaged_predictions.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/math/interpolators/cubic_hermite.hpp>
#include <boost/math/tools/toms748_solve.hpp>
#include <cmath>
#include <memory>
#include <utility>

#include "base/special_values.h"
#include "gradflow/base/parallel.h"
#include "model/uncertainty.h"

namespace gradflow {
namespace {

constexpr Index rows_of_a_block = 16;

// F(z) = sum_k w_k T_dof(z / r_k), the same for every row of a member: a table in u = asinh(z / r_1), cubic
// Hermite polynomials between its nodes to some 1e-9, exact beyond its end.
class ShapeCdf {
 public:
  ShapeCdf(const ScaleMixture& shape, double dof)
      : shape_(shape),
        dof_(dof),
        unit_(shape.scales.minCoeff()),
        end_(std::asinh(table_end * shape.scales.maxCoeff() / unit_)) {
    const auto nodes = static_cast<std::size_t>(std::ceil(end_ / table_step)) + 1;
    std::vector<double> values(nodes), slopes(nodes);
    for (std::size_t i = 0; i < nodes; ++i) {
      const double u = static_cast<double>(i) * table_step, z = unit_ * std::sinh(u);
      values[i] = exact(z);
      slopes[i] = shape_.density(z, dof_) * unit_ * std::cosh(u);
    }
    table_ = std::make_shared<Table>(std::move(values), std::move(slopes), 0.0, table_step);
  }

  double operator()(double z) const {
    const double u = std::asinh(std::abs(z) / unit_);
    if (!(u < end_)) return exact(z);
    const double upper = (*table_)(u);
    return z < 0.0 ? 1.0 - upper : upper;
  }

  // With all digits in the tails.
  double share_below(double z) const {
    const double share = (*this)(z);
    return share < tail ? exact(z) : share;
  }

 private:
  using Table = boost::math::interpolators::cardinal_cubic_hermite<std::vector<double>>;
  static constexpr double table_end = 12.0;  // of the largest scale
  static constexpr double table_step = 0.02;
  static constexpr double tail = 1e-4;  // share, below which the table has less than five digits

  double exact(double z) const { return shape_.cdf(z, dof_); }

  ScaleMixture shape_;
  double dof_, unit_, end_;
  std::shared_ptr<const Table> table_;
};

struct Shares {
  double lower, upper;
};

// The distribution of a member's responses.
class MemberDistribution {
 public:
  MemberDistribution(const FittedModel& model, const Predictions& member)
      : transform_(model.transform), member_(member), shape_(member.shape, member.dof) {}

  double cdf(Index row, double y) const {
    const double transformed = transform_.forward(y);
    if (std::isnan(transformed)) return 0.0;  // below all that the transform takes
    return shape_((transformed - member_.location(row)) / member_.scale(row));
  }
  Shares shares(Index row, double y) const {
    const double z = (transform_.forward(y) - member_.location(row)) / member_.scale(row);
    return {shape_.share_below(z), shape_.share_below(-z)};
  }
  Vector quantile(double probability) const {
    const double q = member_.shape.quantile(probability, member_.dof);
    return transform_.inverse(Vector(member_.location + q * member_.scale));
  }

 private:
  const ResponseTransform& transform_;
  const Predictions& member_;
  ShapeCdf shape_;
};

// y with mean cdf = probability, which lies between the least and the largest of the members' own ends.
double mixture_quantile(const std::vector<MemberDistribution>& members, Index row, double probability,
                        double low, double high) {
  if (!std::isfinite(low) || !std::isfinite(high)) return probability < 0.5 ? low : high;
  const auto excess = [&](double y) {
    double sum = 0.0;
    for (const MemberDistribution& member : members) sum += member.cdf(row, y);
    return sum / static_cast<double>(members.size()) - probability;
  };
  const double at_low = excess(low), at_high = excess(high);
  if (!(at_low < 0.0)) return low;
  if (!(at_high > 0.0)) return high;
  std::uintmax_t iterations = 100;
  const auto root = boost::math::tools::toms748_solve(
      excess, low, high, at_low, at_high, boost::math::tools::eps_tolerance<double>(40), iterations);
  return 0.5 * (root.first + root.second);
}

Matrix side_by_side(const std::vector<Predictions>& members, Vector Predictions::*field) {
  Matrix all(members.front().mean.size(), static_cast<Index>(members.size()));
  for (std::size_t k = 0; k < members.size(); ++k) all.col(static_cast<Index>(k)) = members[k].*field;
  return all;
}

const FittedModel& fit_of(const FittedModel& model, std::size_t k) {
  return k == 0 ? model : model.others[k - 1];
}

std::vector<MemberDistribution> distributions_of(const FittedModel& model, const Predictions& out) {
  std::vector<MemberDistribution> distributions;
  for (std::size_t k = 0; k < out.members.size(); ++k)
    distributions.emplace_back(fit_of(model, k), out.members[k]);
  return distributions;
}

Vector mixture_quantiles(const std::vector<MemberDistribution>& members, Index rows, double probability) {
  Matrix of_members(rows, static_cast<Index>(members.size()));
  for (Index k = 0; k < of_members.cols(); ++k)
    of_members.col(k) = members[static_cast<std::size_t>(k)].quantile(probability);
  Vector quantiles = Vector::Constant(rows, not_a_number);
  parallel_for(rows, rows_of_a_block, [&](Index begin, Index end) {
    for (Index i = begin; i < end; ++i)
      if (const auto own = of_members.row(i); !own.hasNaN())
        quantiles(i) = mixture_quantile(members, i, probability, own.minCoeff(), own.maxCoeff());
  });
  return quantiles;
}

void take_mixture_ends(const FittedModel& model, Predictions& out) {
  const std::vector<MemberDistribution> members = distributions_of(model, out);
  const double tail = out.mixture_calibration.mixture_share(0.5 * (1.0 - model.level));
  out.lower = mixture_quantiles(members, out.mean.size(), tail);
  out.upper = mixture_quantiles(members, out.mean.size(), 1.0 - tail);
}

void take_left_out_ends(const FittedModel& model, Predictions& out) {
  const double q = model.left_out.quantile(model.level), count = static_cast<double>(out.members.size());
  out.lower.setZero();
  out.upper.setZero();
  for (std::size_t k = 0; k < out.members.size(); ++k) {
    const ResponseTransform& transform = fit_of(model, k).transform;
    const Predictions& member = out.members[k];
    const Vector half = q / member.widening * member.scale;
    for (Index i = 0; i < half.size(); ++i) {
      out.lower(i) += transform.inverse(member.location(i) - half(i)) / count;
      out.upper(i) += transform.inverse(member.location(i) + half(i)) / count;
    }
  }
}

}  // namespace

Predictions averaged(const FittedModel& model, std::vector<Predictions> members, IntervalKind interval) {
  Predictions out = members.front();
  const Matrix means = side_by_side(members, &Predictions::mean),
               sds = side_by_side(members, &Predictions::sd);
  out.mean = means.rowwise().mean();
  if (interval != IntervalKind::model && out.interval != IntervalKind::none)
    out.mixture_calibration = model.mixture_calibration;
  out.sd = out.mixture_calibration.factor() * (sds.array().square().rowwise().mean() +
                                               (means.colwise() - out.mean).array().square().rowwise().mean())
                                                  .sqrt();
  for (const Predictions& member : members)
    for (const std::string& warning : member.warnings)
      if (std::find(out.warnings.begin(), out.warnings.end(), warning) == out.warnings.end())
        out.warnings.push_back(warning);
  out.members = std::move(members);
  out.statements = {
      fmt::format("Predictions are the mean of {} fits, whose kernels have parameters chosen with all rows "
                  "and without each "
                  "of {} folds.",
                  out.members.size(), model.others.size())};
  if (out.interval == IntervalKind::none) return out;
  out.interval = interval;
  if (interval == IntervalKind::cross_validated) {
    take_left_out_ends(model, out);
    for (std::string& sentence : left_out_statements(model.left_out, model.level))
      out.statements.push_back(std::move(sentence));
    return out;
  }
  take_mixture_ends(model, out);
  if (interval == IntervalKind::calibrated)
    out.statements.push_back(out.mixture_calibration.known() ? out.mixture_calibration.sentence()
                                                             : model.calibration.sentence());
  out.statements.push_back(fmt::format(
      "Intervals of {:g} % are those of the mixture of the fits' distributions{}.", 100.0 * model.level,
      interval == IntervalKind::calibrated ? ", calibrated by these errors" : ""));
  return out;
}

Vector averaged_log_densities(const FittedModel& model, const Predictions& predictions, const Vector& y,
                              const Matrix& member_densities) {
  Vector densities(y.size());
  for (Index i = 0; i < y.size(); ++i) {
    const auto own = member_densities.row(i);
    const double largest = own.maxCoeff();
    densities(i) = own.hasNaN()             ? not_a_number
                   : std::isfinite(largest) ? largest + std::log((own.array() - largest).exp().mean())
                                            : largest;
  }
  if (!predictions.mixture_calibration.known()) return densities;
  const std::vector<MemberDistribution> members = distributions_of(model, predictions);
  parallel_for(y.size(), rows_of_a_block, [&](Index begin, Index end) {
    for (Index i = begin; i < end; ++i) {
      if (!std::isfinite(densities(i))) continue;
      Shares mean{0.0, 0.0};
      for (const MemberDistribution& member : members) {
        const Shares own = member.shares(i, y(i));
        mean.lower += own.lower / static_cast<double>(members.size());
        mean.upper += own.upper / static_cast<double>(members.size());
      }
      densities(i) += predictions.mixture_calibration.log_density_ratio(normal_score(mean.lower, mean.upper));
    }
  });
  return densities;
}

}  // namespace gradflow
