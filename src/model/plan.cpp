#include "gradflow/model/plan.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <optional>
#include <utility>

#include "gradflow/base/error.h"
#include "gradflow/base/linear_algebra.h"
#include "gradflow/base/parallel.h"
#include "gradflow/model/fitted_model.h"
#include "gradflow/model/memory.h"
#include "gradflow/operators/jacobian_operator.h"
#include "gradflow/operators/make_operator.h"

namespace gradflow {
namespace {

constexpr Index most_dense_rows = 4000;       // about 5 s for an eigendecomposition on two cores
constexpr double dense_copies = 5.0;          // n x n matrices alive at the peak of the dense engine
constexpr Index most_calibrated_rows = 2000;  // 2 s beside a Krylov space of 7,373 rows that takes 15
constexpr double calibration_copies = 6.0;    // of the rows that calibrate, while their errors are computed
constexpr double calibration_share = 0.2;     // of the memory that is left, at most
constexpr double matrix_copies = 2.2;         // while a matrix is built for Krylov
constexpr double vectors_alive = 75.0;        // of n doubles: data, probes of a batch, workspace
constexpr Index fewest_steps = 40, most_steps = 1000, most_probe_steps = 200;
constexpr double spare = 0.9;  // of the memory: the rest is the program's and the allocator's
// Per entry of a kernel beside its products or distances: measured, against DGEMM's flops
constexpr double layer_flops = 60.0, rbf_flops = 15.0, matern_flops = 25.0;

template <typename Choice, std::size_t count>
Choice parse(const std::string& option, const std::string& text,
             const std::array<std::pair<const char*, Choice>, count>& choices) {
  std::string names;
  for (const auto& [name, choice] : choices) {
    if (text == name) return choice;
    names += fmt::format("{}{}", names.empty() ? "" : (name == choices.back().first ? " or " : ", "), name);
  }
  throw InputError(fmt::format("{} {}: must be {}", option, text, names));
}

double parameter_count(const Architecture& architecture, Index inputs) {
  double count = 0.0;
  Index before = inputs;
  for (std::size_t l = 0; l <= architecture.widths.size(); ++l) {
    const Index width = l < architecture.widths.size() ? architecture.widths[l] : 1;
    count += static_cast<double>(width * (before + 1));
    before = width;
  }
  return count;
}

double unit_count(const Architecture& architecture, Index inputs) {
  double count = 0.0;
  Index before = inputs;
  for (std::size_t l = 0; l <= architecture.widths.size(); ++l) {
    const Index width = l < architecture.widths.size() ? architecture.widths[l] : 1;
    count += static_cast<double>(width + before);
    before = width;
  }
  return count;
}

double term_flops(const KernelTerm& term, double d) {
  switch (term.kind) {
    case KernelTerm::Kind::network: return 2.0 * d + layer_flops * static_cast<double>(term.network.depth);
    case KernelTerm::Kind::linear: return 2.0 * d;
    case KernelTerm::Kind::rbf: return 3.0 * d + rbf_flops;
    case KernelTerm::Kind::matern32:
    case KernelTerm::Kind::matern52: break;
  }
  return 3.0 * d + matern_flops;
}

// Flops per second of a float64 matrix product here: a tenth of a second, once.
double product_rate() {
  static const double rate = [] {
    const Index n = 768;
    const Matrix A = Matrix::Ones(n, n);
    Matrix C(n, n);
    double best = 1e300;
    for (int i = 0; i < 3; ++i) {
      const auto start = std::chrono::steady_clock::now();
      multiply(A, Transpose::no, A, Transpose::no, C);
      best = std::min(best, std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
    }
    return 2.0 * std::pow(static_cast<double>(n), 3) / best;
  }();
  return rate;
}

double expected_products(Question question) {
  switch (question) {
    case Question::test: return 44.0;
    case Question::one_rule: return 70.0;
    case Question::one_traced_rule: return 700.0;
    case Question::every_rule:
    case Question::every_eigenvalue: break;
  }
  return 1200.0;
}

class Planner {
 public:
  Planner(Index n, Index d, Index q, const OperatorSpec& spec, Question question,
          const ComputeOptions& compute)
      : n_(static_cast<double>(n)),
        d_(static_cast<double>(d)),
        rows_(n),
        inputs_(d),
        spec_(spec),
        question_(question),
        compute_(compute) {
    if (spec.kind == OperatorKind::finite && spec.layered) sizes_ = sizes_of(*spec.layered, d);
    const double machine = available_memory();
    plan_.available = compute.max_memory > 0.0 ? compute.max_memory : spare * machine;
    if (machine > 0.0 && compute.max_memory > machine) plan_.available = spare * machine;
    data_ = 8.0 * n_ * (2.0 * d_ + 3.0 * static_cast<double>(q) + vectors_alive);
    if (spec.kind == OperatorKind::infinite && spec.layered_kernel)
      data_ += gradflow::working_bytes(*spec.layered_kernel, d, n);
  }

  Plan make() {
    const bool dense_fits = fits(data_ + forming_bytes() + dense_copies * 8.0 * n_ * n_);
    const bool needed = question_ == Question::every_eigenvalue;
    if (needed) require_few_rows();
    const bool dense = needed || compute_.engine == EngineChoice::dense ||
                       (compute_.engine == EngineChoice::automatic && rows_ <= most_dense_rows && dense_fits);
    if (dense) {
      plan_dense();
      return plan_;
    }
    plan_.engine = Engine::krylov;
    plan_.products = expected_products(question_);
    choose_form();
    divide_memory();
    return plan_;
  }

 private:
  bool fits(double bytes) const { return plan_.available <= 0.0 || bytes <= plan_.available; }

  void require_few_rows() const {
    if (compute_.engine != EngineChoice::dense && rows_ > most_dense_rows)
      throw InputError(
          fmt::format("n = {} rows: the tests beside the score test take every eigenvalue, which is done for "
                      "at most {} rows; --engine dense does it for more, in time that grows as n^3",
                      rows_, most_dense_rows));
  }

  [[noreturn]] void refuse(double bytes, const std::string& what, const std::string& remedy) const {
    throw InputError(
        fmt::format("n = {} rows need about {:.3g} GB of memory ({}), and {:.3g} GB are available: {}", rows_,
                    bytes / 1e9, what, plan_.available / 1e9, remedy));
  }

  void plan_dense() {
    plan_.memory = data_ + forming_bytes() + dense_copies * 8.0 * n_ * n_;
    if (!fits(plan_.memory))
      refuse(plan_.memory, "5 matrices of n x n for --engine dense",
             question_ == Question::every_eigenvalue
                 ? "the score test alone, with --engine krylov, needs none (or give more with --max-memory)"
                 : "--engine krylov needs none (or give more with --max-memory)");
    plan_.flops = (question_ == Question::test ? 2.0 : 7.0) * n_ * n_ * n_ + forming_flops();
    plan_.seconds = plan_.flops / product_rate();
  }

  double forming_flops() const {
    if (sizes_) return 2.0 * n_ * n_ * sizes_->gram;
    if (spec_.kind == OperatorKind::finite) return 2.0 * n_ * n_ * unit_count(spec_.network, inputs_);
    if (spec_.kind == OperatorKind::infinite) return 0.5 * n_ * n_ * entry_flops();
    return 0.0;
  }
  // What a matrix is formed of: gradients of convolutions, and inputs and gradients of other layers; sweeps
  // over some examples of convolutions, or over all.
  double forming_bytes() const {
    if (!sizes_) return 0.0;
    const double swept = sizes_->convolved > 0.0 ? std::min(n_, 16.0 * threads()) : n_;
    return 8.0 * (n_ * sizes_->gram + swept * (sizes_->kept + sizes_->swept + sizes_->convolved));
  }
  double entry_flops() const {
    if (spec_.layered_kernel) return gradflow::entry_flops(*spec_.layered_kernel, inputs_);
    double flops = 0.0;
    for (const KernelTerm& term : spec_.kernel.terms) flops += term_flops(term, d_);
    return flops;
  }

  void choose_form() {
    const bool free_only = compute_.storage == StorageChoice::none;
    if (spec_.products_only) {
      plan_.form = Plan::Form::products;
      plan_.flops = plan_.products * 2.0 * n_ * n_;  // nothing is known of the caller's: as of a matrix
      plan_.seconds = plan_.flops / product_rate();
    } else if (spec_.kind == OperatorKind::matrix) {
      choose_matrix("--operator is a matrix of your own: give more with --max-memory");
    } else if (spec_.kind == OperatorKind::infinite && spec_.layered_kernel) {
      if (free_only)
        throw InputError("--storage none: the kernel of a network of layers is kept as a matrix");
      choose_matrix("the kernel of a network of layers is kept as a matrix: use fewer rows");
    } else if (spec_.kind == OperatorKind::infinite) {
      choose_tiles();
    } else {
      // A place of a convolution costs as much as a layer's weights.
      const double P = sizes_ ? sizes_->multiply_adds : parameter_count(spec_.network, inputs_);
      const bool cheaper = forming_flops() + plan_.products * 2.0 * n_ * n_ < plan_.products * 4.0 * n_ * P;
      const bool room = fits(data_ + forming_bytes() + matrix_copies * 8.0 * n_ * n_ + least_krylov());
      const bool keep = compute_.storage == StorageChoice::memory ||
                        (compute_.storage == StorageChoice::automatic && cheaper && room &&
                         compute_.precision != PrecisionChoice::float32);
      if (keep && !free_only)
        choose_matrix("--storage none never forms the matrix");
      else
        choose_jacobian();
    }
  }

  double least_krylov() const { return 8.0 * n_ * static_cast<double>(fewest_steps); }

  void choose_matrix(const std::string& remedy) {
    plan_.form = Plan::Form::matrix;
    operator_ = matrix_copies * 8.0 * n_ * n_ + forming_bytes();
    if (!fits(data_ + operator_ + least_krylov()))
      refuse(data_ + operator_ + least_krylov(), "the matrix", remedy);
    plan_.flops = forming_flops() + plan_.products * 2.0 * n_ * n_;
    plan_.seconds = forming_flops() / product_rate() + plan_.products * n_ * n_ * 4.0 / 1e10;
  }

  void choose_tiles() {
    plan_.form = Plan::Form::tiles;
    const double working = KernelOperator::working_bytes(spec_.kernel, rows_, inputs_, 8);
    const auto kept = [&](KernelStorage storage) {
      return KernelOperator::storage_bytes(rows_, storage) + working;
    };
    const auto room = [&](double bytes) { return fits(data_ + bytes + 2.0 * least_krylov()); };
    const bool wide = compute_.precision != PrecisionChoice::float32;
    const bool narrow = compute_.precision != PrecisionChoice::float64;
    plan_.storage = KernelStorage::none;
    if (compute_.storage != StorageChoice::none) {
      if (wide && room(kept(KernelStorage::float64)))
        plan_.storage = KernelStorage::float64;
      else if (narrow && room(kept(KernelStorage::float32)))
        plan_.storage = KernelStorage::float32;
      else if (compute_.storage == StorageChoice::memory)
        refuse(data_ + kept(narrow ? KernelStorage::float32 : KernelStorage::float64) + 2.0 * least_krylov(),
               "the kernel's lower triangle", "--storage none keeps no entries");
    }
    operator_ = plan_.storage == KernelStorage::none ? working : kept(plan_.storage);
    // Entries that are evaluated once are evaluated in float64; over and over, in float32 unless asked.
    const bool once = plan_.storage != KernelStorage::none;
    plan_.precision = (once && wide) || compute_.precision == PrecisionChoice::float64 ? Precision::float64
                                                                                       : Precision::float32;
    const double evaluations = once ? 1.0 : plan_.products / 4.0;  // blocks share them
    plan_.flops = 0.5 * n_ * n_ * entry_flops() * evaluations + plan_.products * 2.0 * n_ * n_;
    const double faster = plan_.precision == Precision::float32 ? 2.0 : 1.0;
    plan_.seconds = 0.5 * n_ * n_ * entry_flops() * evaluations / (faster * product_rate()) +
                    plan_.products * n_ * n_ * 2.0 / 1e10;
  }

  void choose_jacobian() {
    plan_.form = Plan::Form::jacobian;
    if (sizes_) {
      choose_layered_jacobian();
      return;
    }
    plan_.precision =
        compute_.precision == PrecisionChoice::float64 ? Precision::float64 : Precision::float32;
    operator_ = JacobianOperator::working_bytes(spec_.network, inputs_, rows_, plan_.precision);
    const double sweeps = JacobianOperator::sweep_bytes(spec_.network, inputs_, rows_, plan_.precision);
    if (fits(data_ + operator_ + sweeps + 2.0 * least_krylov())) {
      plan_.sweep_cache = sweeps;
      operator_ += sweeps;
    }
    const double per_column =
        JacobianOperator::flops_per_apply(spec_.network, inputs_, rows_, plan_.sweep_cache > 0.0);
    plan_.flops = plan_.products * per_column;
    plan_.seconds = plan_.flops / ((plan_.precision == Precision::float32 ? 2.0 : 1.0) * product_rate());
  }

  void choose_layered_jacobian() {
    if (compute_.precision == PrecisionChoice::float32)
      throw InputError("--precision float32: the sweeps of a network of layers are in float64");
    plan_.precision = Precision::float64;
    operator_ = JacobianOperator::working_bytes(*sizes_, inputs_, rows_);
    const double sweeps = JacobianOperator::sweep_bytes(*sizes_, rows_);
    if (fits(data_ + operator_ + sweeps + 2.0 * least_krylov())) {
      plan_.sweep_cache = sweeps;
      operator_ += sweeps;
    }
    plan_.flops = plan_.products * JacobianOperator::flops_per_apply(*sizes_, rows_, plan_.sweep_cache > 0.0);
    plan_.seconds = plan_.flops / product_rate();
  }

  // Where predictions will have standard deviations, and the operator entries.
  bool calibrates() const {
    if (!asks_for_rules(question_) || plan_.form == Plan::Form::products) return false;
    return spec_.kind != OperatorKind::finite || rows_ <= FittedModel::most_factored_rows;
  }

  // What the operator leaves goes to the errors that calibrate, the Krylov basis and the probes kept for rule
  // loo.
  void divide_memory() {
    double left = plan_.available > 0.0 ? plan_.available - data_ - operator_ : 1e300;
    if (left < 0.5 * least_krylov())
      refuse(data_ + operator_ + least_krylov(), fmt::format("{} Krylov vectors among it", fewest_steps),
             plan_.form == Plan::Form::jacobian && compute_.precision == PrecisionChoice::float64
                 ? "--precision float32 takes less"
             : compute_.max_memory > 0.0 ? "raise --max-memory"
                                         : "use fewer rows or a machine with more memory");
    if (calibrates())
      plan_.calibration_rows =
          std::min({rows_, most_calibrated_rows,
                    static_cast<Index>(std::sqrt(calibration_share * left / (8.0 * calibration_copies)))});
    const double calibration =
        calibration_copies * 8.0 * std::pow(static_cast<double>(plan_.calibration_rows), 2);
    left -= calibration;
    const double eigen = 7.0 * std::pow(static_cast<double>(plan_.calibration_rows), 3);
    plan_.flops += eigen;
    plan_.seconds += eigen / product_rate();
    const double share = question_ == Question::every_rule ? 0.6 : 0.9;
    double steps = share * left / (8.0 * n_);
    if (steps < 200.0) {
      plan_.basis = BasisPrecision::float32;
      steps *= 2.0;
    }
    plan_.max_steps = std::clamp<Index>(static_cast<Index>(std::min(steps, 1e6)), 2, most_steps);
    const double probe = 4.0 * n_ * static_cast<double>(most_probe_steps);
    double kept =
        question_ == Question::every_rule ? std::floor(std::min(16.0, (1.0 - share) * left / probe)) : 0.0;
    if (kept < 4.0) kept = 0.0;
    plan_.loo_probes = static_cast<Index>(kept);
    const double vector = plan_.basis == BasisPrecision::float64 ? 8.0 : 4.0;
    plan_.memory = data_ + operator_ + calibration + kept * probe +
                   vector * n_ * std::min<double>(static_cast<double>(plan_.max_steps), n_);
  }

  double n_, d_;
  Index rows_, inputs_;
  const OperatorSpec& spec_;
  Question question_;
  const ComputeOptions& compute_;
  std::optional<LayeredSizes> sizes_;  // of a network of layers
  Plan plan_;
  double data_ = 0.0, operator_ = 0.0;
};

std::string duration(double seconds) {
  if (seconds < 90.0) return fmt::format("{:.2g} s", std::max(seconds, 0.1));
  if (seconds < 5400.0) return fmt::format("{:.0f} min", seconds / 60.0);
  return fmt::format("{:.1f} h", seconds / 3600.0);
}

}  // namespace

bool asks_for_rules(Question question) {
  return question == Question::one_rule || question == Question::one_traced_rule ||
         question == Question::every_rule;
}

EngineChoice parse_engine(const std::string& text) {
  return parse<EngineChoice, 3>("--engine", text,
                                {{{"auto", EngineChoice::automatic},
                                  {"dense", EngineChoice::dense},
                                  {"krylov", EngineChoice::krylov}}});
}

StorageChoice parse_storage(const std::string& text) {
  return parse<StorageChoice, 3>("--storage", text,
                                 {{{"auto", StorageChoice::automatic},
                                   {"memory", StorageChoice::memory},
                                   {"none", StorageChoice::none}}});
}

PrecisionChoice parse_precision_choice(const std::string& text) {
  return parse<PrecisionChoice, 3>("--precision", text,
                                   {{{"auto", PrecisionChoice::automatic},
                                     {"float32", PrecisionChoice::float32},
                                     {"float64", PrecisionChoice::float64}}});
}

std::string Plan::text(Index n) const {
  std::string how;
  if (engine == Engine::dense) {
    how = "an eigendecomposition (--engine dense)";
  } else {
    how = "Krylov spaces";
    if (form == Form::products) how += " of an operator given by its products";
    if (form == Form::matrix) how += " of the matrix";
    if (form == Form::tiles && storage == KernelStorage::none)
      how += fmt::format(", entries evaluated anew in {}", to_string(precision));
    if (form == Form::tiles && storage != KernelStorage::none)
      how += fmt::format(", entries kept in {}", storage == KernelStorage::float32 ? "float32" : "float64");
    if (form == Form::jacobian)
      how += fmt::format(", matrix-free in {}{}", to_string(precision),
                         sweep_cache > 0.0 ? ", sweeps kept" : ", sweeps recomputed");
    how += fmt::format(", about {:.0f} products", products);
  }
  return fmt::format("n = {}: {}; at most {:.2g} GB of memory{}; of the order of {}", n, how, memory / 1e9,
                     available > 0.0 ? fmt::format(" of {:.2g} GB", available / 1e9) : std::string(),
                     duration(seconds));
}

Plan make_plan(Index n, Index d, Index fixed_effects, const OperatorSpec& spec, Question question,
               const ComputeOptions& compute) {
  require_address_space();
  return Planner(n, d, fixed_effects, spec, question, compute).make();
}

std::unique_ptr<TrainingOperator> build_operator(const KernelSource& kernel, ConstBlock X, const Plan& plan) {
  if (plan.form == Plan::Form::tiles)
    return std::make_unique<KernelOperator>(
        kernel.kernel().value(), X, KernelOptions{.storage = plan.storage, .precision = plan.precision});
  if (plan.form == Plan::Form::jacobian && kernel.layered())
    return std::make_unique<JacobianOperator>(*kernel.layered(), X,
                                              JacobianOptions{.cache_bytes = plan.sweep_cache});
  if (plan.form == Plan::Form::jacobian)
    return std::make_unique<JacobianOperator>(
        kernel.network().value(), X,
        JacobianOptions{.precision = plan.precision, .cache_bytes = plan.sweep_cache});
  return kernel.training(X);
}

}  // namespace gradflow
