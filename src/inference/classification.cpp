#include "gradflow/inference/classification.h"

#include <algorithm>
#include <cmath>

#include "gradflow/base/error.h"
#include "gradflow/base/linear_algebra.h"
#include "inference/classification_laplace.h"
#include "inference/classification_methods.h"

namespace gradflow {
namespace {

Matrix indicators(const Labels& labels, Index classes) {
  Matrix response = Matrix::Zero(static_cast<Index>(labels.size()), classes);
  for (std::size_t i = 0; i < labels.size(); ++i) response(static_cast<Index>(i), labels[i]) = 1.0;
  return response;
}

void check_input(const TrainingOperator& H, const Labels& labels, Index classes) {
  require(H.size() >= 2, "rows", H.size(), "must be at least 2");
  require(classes >= 2, "classes", classes, "must be at least 2");
  require(static_cast<Index>(labels.size()) == H.size(), "number of labels", labels.size(),
          "must equal the size of the training operator");
  for (const Index label : labels)
    require(label >= 0 && label < classes, "label", label, "must be 0, ..., number of classes - 1");
}

}  // namespace

std::string_view to_string(ClassMethod method) {
  return method == ClassMethod::laplace ? "laplace" : "one-hot";
}

void ClassOptions::check() const {
  require(level > 0.0 && level < 1.0, "level", level, "must be between 0 and 1");
  require(bias_variance > 0.0 && bias_variance <= 1e4, "bias_variance", bias_variance,
          "must be in (0, 10000]");
  require(largest_variance >= 1.0 && largest_variance <= 1e6, "largest_variance", largest_variance,
          "must be in [1, 1e6]");
}

Vector smoothed_log_frequencies(const Matrix& response) {
  const auto n = static_cast<double>(response.rows()), K = static_cast<double>(response.cols());
  return ((response.colwise().sum().transpose().array() + 0.5) / (n + 0.5 * K)).log();
}

ClassFit classify(const TrainingOperator& H, const Labels& labels, Index classes,
                  const ClassOptions& options) {
  options.check();
  check_input(H, labels, classes);
  const Matrix response = indicators(labels, classes);
  ClassFit fit;
  fit.method = options.method;
  fit.classes = classes;
  fit.frequencies = response.colwise().mean();
  if (fit.frequencies.maxCoeff() >= 1.0) {
    fit.outcome = Outcome::unidentified;
    fit.reason = "all rows have the same class";
    return fit;
  }
  if (options.method == ClassMethod::laplace)
    fit_laplace(H, response, labels, options, fit);
  else
    fit_one_hot(H, response, labels, options, fit);
  if (usable(fit.outcome) && fit.map.outcome == Outcome::iteration_limit) {
    fit.outcome = Outcome::iteration_limit;
    fit.reason = fit.map.reason;
  }
  return fit;
}

struct ClassPredictor::Parts {
  ClassFit fit;
  std::unique_ptr<laplace::Curvature> curvature;  // laplace only
};

ClassPredictor::ClassPredictor(const TrainingOperator& H, const ClassFit& fit) {
  require(usable(fit.outcome), "outcome", to_string(fit.outcome), "a fit without an answer cannot predict");
  require(fit.dual.rows() == H.size(), "rows of the fit", fit.dual.rows(),
          "must equal the size of the training operator");
  auto parts = std::make_unique<Parts>(Parts{fit, nullptr});
  if (fit.method == ClassMethod::laplace)
    parts->curvature = laplace::Curvature::make(
        laplace::prior_covariance(H.matrix(), fit.tau, fit.bias_variance), fit.site_probabilities);
  parts_ = std::move(parts);
}

ClassPredictor::ClassPredictor(const ClassFit& one_hot) {
  require(usable(one_hot.outcome), "outcome", to_string(one_hot.outcome),
          "a fit without an answer cannot predict");
  require(one_hot.method == ClassMethod::one_hot, "method", to_string(one_hot.method),
          "must be one-hot to predict without the training operator");
  parts_ = std::make_unique<Parts>(Parts{one_hot, nullptr});
}

ClassPredictor::~ClassPredictor() = default;
ClassPredictor::ClassPredictor(ClassPredictor&&) noexcept = default;
ClassPredictor& ClassPredictor::operator=(ClassPredictor&&) noexcept = default;

Matrix ClassPredictor::scores(ConstBlock H_cross) const {
  const ClassFit& fit = parts_->fit;
  require(H_cross.cols() == fit.dual.rows(), "columns of H_cross", H_cross.cols(),
          "must equal the number of training rows");
  return multiply(H_cross, Transpose::no, fit.dual, Transpose::no).rowwise() + fit.bias.transpose();
}

Matrix ClassPredictor::probabilities(ConstBlock H_cross, const Vector& H_self) const {
  const ClassFit& fit = parts_->fit;
  const Matrix mean = scores(H_cross);
  if (fit.method == ClassMethod::one_hot) return fit.map.apply(mean);
  require(H_self.size() == H_cross.rows(), "size of H_self", H_self.size(),
          "must equal the number of rows of H_cross");
  const Matrix cross = laplace::prior_covariance(H_cross, fit.tau, fit.bias_variance);
  const Vector self = (fit.tau * H_self).array() + fit.bias_variance;
  const Matrix p = laplace::average_softmax(mean, parts_->curvature->covariance(cross, self));
  return fit.map.outcome == Outcome::not_run ? p : fit.map.apply(p.array().log().matrix());
}

}  // namespace gradflow
