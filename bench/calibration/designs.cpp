#include "designs.h"

#include <fmt/format.h>

#include <cmath>

#include "gradflow/base/linear_algebra.h"
#include "gradflow/base/random.h"

namespace gradflow::calibration {
namespace {

Matrix draw_features(const Setting& setting) {
  SimulationOptions options;
  options.function = TestFunction::null;
  options.rows = setting.n;
  options.features = setting.d;
  options.correlation = setting.correlation;
  options.replicates = setting.replicates;
  options.seed = 20;
  return simulate(options).X;
}

}  // namespace

std::string Setting::name() const {
  std::string text = fmt::format("n {}, d {}, {}", n, d, kernel);
  if (correlation != 0.0) text += fmt::format(", AR(1) {}", correlation);
  if (replicates > 1) text += fmt::format(", {} {}", replicates, merged ? "equal rows merged" : "equal rows");
  if (covariates > 0) text += fmt::format(", {} covariates", covariates);
  return text;
}

Design::Design(const Setting& setting) : setting_(setting), X_(draw_features(setting)) {
  const Index c = setting.merged ? setting.replicates : 1;
  groups_ = setting.n / c;
  Matrix rows(groups_, setting.d);
  for (Index g = 0; g < groups_; ++g) rows.row(g) = X_.row(g * c);
  Matrix design(groups_, 1 + setting.covariates);
  std::vector<std::string> names{"(intercept)"};
  design << Vector::Ones(groups_), RandomStream(21, "covariates").normals(groups_, setting.covariates);
  for (Index j = 0; j < setting.covariates; ++j) names.push_back(fmt::format("z{}", j + 1));
  // D H D n_g / W with D = sqrt(c) I and W = n: the kernel times c / n.
  const double root = std::sqrt(static_cast<double>(c));
  fixed_ = std::make_unique<FixedEffects>(root * design, names);
  H_ = std::make_unique<DenseOperator>(
      Matrix(kernel_gram(parse_kernel_sum(setting.kernel), rows) / static_cast<double>(groups_)));
  spectrum_ = project(*H_, *fixed_);
  const SpectralData data =
      SpectralData{spectrum_.values, Vector::Zero(spectrum_.values.size())}.with({0.0, setting.n - groups_});
  values_ = data.values;
  multiplicity_ = data.multiplicity;
}

double Design::count() const {
  return multiplicity_.size() == 0 ? static_cast<double>(values_.size()) : multiplicity_.sum();
}

Design::Projected Design::project_responses(const Matrix& Y) const {
  const Index c = setting_.merged ? setting_.replicates : 1;
  Projected out;
  out.pure = Vector::Zero(Y.cols());
  Matrix means = Y;
  if (c > 1) {
    means.resize(groups_, Y.cols());
    for (Index g = 0; g < groups_; ++g) {
      means.row(g) = std::sqrt(static_cast<double>(c)) * Y.middleRows(g * c, c).colwise().mean();
      out.pure += Y.middleRows(g * c, c).colwise().squaredNorm().transpose();
    }
    out.pure -= means.colwise().squaredNorm().transpose();
  }
  out.z = multiply(spectrum_.basis, Transpose::yes, means, Transpose::no);
  out.squares = out.z.colwise().squaredNorm().transpose() + out.pure;
  out.quadratic = out.z.cwiseAbs2().transpose() * spectrum_.values;
  return out;
}

SpectralData Design::data(const Projected& projected, Index column) const {
  return SpectralData{spectrum_.values, projected.z.col(column)}.with(
      {projected.pure(column), setting_.n - groups_});
}

Matrix noise_columns(NoiseKind kind, Index n, Index first, Index count) {
  Matrix E(n, count);
  for (Index j = 0; j < count; ++j) {
    SimulationOptions options;
    options.function = TestFunction::null;
    options.rows = n;
    options.features = 1;
    options.noise_kind = kind;
    options.seed = 22;
    options.replicate = static_cast<std::uint64_t>(first + j);
    E.col(j) = simulate(options).y;
  }
  return E;
}

}  // namespace gradflow::calibration
