#include "gradflow/operators/kernel_family.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "gradflow/base/error.h"
#include "gradflow/base/parallel.h"
#include "operators/kernel_adjoint.h"

namespace gradflow {
namespace {

std::string kind_label(const KernelTerm& term) {
  switch (term.kind) {
    case KernelTerm::Kind::linear: return "linear";
    case KernelTerm::Kind::rbf: return "rbf";
    case KernelTerm::Kind::matern32: return "matern32";
    case KernelTerm::Kind::matern52: return "matern52";
    case KernelTerm::Kind::network: break;
  }
  return term.network.kind == InfiniteArchitecture::KernelKind::ntk ? "ntk" : "nngp";
}

std::vector<std::string> labels_of(const KernelSum& kernel) {
  std::vector<std::string> kinds, labels;
  for (const KernelTerm& term : kernel.terms) {
    kinds.push_back(kind_label(term));
    const auto earlier = std::count(kinds.begin(), kinds.end(), kinds.back());
    labels.push_back(earlier > 1 ? fmt::format("{}#{}", kinds.back(), earlier) : kinds.back());
  }
  return labels;
}

/// kappa(alpha u, alpha u') is alpha^2 kappa(u, u') once sb2 follows.
bool homogeneous(const KernelTerm& term) {
  if (term.kind == KernelTerm::Kind::linear) return true;
  if (term.kind != KernelTerm::Kind::network) return false;
  switch (term.network.activation.kind) {
    case ActivationKind::relu:
    case ActivationKind::leaky_relu:
    case ActivationKind::abs:
    case ActivationKind::identity: return true;
    default: return term.network.depth == 0;
  }
}

bool has_bias(const KernelTerm& term) {
  return term.kind == KernelTerm::Kind::network && term.network.sb2 > 0.0;
}

void refuse_underivable(const KernelSum& kernel) {
  for (const KernelTerm& term : kernel.terms)
    if (term.kind == KernelTerm::Kind::network && term.network.activation.kind == ActivationKind::tanh &&
        term.network.depth > 0)
      throw InputError(fmt::format(
          "kernel {}: a network of tanh has no derivatives by its parameters; relu, leaky-relu, abs, gelu, "
          "erf, sin, cos and identity have",
          to_string(term.network)));
}

void check_range(const KernelFamilyOptions::Range& range, const char* name) {
  if (!(range.lower > 0.0 && range.lower < range.upper && std::isfinite(range.upper)))
    throw InputError(fmt::format("range of {} = [{}, {}]: must be 0 < lower < upper, finite", name,
                                 range.lower, range.upper));
}

/// The number of groups; empty `groups`: every feature its own.
Index count_groups(const std::vector<Index>& groups, Index d) {
  if (groups.empty()) return d;
  require(static_cast<Index>(groups.size()) == d, "number of features with a group", groups.size(),
          fmt::format("must be {}", d));
  const auto [least, most] = std::minmax_element(groups.begin(), groups.end());
  require(*least >= 0 && *most < d, "group of a feature", *least < 0 ? *least : *most,
          fmt::format("must be from 0 to {}", d - 1));
  return *most + 1;
}

}  // namespace

KernelFamily::KernelFamily(KernelSum kernel, Matrix X, KernelFamilyOptions options)
    : kernel_(std::move(kernel)), X_(std::move(X)) {
  require(X_.rows() >= 1 && X_.cols() >= 1, "features of a family of kernels",
          fmt::format("{} x {}", X_.rows(), X_.cols()), "need at least one row and column");
  if (!X_.allFinite()) throw InputError("features of a family of kernels: must be finite");
  kernel_.check(X_.cols());
  refuse_underivable(kernel_);
  require(options.features.empty() || static_cast<Index>(options.features.size()) == X_.cols(),
          "number of names of features", options.features.size(), fmt::format("must be {}", X_.cols()));
  check_range(options.weight_range, "weight");
  check_range(options.relevance_range, "relevance");
  check_range(options.sw2_range, "sw2");
  check_range(options.sb2_range, "sb2");
  const std::vector<std::string> labels = labels_of(kernel_);
  for (std::size_t t = 0; t < labels.size(); ++t) add_term(t, labels, options);
  for (Parameter& parameter : parameters_) {
    const double start = value_of(parameter, kernel_);
    parameter.lower = std::min(std::log(parameter.lower), start);
    parameter.upper = std::max(std::log(parameter.upper), start);
  }
}

void KernelFamily::add_term(std::size_t t, const std::vector<std::string>& labels,
                            const KernelFamilyOptions& options) {
  const KernelTerm& term = kernel_.terms[t];
  const bool scalable = options.weights || labels.size() == 1;
  const bool fixes = !options.redundant && scalable && homogeneous(term), bias = has_bias(term);
  const bool network = term.kind == KernelTerm::Kind::network;
  const std::string prefix = labels.size() > 1 ? labels[t] + '.' : std::string();
  const auto add = [&](Kind kind, std::string name, const KernelFamilyOptions::Range& range) {
    parameters_.push_back({kind, t, std::move(name), {}, {}, range.lower, range.upper});
  };
  const bool scaled = options.relevances && !(fixes && !bias && t == 0 && one_group(options));
  const bool weighted = t > 0 ? !(fixes && !bias && scaled) : options.redundant;
  if (options.weights && weighted) add(Kind::weight, "weight:" + labels[t], options.weight_range);
  if (scaled) add_relevances(t, prefix, options);
  if (options.sw2 && network && !fixes) add(Kind::sw2, prefix + "sw2", options.sw2_range);
  if (options.sb2 && bias && !(fixes && scaled)) add(Kind::sb2, prefix + "sb2", options.sb2_range);
}

bool KernelFamily::one_group(const KernelFamilyOptions& options) const {
  return count_groups(options.groups, X_.cols()) == 1;
}

void KernelFamily::add_relevances(std::size_t t, const std::string& prefix,
                                  const KernelFamilyOptions& options) {
  Vector& r = kernel_.terms[t].relevance;
  if (r.size() == 0) r = Vector::Ones(X_.cols());
  const Index d = X_.cols(), groups = count_groups(options.groups, d);
  std::vector<std::vector<Index>> members(static_cast<std::size_t>(groups));
  for (Index k = 0; k < d; ++k) {
    const Index group = options.groups.empty() ? k : options.groups[static_cast<std::size_t>(k)];
    if (r[k] > 0.0) members[static_cast<std::size_t>(group)].push_back(k);
  }
  for (Index group = 0; group < groups; ++group) {
    const std::vector<Index>& features = members[static_cast<std::size_t>(group)];
    if (features.empty()) continue;
    const Vector logs = r(features).array().log().matrix();
    std::string name = prefix + "relevance";
    if (groups > 1) {
      std::string label;
      for (const Index feature : features)
        if (!options.features.empty())
          label += (label.empty() ? "" : "+") + options.features[static_cast<std::size_t>(feature)];
      name += ':' + (label.empty() ? fmt::to_string(group) : label);
    }
    parameters_.push_back({Kind::relevance, t, std::move(name), features,
                           (logs.array() - logs.mean()).exp().matrix(), options.relevance_range.lower,
                           options.relevance_range.upper});
  }
}

double KernelFamily::value_of(const Parameter& parameter, const KernelSum& kernel) {
  const KernelTerm& term = kernel.terms[parameter.term];
  switch (parameter.kind) {
    case Kind::weight: return std::log(term.weight);
    case Kind::sw2: return std::log(term.network.sw2);
    case Kind::sb2: return std::log(term.network.sb2);
    case Kind::relevance: break;
  }
  if (term.relevance.size() == 0) return 0.0;
  return term.relevance(parameter.features).array().log().mean();
}

std::vector<std::string> KernelFamily::names() const {
  std::vector<std::string> all;
  for (const Parameter& parameter : parameters_) all.push_back(parameter.name);
  return all;
}

Vector KernelFamily::start() const { return parameters_of(kernel_); }

Vector KernelFamily::lower() const {
  Vector bounds(static_cast<Index>(parameters_.size()));
  for (Index k = 0; k < bounds.size(); ++k) bounds[k] = parameters_[static_cast<std::size_t>(k)].lower;
  return bounds;
}

Vector KernelFamily::upper() const {
  Vector bounds(static_cast<Index>(parameters_.size()));
  for (Index k = 0; k < bounds.size(); ++k) bounds[k] = parameters_[static_cast<std::size_t>(k)].upper;
  return bounds;
}

Vector KernelFamily::parameters_of(const KernelSum& kernel) const {
  require(kernel.terms.size() == kernel_.terms.size(), "number of kernels in a sum", kernel.terms.size(),
          fmt::format("this family has {}", kernel_.terms.size()));
  Vector p(static_cast<Index>(parameters_.size()));
  for (Index k = 0; k < p.size(); ++k) {
    const Parameter& parameter = parameters_[static_cast<std::size_t>(k)];
    const KernelTerm& term = kernel.terms[parameter.term];
    require(term.kind == kernel_.terms[parameter.term].kind, "kernel", kind_label(term),
            fmt::format("this family has {} there", kind_label(kernel_.terms[parameter.term])));
    require(term.relevance.size() == 0 || term.relevance.size() == X_.cols(), "number of relevances",
            term.relevance.size(), fmt::format("must be {}", X_.cols()));
    p[k] = value_of(parameter, kernel);
    require(std::isfinite(p[k]), parameter.name, std::exp(p[k]), "must be > 0 and finite");
  }
  return p;
}

KernelSum KernelFamily::sum_at(const Vector& p) const {
  require(p.size() == static_cast<Index>(parameters_.size()), "number of parameters of a family of kernels",
          p.size(), fmt::format("must be {}", parameters_.size()));
  KernelSum kernel = kernel_;
  for (Index k = 0; k < p.size(); ++k) {
    const Parameter& parameter = parameters_[static_cast<std::size_t>(k)];
    const double value = std::exp(p[k]);
    require(value > 0.0 && std::isfinite(value), fmt::format("logarithm of {}", parameter.name), p[k],
            "its exponential must be > 0 and finite");
    KernelTerm& term = kernel.terms[parameter.term];
    switch (parameter.kind) {
      case Kind::weight: term.weight = value; break;
      case Kind::sw2: term.network.sw2 = value; break;
      case Kind::sb2: term.network.sb2 = value; break;
      case Kind::relevance: term.relevance(parameter.features) = value * parameter.ratios; break;
    }
  }
  return kernel;
}

/// The kernel at one p; contract() evaluates its pairs again.
class KernelFamily::AtPoint final : public Point {
 public:
  AtPoint(const KernelFamily& family, const KernelSum& kernel);
  const Matrix& H() const override { return H_; }
  Vector contract(const Matrix& W) const override;
  Vector contract_low_rank(const LowRankWeights& W) const override;

 private:
  Vector contract_tiles(const WeightTiles& W) const;

  const KernelFamily& family_;
  std::vector<FamilyTerm> terms_;
  Matrix H_;
};

KernelFamily::AtPoint::AtPoint(const KernelFamily& family, const KernelSum& kernel)
    : family_(family), H_(family.size(), family.size()) {
  for (const KernelTerm& term : kernel.terms) terms_.emplace_back(term, family.X_);
  const SerialBlas serial;
  for_each_tile(terms_.front().blocks(), [&](Index I, Index J) {
    alignas(64) double tile[tile_entries] = {}, scratch[tile_entries];
    for (const FamilyTerm& term : terms_) term.add(I, J, scratch, tile);
    store_tile(static_cast<const double*>(tile), I, J, static_cast<double>(H_.rows()), H_);
  });
}

Vector KernelFamily::AtPoint::contract(const Matrix& W) const {
  const Index n = H_.rows();
  require(W.rows() == n && W.cols() == n, "shape of W", fmt::format("{} x {}", W.rows(), W.cols()),
          fmt::format("must be {} x {}", n, n));
  return contract_tiles(WeightTiles(W));
}

Vector KernelFamily::AtPoint::contract_low_rank(const LowRankWeights& W) const {
  const Index n = H_.rows();
  require(W.diagonal.size() == n && W.factors.rows() == n && W.coefficients.size() == W.factors.cols(),
          "factors of W", fmt::format("{} x {}", W.factors.rows(), W.factors.cols()),
          fmt::format("must have {} rows, and a coefficient for every column", n));
  return contract_tiles(WeightTiles(W));
}

Vector KernelFamily::AtPoint::contract_tiles(const WeightTiles& W) const {
  const Index n = H_.rows();
  std::vector<TermGradient> gradients(terms_.size());
  for (std::size_t t = 0; t < terms_.size(); ++t) {
    bool any = false, relevances = false;
    for (const Parameter& parameter : family_.parameters_) {
      any = any || parameter.term == t;
      relevances = relevances || (parameter.term == t && parameter.kind == Kind::relevance);
    }
    if (any) gradients[t] = terms_[t].contract(W, 1.0 / static_cast<double>(n), relevances);
  }
  Vector g(static_cast<Index>(family_.parameters_.size()));
  for (Index k = 0; k < g.size(); ++k) {
    const Parameter& parameter = family_.parameters_[static_cast<std::size_t>(k)];
    const TermGradient& gradient = gradients[parameter.term];
    switch (parameter.kind) {
      case Kind::weight: g[k] = gradient.weight; break;
      case Kind::sw2: g[k] = gradient.sw2; break;
      case Kind::sb2: g[k] = gradient.sb2; break;
      case Kind::relevance: g[k] = gradient.relevance(parameter.features).sum(); break;
    }
  }
  return g;
}

std::unique_ptr<OperatorFamily::Point> KernelFamily::at(const Vector& p) const {
  return std::make_unique<AtPoint>(*this, sum_at(p));
}

}  // namespace gradflow
