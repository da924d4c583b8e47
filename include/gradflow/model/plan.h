#pragma once

#include <string>

#include "gradflow/inference/analysis.h"
#include "gradflow/model/operator_spec.h"
#include "gradflow/operators/kernel_operator.h"
#include "gradflow/operators/precision.h"

namespace gradflow {

enum class EngineChoice { automatic, dense, krylov };
enum class StorageChoice { automatic, memory, none };
enum class PrecisionChoice { automatic, float32, float64 };

/// The texts of the options: auto, dense, krylov; auto, memory, none; auto, float32, float64. Throw
/// InputError naming the option and the choices.
EngineChoice parse_engine(const std::string& text);
StorageChoice parse_storage(const std::string& text);
PrecisionChoice parse_precision_choice(const std::string& text);

/// What the user says of how to compute; everything else is chosen.
struct ComputeOptions {
  EngineChoice engine = EngineChoice::automatic;
  /// Krylov only. memory: the operator's n x n entries are kept; none: they are evaluated anew in every
  /// product (kernels), or never formed (networks).
  StorageChoice storage = StorageChoice::automatic;
  PrecisionChoice precision = PrecisionChoice::automatic;  ///< of entries or sweeps; Krylov only
  double max_memory = 0.0;                                 ///< bytes; 0: what the machine can give
};

/// What is asked of a run: how many products with H it will take depends on that.
/// one_rule, one_traced_rule: without and with traces of functions of the operator (needs_traces);
/// every_eigenvalue: a test that takes the dense engine, whatever the number of rows.
enum class Question { test, one_rule, one_traced_rule, every_rule, every_eigenvalue };
/// Whether it asks when to stop, not only whether to train.
bool asks_for_rules(Question question);

/// How a run will be computed, and what it will cost.
struct Plan {
  /// matrix: entries in float64, n x n; tiles: a kernel's lower triangle, kept or not; jacobian: a network's
  /// sweeps; products: a caller's operator, of which nothing is kept.
  enum class Form { matrix, tiles, jacobian, products };

  Engine engine = Engine::dense;
  Form form = Form::matrix;
  KernelStorage storage = KernelStorage::none;  ///< tiles only
  Precision precision = Precision::float64;     ///< tiles: of the evaluation; jacobian: of the sweeps
  double sweep_cache = 0.0;                     ///< bytes, jacobian only: kept sweeps; 0: recomputed
  BasisPrecision basis = BasisPrecision::float64;
  Index max_steps = 0;   ///< of the Krylov space, that memory allows
  Index loo_probes = 0;  ///< kept for rule loo, that memory allows
  /// Whose leave-one-out errors calibrate predictions (sampled_calibration.h), at most most_calibrated_rows
  /// and a matrix of which memory allows; 0 for a test, for networks whose predictions have no standard
  /// deviations and for operators given by products; dense: not used.
  Index calibration_rows = 0;
  double memory = 0.0;     ///< bytes at the peak, at most
  double available = 0.0;  ///< bytes that the run may use; 0: not known
  double products = 0.0;   ///< expected columns that H is applied to; dense: 0
  double flops = 0.0;      ///< expected
  double seconds = 0.0;    ///< expected, at this machine's own rate of matrix products

  std::string text(Index n) const;  ///< one sentence
};

/// The plan for n rows of d features. The engine is dense for at most 4,000 rows whose matrices fit in
/// memory, Krylov otherwise; a network's matrix is formed when that and the products with it take fewer flops
/// than the products with its Jacobian. Given the options and memory enough the choice depends on n, d and
/// the operator only. Throws InputError naming the bytes needed and available, and the option that would fit,
/// when none does, and for Question::every_eigenvalue beyond 4,000 rows unless the engine is given as dense.
Plan make_plan(Index n, Index d, Index fixed_effects, const OperatorSpec& spec, Question question,
               const ComputeOptions& compute);

/// The operator as planned; X is n x d, encoded.
std::unique_ptr<TrainingOperator> build_operator(const KernelSource& kernel, ConstBlock X, const Plan& plan);

}  // namespace gradflow
