#pragma once

#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "gradflow/inference/analysis.h"
#include "gradflow/model/data_source.h"
#include "gradflow/model/operator_spec.h"

namespace gradflow {

/// One question about one data set and one training operator.
struct Job {
  DataSource source;
  DatasetOptions dataset;
  OperatorSpec operator_spec;
  AnalysisOptions analysis;
};

/// The data and the operator, before any inference.
struct PreparedJob {
  Dataset dataset;
  std::optional<KernelSource> kernel;  ///< empty for a user's matrix
  std::unique_ptr<DenseOperator> H;
  Observations observations;                            ///< in raw units of y
  std::vector<std::pair<std::string, double>> seconds;  ///< stage, wall time
};

/// Reads the data, builds the operator and states the observations in raw units:
///
///     y = center + scale * y_standardised,     f0 = center + scale * f(X)
///
/// center and scale are the recipe's (0 and 1 where the response is not standardised), f the network at
/// initialization (0 for infinite width and for a user's matrix). So every estimate, alpha and beta are in
/// units of y and a prediction needs no unscaling. Throws InputError; never prints.
PreparedJob prepare(const Job& job);

struct JobResult {
  PreparedJob prepared;
  Analysis analysis;
};

JobResult run(const Job& job);                               ///< prepare() and analyse()
std::pair<PreparedJob, ScoreTest> run_test(const Job& job);  ///< prepare() and analyse_test()

}  // namespace gradflow
