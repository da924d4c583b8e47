#pragma once

#include <cstdint>
#include <limits>
#include <string>

#include "gradflow/inference/binary_test.h"
#include "gradflow/inference/classification_scores.h"
#include "gradflow/inference/resampled_p_value.h"
#include "gradflow/operators/training_operator.h"

namespace gradflow {

struct ClassTestOptions {
  Index draws = 9999;          ///< R of the permutations, >= 1
  std::uint64_t seed = 1;      ///< streams "class permutation BLOCK"
  Index block = 64;            ///< permutations per product with H, >= 1
  Index asymptotic_from = 30;  ///< rows of the smallest class from which on no permutation is made, >= 1
  void check() const;
};

/// Score test of training for K classes: does the operator tell any of them apart? With the indicators
/// Y (n x K), their frequencies f (K) and E = Y - 1 f',
///
///     Q = tr E'HE = sum_c Q_c,     Q_c = e_c'H e_c,     large Q rejects
///
///     asymptotic     Pr( sum_ik v_k lambda_i chi2_1 > Q ),  lambda of H with the intercept projected out,
///                    v the eigenvalues of diag(f) - ff', the covariance of a row's indicators; of class c
///                    alone f_c (1 - f_c) in the place of v: binary_test.h's of that class against the rest
///     permutation    of the rows of Y: exact at any size and balance
///
/// One joint test, so nothing is to be corrected for the number of classes; the p-values of single classes
/// are descriptions, uncorrected. For K = 2 all three are equal. Rare classes weigh little in Q. `p_value` is
/// the asymptotic one where the smallest class has `asymptotic_from` rows, else the permutation's, which are
/// drawn only then.
///
/// Outcome unidentified where all rows have one class or H distinguishes nothing. Cost the eigenvalues, and
/// R K products with H where permutations are drawn. Same draws for any number of threads. Sources: of
/// binary_test.h.
struct ClassTest {
  Outcome outcome = Outcome::not_run;
  std::string reason = "class_test() has not been called";
  double statistic = std::numeric_limits<double>::quiet_NaN();  ///< Q
  BinaryNull method = BinaryNull::asymptotic;                   ///< whose p-value p_value is
  double p_value = std::numeric_limits<double>::quiet_NaN();
  double log10_p_value = std::numeric_limits<double>::quiet_NaN();
  double standard_error = std::numeric_limits<double>::quiet_NaN();  ///< of p_value; 0: asymptotic
  double log10_p_value_asymptotic = std::numeric_limits<double>::quiet_NaN();
  ResampledPValue resampled{};  ///< permutations; draws = 0: none were made
  Vector class_statistic;       ///< K, Q_c
  Vector class_p_value;         ///< K, by the same method; NaN: a class without rows
};

/// Throws InputError for labels out of range or a number of them that is not n.
ClassTest class_test(const TrainingOperator& H, const Labels& labels, Index classes,
                     const ClassTestOptions& options = {});

}  // namespace gradflow
