#pragma once

#include <array>
#include <cstdint>
#include <limits>
#include <string>
#include <string_view>

#include "gradflow/model/operator_spec.h"

namespace gradflow {

/// Data of which the truth is known:
///
///     y_i = f(x_i) + s e_i,     e independent with mean 0 and variance 1
///
///     name          f(x)                                                       features        d     s
///     friedman1     10 sin(pi x1 x2) + 20 (x3 - 1/2)^2 + 10 x4 + 5 x5          U(0, 1)         10    1
///     friedman2     sqrt(x1^2 + (x2 x3 - 1/(x2 x4))^2)                         ranges below    4     125
///     friedman3     atan((x2 x3 - 1/(x2 x4)) / x1)                             ranges below    4     0.1
///     mixed         x1 + x2/2 + 3/2 [x3 > 0] + x4 x5                           N(0, 1)         10    1
///     simple        0.2 (0.5 x1 + 0.8 tanh x2 + sin x3 + 0.6 x4 + 0.3 x5^2     N(0, 1)         10    0.5
///                   + 0.05 exp x6 + cos x7 + 0.5 |x8| + 0.4 x9 + 0.7 sin x10)
///     nonlinear     x2 sin(2 x1) + x3^2 / 2                                    N(0, 1)         10    0.3
///     single-index  sin(2 u) + u/2,  u = (x1 + ... + xd) / sqrt(d)             N(0, 1)         10    0.5
///     parity        x1 x2 x3                                                   -1 or +1        20    0.5
///     null          0                                                          N(0, 1)         10    1
///     model         f0 + N(0, s^2 tau H) at the rows, H = Theta(X, X)/n        N(0, 1)         10    1
///
/// d and s are what `features` = 0 and `noise` < 0 stand for. Features that f does not read are noise. Ranges
/// of friedman2 and friedman3: x1 in (0, 100), x2 in (40 pi, 560 pi), x3 in (0, 1), x4 in (1, 11), uniform.
/// In `model`, Theta is the kernel of `operator_spec` and f0 its network's output at initialization (0 at
/// infinite width): the random-effects model itself, with tau of path `ridge` (inference/path.h) at the rows
/// as they are, not standardised. Sources: Friedman (1991) and Breiman (1996), as scikit-learn's
/// make_friedman1 to 3; simple and nonlinear: the reference implementation of arXiv 2605.27991; mixed,
/// single-index and parity: ours.
enum class TestFunction {
  friedman1,
  friedman2,
  friedman3,
  mixed,
  simple,
  nonlinear,
  single_index,
  parity,
  null,
  model
};
inline constexpr std::array<TestFunction, 10> all_test_functions{
    TestFunction::friedman1, TestFunction::friedman2, TestFunction::friedman3,    TestFunction::mixed,
    TestFunction::simple,    TestFunction::nonlinear, TestFunction::single_index, TestFunction::parity,
    TestFunction::null,      TestFunction::model};

std::string_view to_string(TestFunction function);
TestFunction parse_test_function(const std::string& text);  ///< throws InputError listing the names
std::string_view formula(TestFunction function);            ///< one line, as in the table above
Index default_features(TestFunction function);              ///< d
double default_noise(TestFunction function);                ///< s

/// f at the rows of X (n x d). Throws InputError for too few columns and for `model`, which has no formula.
Vector evaluate(TestFunction function, ConstBlock X);

/// Of e, each with mean 0 and variance 1.
///
///     normal   N(0, 1)
///     t3       Student's t with 3 degrees of freedom, over sqrt(3): infinite fourth moment
///     skewed   an exponential variable less 1: skewness 2
enum class NoiseKind { normal, t3, skewed };

std::string_view to_string(NoiseKind kind);
NoiseKind parse_noise_kind(const std::string& text);  ///< throws InputError listing the names

/// What is drawn. Rows come in groups: row i has the inputs of draw i div (copies replicates) and the noise
/// of draw i div copies, so `copies` rows in a row are equal in x and y, and `replicates` such groups are
/// equal in x only. The last group is cut off at `rows`.
struct SimulationOptions {
  TestFunction function = TestFunction::friedman1;
  Index rows = 200;    ///< n, 2 to 10^9, all rows counted
  Index features = 0;  ///< d; 0: the function's own number

  double noise = -1.0;  ///< s >= 0, units of f; negative: the function's own
  /// > 0: s^2 = (variance of f over these rows) / this, instead of `noise`; for `model` it sets tau.
  double signal_to_noise = 0.0;
  NoiseKind noise_kind = NoiseKind::normal;

  /// rho in (-1, 1): the normals z_j behind the features are an AR(1) series over the columns, cor(z_j, z_k)
  /// = rho^|j-k|; uniform features are Phi(z_j), signs are sign(z_j).
  double correlation = 0.0;
  Index copies = 1;      ///< >= 1
  Index replicates = 1;  ///< >= 1

  /// K >= 2: y is the class 0, ..., K - 1 of f + s e, cut where the classes have n/K rows each, up to
  /// rounding and equal values. 0: y itself.
  Index classes = 0;
  double binary_rate = 0.0;  ///< in (0, 1): two classes, class 1 the largest rate n values. 0: not asked for

  std::uint64_t seed = 1;
  std::uint64_t replicate = 0;  ///< data sets of one seed with different numbers are independent
  bool fixed_inputs = false;    ///< X is that of replicate 0 for every replicate

  OperatorSpec operator_spec{};  ///< model: infinite (the default kernel) or finite
  /// model: >= 0, units of 1/eigenvalue of H; negative: what makes the expected variance of f (about f0),
  /// s^2 tau tr(H)/n, the noise's times signal_to_noise (times 1 where that is 0)
  double tau = -1.0;

  void check() const;  ///< throws InputError naming the field
};

struct SimulatedData {
  Matrix X;                      ///< n x d
  Vector y;                      ///< n; class numbers under `classes` and `binary_rate`
  Vector f;                      ///< n, the truth: y without noise (before any cut into classes)
  double noise = 0.0;            ///< s
  double signal_to_noise = 0.0;  ///< variance of f over the rows / s^2; infinite for s = 0
  double tau = std::numeric_limits<double>::quiet_NaN();  ///< of `model`; NaN: another function
};

/// Draws a data set. The same options give the same bits for any number of threads. Cost n d, and for `model`
/// m^3/3 flops and 3 m^2 doubles with m distinct inputs (about 10 m^3 flops where H is singular to rounding).
/// Throws InputError for options that contradict each other, a kernel that cannot be evaluated, too little
/// memory, and classes that would be empty.
SimulatedData simulate(const SimulationOptions& options);

}  // namespace gradflow
