#include "gradflow/operators/kernel_sum.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "gradflow/base/error.h"
#include "gradflow/base/parallel.h"
#include "gradflow/base/random.h"
#include "gradflow/operators/kernel_operator.h"
#include "gradflow/operators/make_operator.h"
#include "laws/training_operator_laws.h"
#include "operators/kernel_lanes.h"
#include "operators/test_support.h"

namespace gradflow {
namespace {

using Kind = KernelTerm::Kind;

const Kind kinds[] = {Kind::network, Kind::linear, Kind::rbf, Kind::matern32, Kind::matern52};
const Kind stationary_kinds[] = {Kind::rbf, Kind::matern32, Kind::matern52};

KernelSum one(Kind kind, const Vector& relevance = {}) {
  KernelSum kernel;
  kernel.terms.push_back({.kind = kind, .relevance = relevance});
  return kernel;
}

/// Every kind at once, each with its own weight and relevances of d features; one relevance of each is 0.
KernelSum everything(Index d) {
  RandomStream random(21, "relevance");
  KernelSum kernel;
  double weight = 0.4;
  Index zero = 0;
  for (const Kind kind : kinds) {
    Vector relevance = random.normals(d, 1).cwiseAbs();
    relevance(zero++ % d) = 0.0;
    kernel.terms.push_back({.kind = kind, .weight = weight *= 1.5, .relevance = relevance});
  }
  return kernel;
}

bool is_rounded(const KernelOptions& options) {
  return options.precision == Precision::float32 || options.storage == KernelStorage::float32;
}

/// Of an entry, relative to sqrt(Theta_ii Theta_jj): rounding to float where entries are stored; evaluated in
/// float, ten of its roundings, and for networks what kernel_operator_test.cpp allows two layers.
double entry_tolerance(const KernelOptions& options, const KernelSum& kernel) {
  if (options.precision == Precision::float64)
    return options.storage == KernelStorage::float32 ? 6.1e-8 : 1e-13;
  for (const KernelTerm& term : kernel.terms)
    if (term.kind == Kind::network) return 1.2e-5;
  return 6e-7;
}

std::string refusal(const std::string& text) {
  try {
    return to_string(parse_kernel_sum(text));
  } catch (const InputError& error) {
    return error.what();
  }
}

std::string refusal(const KernelSum& kernel, Index inputs) {
  try {
    kernel.check(inputs);
  } catch (const InputError& error) {
    return error.what();
  }
  return "accepted";
}

TEST(KernelSum, StationaryKernelsAtDistanceOneAreTheirClosedForms) {
  const Matrix X{{1.0, 1.0}, {0.0, 0.0}};  // |x - x'|^2 / d = 1

  // mpmath 1.3.0 with 30 digits: exp(-1/2), (1 + sqrt 3) exp(-sqrt 3), (1 + sqrt 5 + 5/3) exp(-sqrt 5)
  EXPECT_NEAR(kernel_gram(one(Kind::rbf), X)(1, 0), 0.606530659712633423604, 2e-16);
  EXPECT_NEAR(kernel_gram(one(Kind::matern32), X)(1, 0), 0.483357724596507650595, 2e-16);
  EXPECT_NEAR(kernel_gram(one(Kind::matern52), X)(1, 0), 0.523994108831820310593, 2e-16);
}

TEST(KernelSum, StationaryKernelsWithRelevancesAgreeWithScikitLearn) {
  const Matrix X{{0.5, -1.0, 2.0}, {1.5, 0.25, -0.75}, {-2.0, 0.0, 1.0}};
  const Vector relevance{{0.5, 2.0, 1.25}};
  // scikit-learn 1.9.1, RBF and Matern(nu = 1.5, 2.5) with length_scale = sqrt(3) / relevance
  const Matrix expected{{0.04722960421775859, 0.3049827687110592, 0.25934154615374416},
                        {0.07310305682757533, 0.2542907580541911, 0.22342073925689615},
                        {0.06655738788934039, 0.26786737456987947, 0.23281667744409035}};

  for (int k = 0; k < 3; ++k) {
    const Matrix gram = kernel_gram(one(stationary_kinds[k], relevance), X);
    EXPECT_NEAR(gram(1, 0), expected(k, 0), 1e-15);
    EXPECT_NEAR(gram(2, 0), expected(k, 1), 1e-15);
    EXPECT_NEAR(gram(2, 1), expected(k, 2), 1e-15);
  }
}

TEST(KernelSum, TheLinearKernelIsTheProductOfTheFeatures) {
  const Matrix X = RandomStream(1, "test").normals(200, 7), X_new = RandomStream(2, "test").normals(40, 7);
  const Vector relevance = RandomStream(3, "test").normals(7, 1).cwiseAbs();

  const Matrix gram = kernel_gram(one(Kind::linear), X);
  const Matrix scaled = kernel_cross(one(Kind::linear, relevance), X_new, X);

  EXPECT_LE((gram - X * X.transpose() / 7.0).cwiseAbs().maxCoeff(), 1e-14);
  EXPECT_LE((scaled - X_new * relevance.cwiseAbs2().asDiagonal() * X.transpose() / 7.0).cwiseAbs().maxCoeff(),
            1e-14);
}

TEST(KernelSum, ARelevanceOfZeroIsAFeatureLeftOutButForTheirNumber) {
  const Matrix X = RandomStream(4, "test").normals(150, 3), X_new = RandomStream(5, "test").normals(20, 3);
  const Vector relevance{{0.7, 0.0, 1.9}};
  const std::vector<Index> left{0, 2};
  const Vector rest = relevance(left) * std::sqrt(2.0 / 3.0);  // a mean over 3 features, where 2 are left

  for (const Kind kind : kinds) {
    const KernelSum with = one(kind, relevance), without = one(kind, rest);
    const Matrix Z = X(Eigen::all, left), Z_new = X_new(Eigen::all, left);
    // The features differ by rounding, which is relative to the kernel's own size.
    const double rounding = 1e-13 * std::max(1.0, kernel_diagonal(with, X).maxCoeff());
    EXPECT_LE((kernel_gram(with, X) - kernel_gram(without, Z)).cwiseAbs().maxCoeff(), rounding);
    EXPECT_LE((kernel_cross(with, X_new, X) - kernel_cross(without, Z_new, Z)).cwiseAbs().maxCoeff(),
              rounding);
    EXPECT_LE((kernel_diagonal(with, X) - kernel_diagonal(without, Z)).cwiseAbs().maxCoeff(), rounding);
  }
}

TEST(KernelSum, ASumIsTheSumOfItsTerms) {
  const Matrix X = RandomStream(6, "test").normals(200, 4), X_new = RandomStream(7, "test").normals(150, 4);
  const KernelSum kernel = everything(4);
  Matrix gram = Matrix::Zero(200, 200), cross = Matrix::Zero(150, 200);
  Vector diagonal = Vector::Zero(200);

  for (const KernelTerm& term : kernel.terms) {  // the features scaled by hand
    const Matrix Z = X * term.relevance.asDiagonal(), Z_new = X_new * term.relevance.asDiagonal();
    gram += term.weight * kernel_gram(one(term.kind), Z);
    cross += term.weight * kernel_cross(one(term.kind), Z_new, Z);
    diagonal += term.weight * kernel_diagonal(one(term.kind), Z);
  }

  const double scale = diagonal.maxCoeff();
  EXPECT_LE((kernel_gram(kernel, X) - gram).cwiseAbs().maxCoeff(), 1e-14 * scale);
  EXPECT_LE((kernel_cross(kernel, X_new, X) - cross).cwiseAbs().maxCoeff(), 1e-14 * scale);
  EXPECT_LE((kernel_diagonal(kernel, X) - diagonal).cwiseAbs().maxCoeff(), 1e-14 * scale);
}

TEST(KernelSum, EqualRowsHaveACorrelationOfExactlyOneFarFromTheOrigin) {
  Matrix X = RandomStream(8, "test").normals(140, 5).array() + 1e8;
  X.row(139) = X.row(0);

  for (const Kind kind : stationary_kinds) {
    EXPECT_EQ(kernel_gram(one(kind), X)(139, 0), 1.0);
    EXPECT_EQ(kernel_cross(one(kind), X.bottomRows(1), X)(0, 0), 1.0);
    for (const KernelOptions& options : all_kernel_options())
      EXPECT_EQ(KernelOperator(one(kind), X, options).matrix()(139, 0), 1.0 / 140.0);
  }
}

TEST(KernelSum, DistancesFarFromTheOriginAreThoseNearIt) {
  const Matrix steps = (RandomStream(9, "test").normals(140, 5) * 16.0).array().round() / 16.0;
  const Matrix far = steps.array() + 0x1p26;  // no rounding

  for (const Kind kind : stationary_kinds)
    for (const Precision precision : {Precision::float64, Precision::float32}) {
      const Matrix near_entries = KernelOperator(one(kind), steps, {KernelStorage::none, precision}).matrix();
      const Matrix far_entries = KernelOperator(one(kind), far, {KernelStorage::none, precision}).matrix();
      EXPECT_LE((140.0 * (near_entries - far_entries)).cwiseAbs().maxCoeff(),
                precision == Precision::float32 ? 1e-6 : 0.0);
    }
}

TEST(KernelSum, StationaryKernelsOfFarRowsVanishAndOfHugeRowsAreFinite) {
  Matrix X = Matrix::Zero(3, 2);
  X.row(1).setConstant(100.0);
  X.row(2).setConstant(1e30);

  for (const Kind kind : stationary_kinds) {
    const Matrix gram = kernel_gram(one(kind), X);
    EXPECT_LE(gram(1, 0), 1e-65);
    EXPECT_LE(gram(2, 0), 1e-290);
    EXPECT_GE(gram.minCoeff(), 0.0);
  }
}

TEST(KernelSum, TheCrossMatrixOfTheTrainingRowsIsTheGramMatrix) {
  const Matrix X = RandomStream(10, "test").normals(300, 6);

  for (const Kind kind : stationary_kinds)
    EXPECT_TRUE((kernel_gram(one(kind), X).array() == kernel_cross(one(kind), X, X).array()).all());
  const KernelSum kernel = everything(6);
  EXPECT_LE((kernel_gram(kernel, X) - kernel_cross(kernel, X, X)).cwiseAbs().maxCoeff(),
            1e-13 * kernel_diagonal(kernel, X).maxCoeff());
}

TEST(KernelSum, TilesAgreeWithTheGramMatrixForEveryKindAndRemainder) {
  for (const Index n : {1, 127, 128, 200, 300}) {
    const Matrix X = RandomStream(11, "test").normals(n, 5), V = RandomStream(11, "block").normals(n, 3);
    std::vector<KernelSum> kernels{everything(5)};
    for (const Kind kind : kinds) kernels.push_back(one(kind));
    kernels.push_back(parse_kernel_sum("0.25*ntk:erf:1"));
    for (const KernelSum& kernel : kernels) {
      const Matrix reference = kernel_gram(kernel, X) / static_cast<double>(n);
      const Vector root = reference.diagonal().cwiseSqrt();
      for (const KernelOptions& options : all_kernel_options()) {
        const KernelOperator H(kernel, X, options);
        const Matrix allowed = entry_tolerance(options, kernel) * root * root.transpose();
        EXPECT_LE(((H.matrix() - reference).cwiseAbs() - allowed).maxCoeff(), 0.0) << to_string(kernel);
        EXPECT_LE(((applied(H, V) - reference * V).cwiseAbs() - 2.0 * allowed * V.cwiseAbs()).maxCoeff(), 0.0)
            << to_string(kernel);
        EXPECT_NEAR(H.squared_norm(), reference.squaredNorm(),
                    4.0 * entry_tolerance(options, kernel) * reference.trace() * reference.trace());
      }
    }
  }
}

TEST(KernelSum, EveryWidthOfVectorsAgreesWithTheWidest) {
  const Matrix X = RandomStream(12, "test").normals(140, 4), V = RandomStream(12, "block").normals(140, 2);
  const KernelSum kernel = everything(4);
  for (const KernelOptions& options : all_kernel_options()) {
    const Matrix widest = applied(KernelOperator(kernel, X, options), V);
    for (const lanes::Level level : {lanes::Level::baseline, lanes::Level::avx2}) {
      lanes::limit(level);
      const Matrix product = applied(KernelOperator(kernel, X, options), V);
      lanes::limit(lanes::Level::avx512);
      EXPECT_LE((product - widest).norm(), entry_tolerance(options, kernel) * widest.norm());
    }
  }
}

TEST(KernelSum, TilesAndTheDenseOperatorObeyTheLaws) {
  RandomStream random(13, "test");
  const Matrix X = random.normals(150, 4);
  const KernelSum kernel = everything(4);

  for (const KernelOptions& options : all_kernel_options())
    EXPECT_EQ(laws::broken_by(KernelOperator(kernel, X, options), random, is_rounded(options) ? 2e-7 : 1e-12),
              std::vector<std::string>{});
  EXPECT_EQ(laws::broken_by(*make_operator(kernel, X), random), std::vector<std::string>{});
}

TEST(KernelSum, TilesGiveTheSameBitsForAnyNumberOfThreads) {
  const int before = threads();
  const Matrix X = RandomStream(14, "test").normals(700, 4), V = RandomStream(14, "block").normals(700, 2);
  const KernelSum kernel = everything(4);
  for (const KernelOptions& options : all_kernel_options()) {
    set_threads(1);
    const Matrix alone = applied(KernelOperator(kernel, X, options), V);
    set_threads(2);
    const Matrix together = applied(KernelOperator(kernel, X, options), V);
    EXPECT_TRUE((alone.array() == together.array()).all());
  }
  set_threads(before);
}

TEST(KernelSum, EntriesAndDiagonalOfTilesAreThoseOfTheGramMatrix) {
  const Matrix X = RandomStream(15, "test").normals(150, 3);
  const std::vector<Index> rows{149, 0, 7, 128, 7}, cols{7, 149, 130};
  const KernelSum kernel = everything(3);
  const Matrix reference = kernel_gram(kernel, X) / 150.0;

  for (const KernelOptions& options : all_kernel_options()) {
    const KernelOperator H(kernel, X, options);
    EXPECT_LE((H.entries(rows, cols) - reference(rows, cols)).cwiseAbs().maxCoeff(),
              entry_tolerance(options, kernel) * reference.diagonal().maxCoeff());
    EXPECT_LE((H.diagonal() - reference.diagonal()).cwiseAbs().maxCoeff(), 1e-14 * reference.trace());
  }
}

TEST(KernelSum, EveryTermCountsItsRows) {
  const double single = KernelOperator::working_bytes(InfiniteArchitecture{}, 50000, 10, 1);
  const double sum = KernelOperator::working_bytes(parse_kernel_sum("ntk:relu:2 + rbf"), 50000, 10, 1);
  const double deeper =
      KernelOperator::working_bytes(parse_kernel_sum("ntk:relu:2 + ntk:relu:4"), 50000, 10, 1);

  EXPECT_NEAR(sum - single, 50000 * 8.0 * 10, 128 * 8.0 * 10);
  EXPECT_NEAR(deeper - single, 50000 * 8.0 * (10 + 5 * 4), 128 * 8.0 * 30);
}

TEST(KernelSum, TextAndKernelAreInverse) {
  for (const char* text :
       {"ntk:relu:2", "linear", "rbf", "matern32", "matern52", "0.3*linear", "ntk:relu:2 + 0.3*linear",
        "1e+20*nngp:leaky-relu@0.2:3,sw2=1e+30,sb2=1e-07 + 1e-20*rbf + matern32 + 7*matern52"})
    EXPECT_EQ(to_string(parse_kernel_sum(text)), text);
  RandomStream random(16, "test");
  for (int repeat = 0; repeat < 20; ++repeat) {
    KernelSum kernel;
    for (const Kind kind : kinds)
      kernel.terms.push_back({.kind = kind, .weight = std::exp(20.0 * random.normals(1, 1)(0, 0))});
    kernel.terms.front().network.sw2 = std::exp(20.0 * random.normals(1, 1)(0, 0));
    EXPECT_EQ(parse_kernel_sum(to_string(kernel)), kernel) << to_string(kernel);
  }
}

TEST(KernelSum, SpacesDoNotMatter) {
  EXPECT_EQ(to_string(parse_kernel_sum("ntk:relu:2+2.5e+1 * linear  +rbf")), "ntk:relu:2 + 25*linear + rbf");
  EXPECT_EQ(parse_kernel_sum(" rbf "), one(Kind::rbf));
}

TEST(KernelSum, KernelsAreEqualInAllThatMatters) {
  const KernelSum kernel = parse_kernel_sum("ntk:relu:2 + 0.3*linear");
  KernelSum other = kernel;
  other.terms[1].network.depth = 7;  // of a linear term
  EXPECT_EQ(other, kernel);
  other.terms[1].weight = 0.4;
  EXPECT_FALSE(other == kernel);
  EXPECT_FALSE(one(Kind::rbf) == one(Kind::rbf, Vector::Ones(2)));
  EXPECT_FALSE(one(Kind::rbf, Vector::Ones(3)) == one(Kind::rbf, Vector::Ones(2)));
  EXPECT_FALSE(KernelSum(InfiniteArchitecture{}) == kernel);
}

TEST(KernelSum, WrongTextsAreRefusedInASentence) {
  const std::string remedy =
      "; write a sum of networks, linear, rbf, matern32 and matern52, with weights where they are not 1, for "
      "example ntk:relu:2 + 0.3*linear";

  EXPECT_EQ(refusal("ntk:relu:2 + lnear"), "kernel 'ntk:relu:2 + lnear': 'lnear' is no kernel" + remedy);
  EXPECT_EQ(refusal(""), "kernel '': a term is empty" + remedy);
  EXPECT_EQ(refusal("rbf +"), "kernel 'rbf +': a term is empty" + remedy);
  EXPECT_EQ(refusal("-1*rbf"), "kernel '-1*rbf': '-1' is no weight, a finite number > 0" + remedy);
  EXPECT_EQ(refusal("nan*rbf"), "kernel 'nan*rbf': 'nan' is no weight, a finite number > 0" + remedy);
  EXPECT_EQ(refusal("2*3*rbf"), "kernel '2*3*rbf': '3*rbf' is no kernel" + remedy);
  EXPECT_EQ(refusal("ntk:relu:x"),
            "kernel 'ntk:relu:x': 'x' is not a number of hidden layers from 0 to 1000; write "
            "KIND:ACTIVATION:LAYERS with KIND ntk or nngp, for example ntk:relu:2");
  EXPECT_EQ(refusal("rbf + ntk:relu:x"),
            "kernel 'rbf + ntk:relu:x': in a term, kernel 'ntk:relu:x': 'x' is not a number of hidden layers "
            "from 0 to 1000; write KIND:ACTIVATION:LAYERS with KIND ntk or nngp, for example ntk:relu:2");
}

TEST(KernelSum, WrongValuesAreRefusedWithTheTermAndTheField) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  KernelSum negative = parse_kernel_sum("rbf + ntk:relu:2");
  negative.terms[1].network.sb2 = -1.0;
  KernelSum weightless = parse_kernel_sum("rbf + linear");
  weightless.terms[1].weight = 0.0;

  EXPECT_EQ(refusal(KernelSum{}, 2), "a kernel has no terms: it needs at least one");
  EXPECT_EQ(refusal(negative, 2),
            "kernel term 2 (ntk:relu:2,sb2=-1): kernel sb2 = -1: must be >= 0 and finite");
  EXPECT_EQ(refusal(weightless, 2), "kernel term 2 (0*linear): weight = 0: must be > 0 and finite");
  EXPECT_EQ(refusal(one(Kind::rbf), 0), "number of features = 0: a kernel needs at least one");
  EXPECT_EQ(refusal(one(Kind::rbf, Vector::Ones(3)), 2),
            "kernel term 1 (rbf): relevance has 3 entries for 2 features");
  EXPECT_EQ(refusal(one(Kind::rbf, Vector{{1.0, nan}}), 2),
            "kernel term 1 (rbf): relevance 2 = nan: must be >= 0 and finite");
  EXPECT_EQ(refusal(one(Kind::rbf, Vector::Zero(2)), 2),
            "kernel term 1 (rbf): relevance is 0 for every feature: one at least must be > 0");
  EXPECT_EQ(refusal(one(Kind::rbf, Vector{{0.0, 1.0}}), 2), "accepted");
}

TEST(KernelSum, WhatFloatCannotHoldIsRefused) {
  const Matrix X = RandomStream(17, "test").normals(5, 2);
  const KernelOptions in_float{KernelStorage::none, Precision::float32};

  EXPECT_THROW(KernelOperator(one(Kind::linear), 1e8 * X, in_float), InputError);
  EXPECT_THROW(KernelOperator(one(Kind::rbf), 1e8 * X, in_float), InputError);
  EXPECT_THROW(KernelOperator(parse_kernel_sum("1e29*linear"), 100.0 * X, in_float), InputError);
  EXPECT_THROW(KernelOperator(parse_kernel_sum("rbf + 1e-40*linear"), X, in_float), InputError);
  EXPECT_NO_THROW(KernelOperator(parse_kernel_sum("rbf + 1e-40*linear"), X));
}

TEST(KernelSum, DescribesItselfInOneLine) {
  EXPECT_EQ(describe(KernelSum(InfiniteArchitecture{})), describe(InfiniteArchitecture{}));
  EXPECT_EQ(describe(parse_kernel_sum("rbf")), "rbf kernel");
  EXPECT_EQ(describe(parse_kernel_sum("ntk:relu:2 + 0.3*linear")), "kernel ntk:relu:2 + 0.3*linear");
  EXPECT_EQ(describe(one(Kind::linear, Vector::Ones(3))), "linear kernel, with relevances");
}

}  // namespace
}  // namespace gradflow
