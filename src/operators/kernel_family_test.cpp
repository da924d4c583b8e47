#include "gradflow/operators/kernel_family.h"

#include <gtest/gtest.h>

#include <cmath>
#include <numbers>
#include <string>

#include "gradflow/base/error.h"
#include "gradflow/base/parallel.h"
#include "gradflow/base/random.h"
#include "gradflow/operators/scaled_family.h"

namespace gradflow {
namespace {

using Kind = KernelTerm::Kind;

KernelTerm network(const std::string& text, double weight = 1.0) {
  return {Kind::network, parse_infinite_architecture(text), weight, {}};
}
KernelTerm simple(Kind kind, double weight = 1.0) { return {kind, {}, weight, {}}; }
KernelSum sum_of(std::vector<KernelTerm> terms) {
  KernelSum kernel;
  kernel.terms = std::move(terms);
  return kernel;
}

KernelFamilyOptions everything() {
  KernelFamilyOptions options;
  options.redundant = true;
  return options;
}

/// At least 10 rows with copies (3 of one), a multiple, an opposite and a row of zeros.
Matrix difficult_rows(Index n, Index d) {
  Matrix X = RandomStream(1, "rows").normals(n, d);
  X.row(2) = X.row(7);
  X.row(n - 1) = X.row(7);
  X.row(4).setZero();
  X.row(5) = 2.0 * X.row(6);
  X.row(8) = -X.row(9);
  return X;
}

Matrix symmetric(Index n, std::uint64_t seed) {
  const Matrix A = RandomStream(seed, "weights").normals(n, n);
  return A + A.transpose();
}

/// Derivatives of sum_ij W_ij H_ij(p) by central differences at three steps, extrapolated to order 6.
Vector differences(const KernelFamily& family, const Vector& p, const Matrix& W) {
  Vector g(p.size());
  for (Index k = 0; k < p.size(); ++k) {
    const auto quotient = [&](double h) {
      Vector up = p, down = p;
      up[k] += h;
      down[k] -= h;
      return W.cwiseProduct(family.at(up)->H() - family.at(down)->H()).sum() / (2.0 * h);
    };
    const double one = quotient(0.01), two = quotient(0.02), four = quotient(0.04);
    const double first = (4.0 * one - two) / 3.0, second = (4.0 * two - four) / 3.0;
    g[k] = (16.0 * first - second) / 15.0;
  }
  return g;
}

void expect_derivatives(const KernelFamily& family, const Vector& p, const Matrix& W,
                        const std::string& what) {
  const auto point = family.at(p);
  const Vector g = point->contract(W), expected = differences(family, p, W);
  const double scale = W.cwiseProduct(point->H()).cwiseAbs().sum();
  const std::vector<std::string> names = family.names();

  ASSERT_EQ(g.size(), static_cast<Index>(names.size()));
  for (Index k = 0; k < g.size(); ++k)
    EXPECT_NEAR(g[k], expected[k], 1e-6 * std::abs(g[k]) + 1e-10 * scale)
        << what << ", " << names[static_cast<std::size_t>(k)];
}

const char* const smooth_activations[] = {"relu", "leaky-relu@0.2", "abs", "gelu", "erf", "sin",
                                          "cos",  "identity"};

TEST(KernelFamily, NetworkDerivativesAreThoseOfDifferences) {
  const Matrix X = difficult_rows(14, 3), W = symmetric(14, 2);
  for (const char* kind : {"ntk", "nngp"})
    for (const char* phi : smooth_activations)
      for (const char* rest : {":0", ":1", ":2,sw2=1.3,sb2=0.4", ":3,sw2=1.1,sb2=0"}) {
        const std::string text = std::string(kind) + ':' + phi + rest;
        const KernelFamily family(sum_of({network(text, 0.7)}), X, everything());
        Vector p = family.start();
        for (Index k = 0; k < p.size(); ++k) p[k] += 0.1 * static_cast<double>(k % 3) - 0.1;
        expect_derivatives(family, p, W, text);
      }
}

TEST(KernelFamily, DerivativesOfTheOtherKernelsAreThoseOfDifferences) {
  const Matrix X = difficult_rows(14, 3), W = symmetric(14, 3);
  for (const Kind kind : {Kind::linear, Kind::rbf, Kind::matern32, Kind::matern52}) {
    const KernelFamily family(sum_of({simple(kind, 1.4)}), X, everything());
    Vector p = family.start();
    p[1] += 0.3;
    expect_derivatives(family, p, W, family.names()[0]);
  }
}

TEST(KernelFamily, StationaryKernelsSeeDifferencesOfRowsOnly) {
  const Matrix X = difficult_rows(20, 3), W = symmetric(20, 7);
  for (const Kind kind : {Kind::rbf, Kind::matern32, Kind::matern52}) {
    const KernelFamily near(sum_of({simple(kind)}), X), far(sum_of({simple(kind)}), X.array() + 1e5);
    const auto near_point = near.at(near.start()), far_point = far.at(far.start());

    // X + 1e5 rounds X by 1e-11.
    EXPECT_LT((far_point->H() - near_point->H()).cwiseAbs().maxCoeff(), 1e-11);
    EXPECT_LT((far_point->contract(W) - near_point->contract(W)).norm(), 1e-9 * W.norm() / 20.0);
  }
}

TEST(KernelFamily, ContractsAWGivenByItsFactorsAsTheSameWFormed) {
  const Index n = 150;
  const KernelFamily family(sum_of({network("ntk:relu:2"), simple(Kind::rbf, 0.5)}), difficult_rows(n, 3),
                            everything());
  RandomStream random(5, "factors");
  const LowRankWeights W{random.normals(n), random.normals(n, 4), Vector{{1.0, -0.5, 2.0, -3.0}}};
  Matrix formed = W.factors * W.coefficients.asDiagonal() * W.factors.transpose();
  formed.diagonal() += W.diagonal;
  const auto point = family.at(family.start());
  const ScaledFamily scaled(
      std::make_shared<KernelFamily>(sum_of({network("ntk:erf:1")}), difficult_rows(n, 2)),
      Vector::LinSpaced(n, 0.5, 2.0));
  const auto scaled_point = scaled.at(scaled.start());

  EXPECT_LT((point->contract_low_rank(W) - point->contract(formed)).cwiseAbs().maxCoeff(),
            1e-13 * formed.norm());
  EXPECT_LT((scaled_point->contract_low_rank(W) - scaled_point->contract(formed)).cwiseAbs().maxCoeff(),
            1e-13 * formed.norm());
  EXPECT_LT((point->OperatorFamily::Point::contract_low_rank(W) - point->contract(formed)).norm(),
            1e-13 * formed.norm());
}

TEST(KernelFamily, SumsWithGroupsOverSeveralTilesHaveTheDerivativesOfDifferences) {
  KernelFamilyOptions options = everything();
  options.groups = {1, 0, 1, 1, 0};
  KernelSum kernel = sum_of({network("ntk:relu:2"), simple(Kind::linear, 0.3), simple(Kind::matern32, 2.0),
                             network("nngp:erf:1", 0.5)});
  kernel.terms[0].relevance = Vector{{0.5, 1.0, 2.0, 0.0, 3.0}};
  const KernelFamily family(kernel, difficult_rows(140, 5), options);

  EXPECT_EQ(family.names(),
            (std::vector<std::string>{"weight:ntk", "ntk.relevance:0", "ntk.relevance:1", "ntk.sw2",
                                      "ntk.sb2", "weight:linear", "linear.relevance:0", "linear.relevance:1",
                                      "weight:matern32", "matern32.relevance:0", "matern32.relevance:1",
                                      "weight:nngp", "nngp.relevance:0", "nngp.relevance:1", "nngp.sw2",
                                      "nngp.sb2"}));
  expect_derivatives(family, family.start(), symmetric(140, 4), "sum");
}

TEST(KernelFamily, EverySingleEntryHasItsDerivative) {
  const Matrix X = difficult_rows(10, 2);
  const KernelFamily family(sum_of({network("ntk:relu:2,sb2=0.3")}), X, everything());
  for (Index j = 0; j < 10; ++j)
    for (Index i = j; i < 10; ++i) {
      Matrix W = Matrix::Zero(10, 10);
      W(i, j) = W(j, i) = 1.0;
      expect_derivatives(family, family.start(), W, fmt::format("entry {} {}", i, j));
    }
}

TEST(KernelFamily, EqualRowsHaveTheDerivativesOfTheDiagonal) {
  const Matrix X = difficult_rows(12, 3);  // rows 2, 7 and 11 are equal
  for (const char* phi : smooth_activations) {
    const KernelFamily family(sum_of({network(std::string("ntk:") + phi + ":3")}), X, everything());
    const auto point = family.at(family.start());
    const auto derivative = [&](Index i, Index j) {
      Matrix W = Matrix::Zero(12, 12);
      W(i, j) += 0.5;
      W(j, i) += 0.5;
      return point->contract(W);
    };
    const Vector diagonal = derivative(7, 7);

    EXPECT_LT((derivative(2, 7) - diagonal).norm(), 1e-12 * diagonal.norm()) << phi;
    EXPECT_LT((derivative(11, 2) - diagonal).norm(), 1e-12 * diagonal.norm()) << phi;
  }
}

/// NNGP and NTK of relu with one layer, sw2 = 2, sb2 = 0, one feature pair (1, 0), (cos t, sin t) with
/// relevances (1, r): the angle is theta with tan theta = r tan t, and all has a closed form in theta that
/// keeps its accuracy at theta = 0.
TEST(KernelFamily, NearlyEqualRowsKeepTheAccuracyOfTheirProducts) {
  for (const double t : {1e-2, 1e-4, 1e-6, 2e-7}) {
    const Matrix X{{1.0, 0.0}, {std::cos(t), std::sin(t)}};
    const KernelFamily family(sum_of({network("ntk:relu:1,sw2=2,sb2=0")}), X, everything());
    const Matrix W{{0.0, 1.0}, {1.0, 0.0}};
    const Vector g = family.at(family.start())->contract(W);

    // K_0 = c = cos t (sw2 / d = 1), |u'|^2 = cos^2 t + r^2 sin^2 t. T = |u'| [sin theta + (pi - theta) cos
    // theta]/pi + c (pi - theta)/pi; d theta/d log r = sin t cos t, d |u'|/d log r = sin^2 t at
    // r = 1; |u'| cos theta = cos t does not move, |u'| sin theta = r sin t.
    const double slope = (std::sin(t) - 2.0 * std::cos(t) * std::sin(t) * std::cos(t)) / std::numbers::pi;
    EXPECT_EQ(family.names()[2], "relevance:1");
    EXPECT_NEAR(g[2], slope, 1e-15 / t + 1e-14) << t;  // two entries, H = Theta / 2
  }
}

TEST(KernelFamily, MatricesAreThoseOfTheKernels) {
  const Matrix X = difficult_rows(150, 4);
  for (const char* text : {"ntk:relu:2", "nngp:gelu:3,sb2=0", "ntk:erf:0"}) {
    const KernelFamily family(sum_of({network(text)}), X);
    const Matrix H = family.at(family.start())->H();
    const Matrix expected = kernel_gram(parse_infinite_architecture(text), X) / 150.0;

    EXPECT_LT((H - expected).cwiseAbs().maxCoeff(), 1e-13 * expected.cwiseAbs().maxCoeff()) << text;
    EXPECT_EQ(H, H.transpose());
  }
}

TEST(KernelFamily, TermsAreScaledWeightedAndAdded) {
  const Matrix X = difficult_rows(30, 3);
  const Vector r{{0.5, 2.0, 1.5}};
  KernelSum kernel = sum_of({simple(Kind::linear, 0.3), simple(Kind::rbf, 2.0), simple(Kind::matern32, 0.7),
                             simple(Kind::matern52, 1.1), network("ntk:relu:1", 0.9)});
  for (KernelTerm& term : kernel.terms) term.relevance = r;
  const KernelFamily family(kernel, X);
  const Matrix H = family.at(family.start())->H();

  const Matrix U = X * r.asDiagonal(), ntk = kernel_gram(parse_infinite_architecture("ntk:relu:1"), U);
  for (Index j = 0; j < 30; ++j)
    for (Index i = 0; i < 30; ++i) {
      const double s2 = (U.row(i) - U.row(j)).squaredNorm() / 3.0, s = std::sqrt(s2);
      const double h = std::sqrt(3.0) * s, q = std::sqrt(5.0) * s;
      const double expected = 0.3 * U.row(i).dot(U.row(j)) / 3.0 + 2.0 * std::exp(-0.5 * s2) +
                              0.7 * (1.0 + h) * std::exp(-h) + 1.1 * (1.0 + q + q * q / 3.0) * std::exp(-q) +
                              0.9 * ntk(i, j);
      EXPECT_NEAR(30.0 * H(i, j), expected, 1e-12 * 50.0);
    }
}

TEST(KernelFamily, ParametersAndKernelsAreInverse) {
  KernelFamilyOptions options = everything();
  options.groups = {0, 0, 1};
  KernelSum kernel = sum_of({network("ntk:erf:2"), simple(Kind::rbf, 0.2)});
  kernel.terms[1].relevance = Vector{{0.5, 2.0, 1.5}};
  const KernelFamily family(kernel, difficult_rows(10, 3), options);
  const Vector p = family.start() + 0.3 * RandomStream(5, "p").normals(family.parameters());

  EXPECT_LT((family.parameters_of(family.sum_at(p)) - p).cwiseAbs().maxCoeff(), 1e-14);
  const KernelSum again = family.sum_at(family.start());
  EXPECT_LT((again.terms[1].relevance - kernel.terms[1].relevance).norm(), 1e-14);
  EXPECT_NEAR(again.terms[1].weight, 0.2, 1e-15);
  EXPECT_NEAR(again.terms[0].network.sb2, 0.1, 1e-15);
  EXPECT_NEAR(family.sum_at(p).terms[1].relevance[1] / family.sum_at(p).terms[1].relevance[0], 4.0, 1e-13);
  EXPECT_TRUE((family.lower().array() < family.start().array()).all());
  EXPECT_TRUE((family.upper().array() > family.start().array()).all());
}

TEST(KernelFamily, FixedRelevancesAreLeftAsTheyAre) {
  KernelFamilyOptions options;
  options.relevances = false;
  const KernelFamily family(sum_of({network("ntk:erf:2")}), difficult_rows(10, 3), options);

  EXPECT_EQ(family.names(), (std::vector<std::string>{"sw2", "sb2"}));
  EXPECT_EQ(family.sum_at(family.start()).terms[0].relevance.size(), 0);
}

TEST(KernelFamily, WhatOnlyScalesTheKernelIsFixed) {
  using Names = std::vector<std::string>;
  const Matrix X = difficult_rows(10, 2);
  const auto names = [&](std::vector<KernelTerm> terms, const KernelFamilyOptions& options = {}) {
    return KernelFamily(sum_of(std::move(terms)), X, options).names();
  };
  KernelFamilyOptions together, none;
  together.groups = {0, 0};
  none.relevances = false;

  EXPECT_EQ(names({network("ntk:relu:2")}), (Names{"relevance:0", "relevance:1"}));
  EXPECT_EQ(names({network("ntk:relu:2")}, together), (Names{"relevance"}));
  EXPECT_EQ(names({network("ntk:relu:2,sb2=0")}, together), (Names{}));
  EXPECT_EQ(names({network("ntk:relu:2")}, none), (Names{"sb2"}));
  EXPECT_EQ(names({network("ntk:erf:2")}, together), (Names{"relevance", "sw2", "sb2"}));
  EXPECT_EQ(names({network("ntk:erf:2"), simple(Kind::linear)}, together),
            (Names{"ntk.relevance", "ntk.sw2", "ntk.sb2", "linear.relevance"}));
  EXPECT_EQ(names({network("ntk:relu:2"), network("ntk:relu:1")}, none),
            (Names{"ntk.sb2", "weight:ntk#2", "ntk#2.sb2"}));
  EXPECT_EQ(names({simple(Kind::linear)}, together), (Names{}));
  EXPECT_EQ(names({simple(Kind::rbf), simple(Kind::rbf)}, together),
            (Names{"rbf.relevance", "weight:rbf#2", "rbf#2.relevance"}));
  KernelFamilyOptions unweighted = together;
  unweighted.weights = false;
  EXPECT_EQ(names({network("ntk:relu:2"), simple(Kind::linear)}, unweighted),
            (Names{"ntk.relevance", "ntk.sw2", "ntk.sb2", "linear.relevance"}));
  KernelFamilyOptions named;
  named.features = {"age", "bmi"};
  EXPECT_EQ(names({simple(Kind::rbf)}, named), (Names{"relevance:age", "relevance:bmi"}));
}

TEST(KernelFamily, OneAndTwoThreadsGiveTheSameBits) {
  const Matrix X = difficult_rows(300, 4), W = symmetric(300, 6);
  const KernelFamily family(sum_of({network("ntk:relu:2"), simple(Kind::rbf, 0.4)}), X, everything());
  const auto contract = [&](int threads) {
    set_threads(threads);
    const auto point = family.at(family.start());
    return std::pair(point->H(), point->contract(W));
  };
  const auto one = contract(1), two = contract(2);
  set_threads(0);

  EXPECT_EQ(one.first, two.first);
  EXPECT_EQ(one.second, two.second);
}

TEST(KernelFamily, NonsenseIsRefused) {
  const Matrix X = difficult_rows(10, 3);
  const auto message = [&](const KernelSum& kernel, const KernelFamilyOptions& options = {}) -> std::string {
    try {
      const KernelFamily family(kernel, X, options);
      return "accepted";
    } catch (const InputError& error) {
      return error.what();
    }
  };
  KernelFamilyOptions short_groups, high_group, range;
  short_groups.groups = {0, 1};
  high_group.groups = {0, 1, 7};
  range.relevance_range = {1.0, 0.5};
  KernelSum dark = sum_of({simple(Kind::rbf)}), short_relevance = dark, weightless = dark;
  dark.terms[0].relevance = Vector::Zero(3);
  short_relevance.terms[0].relevance = Vector::Ones(2);
  weightless.terms[0].weight = 0.0;

  EXPECT_EQ(message(sum_of({network("ntk:tanh:2")})),
            "kernel ntk:tanh:2: a network of tanh has no derivatives by its parameters; relu, leaky-relu, "
            "abs, gelu, erf, sin, cos and identity have");
  EXPECT_EQ(message({}), "a kernel has no terms: it needs at least one");
  EXPECT_EQ(message(dark), "kernel term 1 (rbf): relevance is 0 for every feature: one at least must be > 0");
  EXPECT_EQ(message(short_relevance), "kernel term 1 (rbf): relevance has 2 entries for 3 features");
  EXPECT_EQ(message(weightless), "kernel term 1 (0*rbf): weight = 0: must be > 0 and finite");
  EXPECT_EQ(message(sum_of({simple(Kind::rbf)}), short_groups),
            "number of features with a group = 2: must be 3");
  EXPECT_EQ(message(sum_of({simple(Kind::rbf)}), high_group), "group of a feature = 7: must be from 0 to 2");
  EXPECT_EQ(message(sum_of({simple(Kind::rbf)}), range),
            "range of relevance = [1, 0.5]: must be 0 < lower < upper, finite");
  const KernelFamily family(sum_of({simple(Kind::rbf)}), X);
  EXPECT_THROW(family.at(Vector::Zero(2)), InputError);
  EXPECT_THROW(family.at(Vector::Constant(3, 1e4)), InputError);
  EXPECT_THROW(family.at(Vector::Constant(3, std::nan(""))), InputError);
  EXPECT_THROW(family.at(family.start())->contract(Matrix::Zero(4, 5)), InputError);
}

}  // namespace
}  // namespace gradflow
