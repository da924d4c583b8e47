// Operators of the caller's: a matrix, or whatever multiplies blocks of columns.
#include <cmath>
#include <mutex>

#include "bindings/convert.h"
#include "cli/make_job.h"
#include "gradflow/base/error.h"
#include "gradflow/operators/dense_operator.h"
#include "gradflow/report/json_report.h"
#include "gradflow/spectrum/projected_spectrum.h"

namespace gradflow::python {
namespace {

using Product = nb::ndarray<const double, nb::ndim<2>, nb::device::cpu>;

/// H known by a Python callable, n x b -> n x b.
class PythonOperator final : public TrainingOperator {
 public:
  PythonOperator(nb::object apply, Index n, std::string name, std::optional<Vector> diagonal)
      : apply_(std::move(apply)), n_(n), name_(std::move(name)), diagonal_(std::move(diagonal)) {}
  ~PythonOperator() override {
    const nb::gil_scoped_acquire lock;
    apply_.reset();
  }
  PythonOperator(const PythonOperator&) = delete;
  PythonOperator& operator=(const PythonOperator&) = delete;

  Index size() const noexcept override { return n_; }
  std::string description() const override { return name_; }

 private:
  static constexpr Index block = 128;  // columns of the identity at once

  void do_apply(ConstBlock X, Block Y) const override {
    const nb::gil_scoped_acquire lock;
    const nb::object result = apply_(to_numpy(Matrix(X)));
    Product product;
    if (!nb::try_cast(result, product) || product.shape(0) != static_cast<std::size_t>(X.rows()) ||
        product.shape(1) != static_cast<std::size_t>(X.cols()))
      throw InputError(
          fmt::format("{}: the product with a block of shape ({}, {}) must be a float64 array of "
                      "that shape",
                      name_, X.rows(), X.cols()));
    Y = to_matrix(product);
    if (!Y.allFinite()) throw InputError(fmt::format("{}: a product has a value that is not finite", name_));
  }

  // Without the caller's, from products with the identity, once.
  Vector do_diagonal() const override {
    const std::scoped_lock once(mutex_);
    if (!diagonal_) {
      Vector values(n_);
      for_columns([&](Index begin, const Matrix& columns) {
        for (Index j = 0; j < columns.cols(); ++j) values(begin + j) = columns(begin + j, j);
      });
      diagonal_ = std::move(values);
    }
    return *diagonal_;
  }

  // Checked as a matrix of the caller's is.
  Matrix do_matrix() const override {
    Matrix H(n_, n_);
    for_columns([&](Index begin, const Matrix& columns) { H.middleCols(begin, columns.cols()) = columns; });
    Matrix checked = DenseOperator(std::move(H), name_).entries();
    const std::scoped_lock once(mutex_);
    if (!diagonal_) diagonal_ = checked.diagonal();
    return checked;
  }

  template <typename Take>
  void for_columns(const Take& take) const {
    for (Index begin = 0; begin < n_; begin += block) {
      const Index count = std::min(block, n_ - begin);
      Matrix unit = Matrix::Zero(n_, count), columns(n_, count);
      unit.middleRows(begin, count).setIdentity();
      apply(unit, columns);
      take(begin, columns);
    }
  }

  nb::object apply_;
  Index n_;
  std::string name_;
  mutable std::optional<Vector> diagonal_;
  mutable std::mutex mutex_;
};

/// What Python hands over of an operator: `matrix`, or `apply` with its size.
std::unique_ptr<TrainingOperator> make_operator(const nb::dict& given) {
  const auto name = nb::cast<std::string>(given["name"]);
  if (given.contains("matrix")) {
    Matrix H = to_matrix(nb::cast<Array2>(given["matrix"]));
    const nb::gil_scoped_release unlock;
    return std::make_unique<DenseOperator>(std::move(H), name);
  }
  std::optional<Vector> diagonal;
  if (given.contains("diagonal")) diagonal = to_vector(nb::cast<Array1>(given["diagonal"]));
  return std::make_unique<PythonOperator>(nb::object(given["apply"]), nb::cast<Index>(given["rows"]), name,
                                          std::move(diagonal));
}

Observations observe(const nb::dict& data) {
  Observations observations;
  observations.y = to_vector(nb::cast<Array1>(data["y"]));
  const Index n = observations.y.size();
  observations.f0 = data.contains("f0") ? to_vector(nb::cast<Array1>(data["f0"])) : Vector(Vector::Zero(n));
  observations.test_direction = observations.f0;
  observations.covariates =
      data.contains("covariates") ? to_matrix(nb::cast<Array2>(data["covariates"])) : Matrix(n, 0);
  for (Index j = 0; j < observations.covariates.cols(); ++j)
    observations.covariate_names.push_back(fmt::format("z{}", j + 1));
  if (data.contains("row_weights")) {
    observations.weights = to_vector(nb::cast<Array1>(data["row_weights"]));
    observations.weights /= observations.weights.mean();
  }
  return observations;
}

Job make_job(const Options& options, const nb::dict& given, Progress& progress) {
  Job job = cli::make_job(to_settings(options), cli::Purpose::inference);
  job.source = {};
  job.operator_spec = {};
  job.operator_spec.kind = OperatorKind::matrix;
  job.operator_spec.matrix = nb::cast<std::string>(given["name"]);
  job.operator_spec.products_only = !given.contains("matrix");
  job.analysis.progress = &progress;
  return job;
}

std::string test_operator(const Options& options, const nb::dict& given, const nb::dict& data,
                          nb::object callback) {
  PythonProgress progress(std::move(callback));
  Job job = make_job(options, given, progress);
  const FurtherTestOptions further = to_further_tests(options, job);
  job.every_row = further.any();
  const Question question = further.any() ? Question::every_eigenvalue : Question::test;
  std::unique_ptr<TrainingOperator> H = make_operator(given);
  Observations observations = observe(data);
  const nb::gil_scoped_release unlock;
  auto [prepared, score] =
      run_prepared_test(job, prepare(job, std::move(H), std::move(observations), question));
  FurtherTests tests;
  if (further.any()) tests = run_further_tests(job, prepared, further);
  return json_test_report(run_record("test", job.analysis.seed), job, prepared, score, tests);
}

nb::dict analyse_operator(const Options& options, const nb::dict& given, const nb::dict& data,
                          nb::object callback) {
  PythonProgress progress(std::move(callback));
  const Job job = make_job(options, given, progress);
  std::unique_ptr<TrainingOperator> H = make_operator(given);
  Observations observations = observe(data);
  JobResult result;
  std::string json;
  {
    const nb::gil_scoped_release unlock;
    result = run_prepared(job, prepare(job, std::move(H), std::move(observations), question_of(job)));
    json = json_report(run_record("stop", job.analysis.seed), job, result);
  }
  nb::dict arrays = analysis_arrays(result.analysis);
  arrays["json"] = json;
  return arrays;
}

// Eigenvalues of M = Q'HQ, descending.
NumpyVector eigenvalues(const nb::dict& given, const std::optional<Array2>& covariates, bool intercept) {
  const std::unique_ptr<TrainingOperator> H = make_operator(given);
  Observations observations;
  observations.covariates = covariates ? to_matrix(*covariates) : Matrix(H->size(), 0);
  for (Index j = 0; j < observations.covariates.cols(); ++j)
    observations.covariate_names.push_back(fmt::format("z{}", j + 1));
  AnalysisOptions options;
  options.intercept = intercept;
  Vector values;
  {
    const nb::gil_scoped_release unlock;
    values = projected_eigenvalues(*H, make_fixed_effects(H->size(), observations, options));
  }
  return to_numpy(std::move(values));
}

}  // namespace

void bind_operators(nb::module_& module) {
  module.def("test_operator", &test_operator, nb::arg("options"), nb::arg("operator"), nb::arg("data"),
             nb::arg("progress").none());
  module.def("analyse_operator", &analyse_operator, nb::arg("options"), nb::arg("operator"), nb::arg("data"),
             nb::arg("progress").none());
  module.def("eigenvalues", &eigenvalues, nb::arg("operator"), nb::arg("covariates").none(),
             nb::arg("intercept"));
}

}  // namespace gradflow::python
