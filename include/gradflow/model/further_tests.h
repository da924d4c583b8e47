#pragma once

#include <optional>
#include <string>
#include <vector>

#include "gradflow/inference/binary_test.h"
#include "gradflow/inference/component_test.h"
#include "gradflow/inference/grid_test.h"
#include "gradflow/inference/likelihood_ratio.h"
#include "gradflow/inference/permutation_test.h"
#include "gradflow/model/job.h"
#include "gradflow/operators/kernel_sum.h"

namespace gradflow {

/// The tests that can be asked for beside the score test; docs/tests.md says when each is the one to use.
struct FurtherTestOptions {
  bool likelihood_ratio = false;   ///< of time 0 on path ridge
  Index permutations = 0;          ///< of the score statistic; 0: not asked for
  std::vector<KernelSum> also;     ///< the job's operator and these: the best, corrected; empty: not asked
  std::vector<std::string> group;  ///< feature columns, by name or "#3": these given the others
  std::optional<KernelSum> given;  ///< the job's operator given this one on all features
  bool binary = false;             ///< logistic null model; the response has two values
  std::optional<Index> draws;      ///< of each simulated null but the permutations; empty: its own number

  bool any() const;
  /// Throws InputError: draws < 1, permutations < 0, `group` together with `given` or with an operator that
  /// is no kernel, a kernel where there are no features, a mode or an engine that has none of these tests.
  void check(const Job& job) const;
};

/// H_2 given H_1, with what they are.
struct NamedComponentTest {
  std::string first, second;  ///< descriptions of H_1 and H_2
  std::vector<std::string> group;
  ComponentTest test;
};

struct NamedGridTest {
  std::vector<std::string> kernels;  ///< texts, the job's own first
  GridTest test;
};

/// The response as 0 and 1: the smaller of its two values and the larger.
struct NamedBinaryTest {
  double zero = 0.0, one = 1.0;  ///< in units of the response
  BinaryTest test;
};

/// Those that were asked for.
struct FurtherTests {
  std::optional<LikelihoodRatioTest> likelihood_ratio;
  std::optional<PermutationTest> permutation;
  std::optional<NamedGridTest> grid;
  std::optional<NamedComponentTest> component;
  std::optional<NamedBinaryTest> binary;

  bool all_usable() const;
};

/// Runs them on a job prepared with every_row, in the rows as they are: replicates are rows of their own,
/// and with row weights w_i
///
///     H~ = (n/W) D H D,   y~ = D (y - f0),   X~ = D X,   D = diag(sqrt(w_i)),   W = sum w_i
///
/// take the place of H, y - f0 and X, so that noise of variance s2/w_i is noise of variance s2. `binary`
/// takes y as it is, without f0 (the network's initial output is no logit), and no weights.
///
/// The seed is the job's analysis's. Adds its stage to prepared.seconds. Cost and memory: those of each test,
/// n x n matrices all of them. Throws InputError for a column of `group` that is no feature or not one that
/// varies, a group of all features, a response without exactly two values under `binary`, and where memory
/// is too small.
FurtherTests run_further_tests(const Job& job, PreparedJob& prepared, const FurtherTestOptions& options);

}  // namespace gradflow
