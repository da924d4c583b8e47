#include "gradflow/model/further_tests.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <functional>
#include <memory>
#include <utility>

#include "gradflow/base/error.h"
#include "gradflow/model/memory.h"
#include "gradflow/operators/scaled_operator.h"
#include "gradflow/spectrum/projected_spectrum.h"
#include "model/column_names.h"

namespace gradflow {
namespace {

// An operator of the job's rows, whitened where they have weights.
class RowOperator {
 public:
  RowOperator(const TrainingOperator& H, const Observations& observations) : given_(&H) {
    whiten(observations);
  }
  RowOperator(std::unique_ptr<TrainingOperator> H, const Observations& observations)
      : owned_(std::move(H)), given_(owned_.get()) {
    whiten(observations);
  }

  const TrainingOperator& operator*() const { return scaled_ ? *scaled_ : *given_; }

 private:
  void whiten(const Observations& observations) {
    if (observations.weights.size() == 0) return;
    scaled_ =
        std::make_unique<ScaledOperator>(*given_, observations.weights.cwiseSqrt(),
                                         static_cast<double>(given_->size()) / observations.total_weight());
  }

  std::unique_ptr<TrainingOperator> owned_;
  const TrainingOperator* given_;
  std::unique_ptr<ScaledOperator> scaled_;
};

// What every test has in common.
struct Problem {
  const Job& job;
  const PreparedJob& prepared;
  const FurtherTestOptions& options;
  RowOperator H;
  FixedEffects fixed;
  Vector w;  // y - f0, whitened

  std::uint64_t seed() const { return job.analysis.seed; }
  RowOperator row_operator(const KernelSum& kernel, const Matrix& X) const {
    kernel.check(X.cols());
    return {KernelSource(kernel).training(X), prepared.observations};
  }
};

Problem make_problem(const Job& job, const PreparedJob& prepared, const FurtherTestOptions& options) {
  const Observations& observations = prepared.observations;
  Vector w = observations.y - observations.f0;
  if (observations.weights.size() > 0) w.array() *= observations.weights.array().sqrt();
  return {job,
          prepared,
          options,
          RowOperator(*prepared.H, observations),
          make_fixed_effects(w.size(), observations, job.analysis),
          std::move(w)};
}

LikelihoodRatioTest test_likelihood_ratio(const Problem& problem) {
  const ProjectedSpectrum spectrum = project(*problem.H, problem.fixed);
  SpectralData data{.values = spectrum.values, .z = spectrum.coordinates(problem.w)};
  data.trace = spectrum.trace;
  LikelihoodRatioOptions options{.seed = problem.seed(), .level = problem.job.analysis.level};
  options.draws = problem.options.draws.value_or(options.draws);
  return likelihood_ratio_test(data, Path{.kind = PathKind::ridge}, options);
}

PermutationTest test_permutations(const Problem& problem) {
  return permutation_test(*problem.H, problem.fixed, problem.w,
                          {.draws = problem.options.permutations, .seed = problem.seed()});
}

std::string operator_text(const Problem& problem) {
  return problem.prepared.kernel ? problem.prepared.kernel->text() : problem.job.operator_spec.text();
}

NamedGridTest test_grid(const Problem& problem) {
  NamedGridTest grid{{operator_text(problem)}, {}};
  std::vector<RowOperator> others;
  for (const KernelSum& kernel : problem.options.also) {
    others.push_back(problem.row_operator(kernel, problem.prepared.dataset.X));
    grid.kernels.push_back(to_string(kernel));
  }
  std::vector<const TrainingOperator*> operators{&*problem.H};
  for (const RowOperator& other : others) operators.push_back(&*other);
  GridTestOptions options{.seed = problem.seed()};
  options.draws = problem.options.draws.value_or(options.draws);
  grid.test = grid_test(operators, problem.fixed, problem.w, options);
  return grid;
}

std::string feature_names(const Recipe& recipe) {
  std::vector<std::string> names;
  for (const ColumnRecipe& column : recipe.columns)
    if (!column.is_covariate) names.push_back(column.name);
  constexpr std::size_t most = 20;
  const std::size_t shown = std::min(names.size(), most);
  return fmt::format("{}{}",
                     fmt::join(names.begin(), names.begin() + static_cast<std::ptrdiff_t>(shown), ", "),
                     shown < names.size() ? ", ..." : "");
}

// The columns of X that encode one feature.
std::vector<Index> encoded_columns(const std::string& name, const Recipe& recipe) {
  std::vector<Index> columns;
  bool known = false;
  for (std::size_t c = 0; c < recipe.columns.size(); ++c) {
    if (recipe.columns[c].is_covariate || recipe.columns[c].name != name) continue;
    known = true;
    for (std::size_t j = 0; j < recipe.features.size(); ++j)
      if (recipe.features[j].source == static_cast<Index>(c)) columns.push_back(static_cast<Index>(j));
  }
  if (!known)
    throw InputError(
        fmt::format("--group '{}': is none of the features, which are {}", name, feature_names(recipe)));
  if (columns.empty())
    throw InputError(fmt::format("--group '{}': the column is constant, so there is nothing to test", name));
  return columns;
}

struct Split {
  std::vector<std::string> names;
  std::vector<Index> group, others;  // columns of X
};

Split split_features(const Problem& problem) {
  const Recipe& recipe = problem.prepared.dataset.recipe;
  Split split;
  for (const std::string& text : problem.options.group) {
    const std::string name = column_name(recipe, text);
    if (std::find(split.names.begin(), split.names.end(), name) != split.names.end())
      throw InputError(fmt::format("--group '{}': the column is named twice", name));
    const std::vector<Index> columns = encoded_columns(name, recipe);
    split.names.push_back(name);
    split.group.insert(split.group.end(), columns.begin(), columns.end());
  }
  std::sort(split.group.begin(), split.group.end());
  for (Index j = 0; j < problem.prepared.dataset.X.cols(); ++j)
    if (!std::binary_search(split.group.begin(), split.group.end(), j)) split.others.push_back(j);
  if (split.others.empty())
    throw InputError(
        "--group names all features: none is left to be given (without --group, gradflow test tests all)");
  return split;
}

// The kernel on some of its features, with their relevances.
KernelSum restricted(KernelSum kernel, const std::vector<Index>& columns) {
  for (KernelTerm& term : kernel.terms)
    if (term.relevance.size() > 0) term.relevance = Vector(term.relevance(columns));
  return kernel;
}

ComponentTestOptions component_options(const Problem& problem) {
  ComponentTestOptions options{.seed = problem.seed()};
  options.draws = problem.options.draws.value_or(options.draws);
  return options;
}

NamedComponentTest test_group(const Problem& problem) {
  const Split split = split_features(problem);
  const Matrix& X = problem.prepared.dataset.X;
  const KernelSum& kernel = problem.prepared.kernel->kernel().value();
  const auto on = [&](const std::vector<Index>& columns) {
    return problem.row_operator(restricted(kernel, columns), Matrix(X(Eigen::all, columns)));
  };
  const RowOperator first = on(split.others), second = on(split.group);
  NamedComponentTest component{fmt::format("{} of the other features", operator_text(problem)),
                               fmt::format("{} of {}", operator_text(problem), fmt::join(split.names, ", ")),
                               split.names,
                               {}};
  component.test = component_test(*first, *second, problem.fixed, problem.w, component_options(problem));
  return component;
}

NamedComponentTest test_given(const Problem& problem) {
  const KernelSum& kernel = problem.options.given.value();
  const RowOperator first = problem.row_operator(kernel, problem.prepared.dataset.X);
  NamedComponentTest component{to_string(kernel), operator_text(problem), {}, {}};
  component.test = component_test(*first, *problem.H, problem.fixed, problem.w, component_options(problem));
  return component;
}

// A value of the response without the rounding of its standardisation.
double cleaned(double value, double spread) {
  return std::abs(value - std::round(value)) < 1e-9 * spread ? std::round(value) : value;
}

NamedBinaryTest test_binary(const Problem& problem) {
  const Observations& observations = problem.prepared.observations;
  if (!problem.prepared.two_values)
    throw InputError(fmt::format("--binary: the response has more than two values in the {} rows used",
                                 observations.y.size()));
  const double low = observations.y.minCoeff(), high = observations.y.maxCoeff();
  NamedBinaryTest binary{cleaned(low, high - low), cleaned(high, high - low), {}};
  const double middle = 0.5 * (low + high);
  const Vector y = (observations.y.array() > middle).cast<double>();
  BinaryTestOptions options{.seed = problem.seed()};
  options.draws = problem.options.draws.value_or(options.draws);
  binary.test = binary_test(*problem.prepared.H, problem.fixed, y, options);
  return binary;
}

// Refusals that the data have no part in.
void refuse_matrix(bool matrix, bool asked, const std::string& option) {
  if (matrix && asked)
    throw InputError(
        fmt::format("{} and --operator: a matrix of your own has no features to take a kernel of", option));
}

}  // namespace

bool FurtherTestOptions::any() const {
  return likelihood_ratio || permutations > 0 || !also.empty() || !group.empty() || given || binary;
}

void FurtherTestOptions::check(const Job& job) const {
  require(permutations >= 0, "permutations", permutations, "must be >= 0");
  require(!draws || *draws >= 1, "draws", draws.value_or(0), "must be >= 1");
  if (!any()) return;
  const bool simulated = likelihood_ratio || !also.empty() || !group.empty() || given || binary;
  if (draws && !simulated)
    throw InputError("--draws and --permutations: the number of permutations is --permutations N itself");
  if (job.analysis.paper)
    throw InputError("--paper: the paper's method has the score test alone, and none of the others");
  if (job.compute.engine == EngineChoice::krylov)
    throw InputError(
        "--engine krylov: only the score test works from products; the other tests take every eigenvalue");
  if (!group.empty() && given)
    throw InputError(
        "--group and --given: give one, both say which operator is tested given which (with --group it is "
        "the kernel of the other features)");
  const bool matrix = job.operator_spec.kind == OperatorKind::matrix;
  refuse_matrix(matrix, !also.empty(), "--also");
  refuse_matrix(matrix, !group.empty(), "--group");
  refuse_matrix(matrix, given.has_value(), "--given");
  if (!group.empty() && job.operator_spec.layered_kernel)
    throw InputError(
        "--group and a kernel of layers: only one of dense networks can be taken of some features");
  if (!group.empty() && job.operator_spec.kind == OperatorKind::finite)
    throw InputError("--group and a finite network: only a kernel (--kernel) can be taken of some features");
  if (binary && !job.dataset.row_weights.empty())
    throw InputError("--binary and --row-weights: the logistic null model has no weights");
}

bool FurtherTests::all_usable() const {
  return (!likelihood_ratio || usable(likelihood_ratio->outcome)) &&
         (!permutation || usable(permutation->outcome)) && (!grid || usable(grid->test.outcome)) &&
         (!component || usable(component->test.outcome)) && (!binary || usable(binary->test.outcome));
}

FurtherTests run_further_tests(const Job& job, PreparedJob& prepared, const FurtherTestOptions& options) {
  options.check(job);
  // Beside the operator: two kernels, eigenvectors and a decomposition; of every kernel of a grid two more.
  require_memory(prepared.H->size(), 7.0 + 2.0 * static_cast<double>(options.also.size()));
  const auto start = std::chrono::steady_clock::now();
  const Problem problem = make_problem(job, prepared, options);
  const auto run = [&](bool asked, const char* stage, auto& result, const auto& test) {
    if (!asked) return;
    report_progress(job.analysis.progress, stage, 0.0);
    result = test(problem);
  };
  FurtherTests tests;
  run(options.likelihood_ratio, "likelihood-ratio test", tests.likelihood_ratio, test_likelihood_ratio);
  run(options.permutations > 0, "permutation test", tests.permutation, test_permutations);
  run(!options.also.empty(), "test of the best kernel", tests.grid, test_grid);
  run(!options.group.empty(), "test of the group", tests.component, test_group);
  run(options.given.has_value(), "test given the other kernel", tests.component, test_given);
  run(options.binary, "binary test", tests.binary, test_binary);
  prepared.seconds.emplace_back(
      "further tests", std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  return tests;
}

}  // namespace gradflow
