#include "gradflow/inference/prior.h"

#include <cmath>

namespace gradflow {
namespace {

// log(1 + exp(s)) without overflow
double softplus(double s) { return s > 0.0 ? s + std::log1p(std::exp(-s)) : std::log1p(std::exp(s)); }

// "relevance:age", "log relevance 3", "ntk.relevance:age"
bool is_relevance(const std::string& name) { return name.find("relevance") != std::string::npos; }

}  // namespace

double ParameterPrior::penalty(double p) const {
  switch (kind) {
    case Kind::normal: return (p - location) * (p - location) / (scale * scale);
    case Kind::half_cauchy: return 2.0 * softplus(2.0 * (p - std::log(scale)));
    case Kind::flat: break;
  }
  return 0.0;
}

double ParameterPrior::slope(double p) const {
  switch (kind) {
    case Kind::normal: return 2.0 * (p - location) / (scale * scale);
    case Kind::half_cauchy: return 4.0 / (1.0 + std::exp(-2.0 * (p - std::log(scale))));
    case Kind::flat: break;
  }
  return 0.0;
}

std::vector<ParameterPrior> default_priors(const OperatorFamily& family) {
  std::vector<ParameterPrior> priors;
  const Vector start = family.start();
  for (const std::string& name : family.names()) {
    const double mean = start(static_cast<Index>(priors.size()));
    priors.push_back(is_relevance(name) ? ParameterPrior::relevance(std::exp(mean))
                                        : ParameterPrior::normal(mean, 2.0));
  }
  return priors;
}

}  // namespace gradflow
