#include "gradflow/operators/kernel_sum.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <utility>

#include "gradflow/base/error.h"
#include "operators/kernel_terms.h"

namespace gradflow {
namespace {

using Kind = KernelTerm::Kind;

std::string term_text(const KernelTerm& term) {
  const std::string kind =
      term.kind == Kind::network ? to_string(term.network) : std::string(to_string(term.kind));
  return term.weight == 1.0 ? kind : fmt::format("{}*{}", term.weight, kind);
}

[[noreturn]] void reject_sum(const std::string& text, const std::string& reason) {
  throw InputError(fmt::format(
      "kernel '{}': {}; write a sum of networks, linear, rbf, matern32 and matern52, with weights "
      "where they are not 1, for example ntk:relu:2 + 0.3*linear",
      text, reason));
}

std::string_view trim(std::string_view text) {
  const auto is_space = [](char c) { return c == ' ' || c == '\t'; };
  while (!text.empty() && is_space(text.front())) text.remove_prefix(1);
  while (!text.empty() && is_space(text.back())) text.remove_suffix(1);
  return text;
}

/// Where the term that begins here ends: at a plus sign that is not of an exponent, as in 1e+20.
std::size_t end_of_term(std::string_view text, std::size_t begin) {
  for (std::size_t i = begin; i < text.size(); ++i) {
    const bool exponent = i >= 2 && (text[i - 1] == 'e' || text[i - 1] == 'E') &&
                          ((text[i - 2] >= '0' && text[i - 2] <= '9') || text[i - 2] == '.');
    if (text[i] == '+' && !exponent) return i;
  }
  return text.size();
}

double parse_weight(std::string_view number, const std::string& text) {
  double weight = 0.0;
  const auto [stop, error] = std::from_chars(number.data(), number.data() + number.size(), weight);
  if (error != std::errc() || stop != number.data() + number.size() || !std::isfinite(weight) ||
      !(weight > 0.0))
    reject_sum(text, fmt::format("'{}' is no weight, a finite number > 0", number));
  return weight;
}

KernelTerm parse_term(std::string_view term_text, const std::string& text) {
  KernelTerm term;
  std::string_view name = trim(term_text);
  if (name.empty()) reject_sum(text, "a term is empty");
  if (const std::size_t star = name.find('*'); star != std::string_view::npos) {
    term.weight = parse_weight(trim(name.substr(0, star)), text);
    name = trim(name.substr(star + 1));
  }
  for (const Kind kind : {Kind::linear, Kind::rbf, Kind::matern32, Kind::matern52})
    if (name == to_string(kind)) {
      term.kind = kind;
      return term;
    }
  if (name.find(':') == std::string_view::npos) reject_sum(text, fmt::format("'{}' is no kernel", name));
  try {
    term.network = parse_infinite_architecture(std::string(name));
  } catch (const InputError& error) {
    if (name == text) throw;
    throw InputError(fmt::format("kernel '{}': in a term, {}", text, error.what()));
  }
  return term;
}

void check_relevance(const Vector& relevance, Index inputs, const std::string& name) {
  if (relevance.size() == 0) return;
  if (relevance.size() != inputs)
    throw InputError(
        fmt::format("{}: relevance has {} entries for {} features", name, relevance.size(), inputs));
  for (Index k = 0; k < inputs; ++k)
    if (!(relevance(k) >= 0.0) || !std::isfinite(relevance(k)))
      throw InputError(
          fmt::format("{}: relevance {} = {}: must be >= 0 and finite", name, k + 1, relevance(k)));
  if (relevance.maxCoeff() == 0.0)
    throw InputError(fmt::format("{}: relevance is 0 for every feature: one at least must be > 0", name));
}

Matrix cross(const KernelTerm& term, ConstBlock X_new, ConstBlock X) {
  if (term.relevance.size() == 0) return term_cross(term, X_new, X, X.cols());
  return term_cross(term, relevant_features(term, X_new, X_new.rows()), relevant_features(term, X, X.rows()),
                    X.cols());
}

}  // namespace

std::string_view to_string(KernelTerm::Kind kind) {
  switch (kind) {
    case Kind::network: return "network";
    case Kind::linear: return "linear";
    case Kind::rbf: return "rbf";
    case Kind::matern32: return "matern32";
    case Kind::matern52: break;
  }
  return "matern52";
}

KernelSum::KernelSum(InfiniteArchitecture network) { terms.push_back({.network = std::move(network)}); }

void KernelSum::check(Index inputs) const {
  if (terms.empty()) throw InputError("a kernel has no terms: it needs at least one");
  for (std::size_t k = 0; k < terms.size(); ++k) {
    const KernelTerm& term = terms[k];
    const std::string name = fmt::format("kernel term {} ({})", k + 1, term_text(term));
    if (!(term.weight > 0.0) || !std::isfinite(term.weight))
      throw InputError(fmt::format("{}: weight = {}: must be > 0 and finite", name, term.weight));
    if (term.kind == Kind::network) {
      try {
        term.network.check();
      } catch (const InputError& error) {
        if (terms.size() == 1) throw;
        throw InputError(fmt::format("{}: {}", name, error.what()));
      }
    }
    require(inputs >= 1, "number of features", inputs, "a kernel needs at least one");
    check_relevance(term.relevance, inputs, name);
  }
}

bool is_scaled(const KernelSum& kernel) {
  return std::any_of(kernel.terms.begin(), kernel.terms.end(),
                     [](const KernelTerm& term) { return term.relevance.size() > 0; });
}

bool operator==(const KernelTerm& a, const KernelTerm& b) {
  return a.kind == b.kind && (a.kind != Kind::network || a.network == b.network) && a.weight == b.weight &&
         a.relevance.size() == b.relevance.size() && (a.relevance.array() == b.relevance.array()).all();
}

bool operator==(const KernelSum& a, const KernelSum& b) { return a.terms == b.terms; }

KernelSum parse_kernel_sum(const std::string& text) {
  KernelSum kernel;
  for (std::size_t begin = 0; begin <= text.size();) {
    const std::size_t end = end_of_term(text, begin);
    kernel.terms.push_back(parse_term(std::string_view(text).substr(begin, end - begin), text));
    begin = end + 1;
  }
  return kernel;
}

std::string to_string(const KernelSum& kernel) {
  std::string text;
  for (const KernelTerm& term : kernel.terms)
    text += fmt::format("{}{}", text.empty() ? "" : " + ", term_text(term));
  return text;
}

Matrix kernel_gram(const KernelSum& kernel, ConstBlock X) {
  kernel.check(X.cols());
  const EvaluatedTiles<double> tiles(kernel, X);
  Matrix gram(X.rows(), X.rows());
  for_each_tile(tiles.blocks(), [&](Index I, Index J) {
    alignas(64) double tile[tile_entries];
    tiles.evaluate(I, J, tile);
    store_tile(static_cast<const double*>(tile), I, J, 1.0, gram);
  });
  return gram;
}

Matrix kernel_cross(const KernelSum& kernel, ConstBlock X_new, ConstBlock X) {
  kernel.check(X.cols());
  if (X_new.cols() != X.cols())
    throw InputError(
        fmt::format("the new features have {} columns: the first have {}", X_new.cols(), X.cols()));
  Matrix sum;
  for (const KernelTerm& term : kernel.terms) {
    Matrix kappa = cross(term, X_new, X);
    if (term.weight != 1.0) kappa *= term.weight;
    if (sum.size() == 0)
      sum = std::move(kappa);
    else
      sum += kappa;
  }
  return sum;
}

Vector kernel_diagonal(const KernelSum& kernel, ConstBlock X) {
  kernel.check(X.cols());
  Vector sum = Vector::Zero(X.rows());
  for (const KernelTerm& term : kernel.terms)
    sum += term.weight * (term.relevance.size() == 0
                              ? term_diagonal(term, X, X.cols())
                              : term_diagonal(term, relevant_features(term, X, X.rows()), X.cols()));
  return sum;
}

}  // namespace gradflow
