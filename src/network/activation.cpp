#include "gradflow/network/activation.h"

#include <array>
#include <charconv>
#include <cmath>
#include <numbers>
#include <string_view>
#include <utility>

#include "gradflow/base/error.h"
#include "gradflow/base/parallel.h"

namespace gradflow {
namespace {

constexpr double inv_sqrt2 = std::numbers::sqrt2 / 2.0;
constexpr double inv_sqrt_2pi = inv_sqrt2 * std::numbers::inv_sqrtpi;

double normal_cdf(double u) { return 0.5 * std::erfc(-u * inv_sqrt2); }
double normal_pdf(double u) { return inv_sqrt_2pi * std::exp(-0.5 * u * u); }

/// phi and phi' as function objects, so that the choice of activation is made outside every loop. The
/// comparisons are written so that NaN stays NaN.
struct Relu {
  double value(double u) const { return u < 0.0 ? 0.0 : u; }
  double derivative(double u) const { return u > 0.0 ? 1.0 : 0.0; }
};
struct LeakyRelu {
  double slope;
  double value(double u) const { return u > 0.0 ? u : slope * u; }
  double derivative(double u) const { return u > 0.0 ? 1.0 : slope; }
};
struct Abs {
  double value(double u) const { return std::abs(u); }
  double derivative(double u) const { return (u > 0.0 ? 1.0 : 0.0) - (u < 0.0 ? 1.0 : 0.0); }
};
struct Gelu {
  double value(double u) const { return u * normal_cdf(u); }
  double derivative(double u) const { return normal_cdf(u) + u * normal_pdf(u); }
};
struct Erf {
  double value(double u) const { return std::erf(u); }
  double derivative(double u) const { return 2.0 * std::numbers::inv_sqrtpi * std::exp(-u * u); }
};
struct Tanh {
  double value(double u) const { return std::tanh(u); }
  double derivative(double u) const {
    const double t = std::tanh(u);
    return (1.0 - t) * (1.0 + t);
  }
};
struct Sin {
  double value(double u) const { return std::sin(u); }
  double derivative(double u) const { return std::cos(u); }
};
struct Cos {
  double value(double u) const { return std::cos(u); }
  double derivative(double u) const { return -std::sin(u); }
};
struct Identity {
  double value(double u) const { return u; }
  double derivative(double) const { return 1.0; }
};

template <typename Visitor>
auto visit(const Activation& activation, Visitor&& visitor) {
  switch (activation.kind) {
    case ActivationKind::relu: return visitor(Relu{});
    case ActivationKind::leaky_relu: return visitor(LeakyRelu{activation.slope});
    case ActivationKind::abs: return visitor(Abs{});
    case ActivationKind::gelu: return visitor(Gelu{});
    case ActivationKind::erf: return visitor(Erf{});
    case ActivationKind::tanh: return visitor(Tanh{});
    case ActivationKind::sin: return visitor(Sin{});
    case ActivationKind::cos: return visitor(Cos{});
    case ActivationKind::identity: break;
  }
  return visitor(Identity{});
}

/// Columns per task such that a task is worth a thread.
Index columns_per_task(Index rows) { return std::max<Index>(1, (Index{1} << 16) / std::max<Index>(1, rows)); }

constexpr std::array<std::pair<std::string_view, ActivationKind>, 9> names{{
    {"relu", ActivationKind::relu},
    {"leaky-relu", ActivationKind::leaky_relu},
    {"abs", ActivationKind::abs},
    {"gelu", ActivationKind::gelu},
    {"erf", ActivationKind::erf},
    {"tanh", ActivationKind::tanh},
    {"sin", ActivationKind::sin},
    {"cos", ActivationKind::cos},
    {"identity", ActivationKind::identity},
}};

constexpr std::string_view name_list =
    "relu, leaky-relu, leaky-relu@SLOPE, abs, gelu, erf, tanh, sin, cos, identity";

}  // namespace

double Activation::value(double u) const {
  return visit(*this, [u](const auto& phi) { return phi.value(u); });
}

double Activation::derivative(double u) const {
  return visit(*this, [u](const auto& phi) { return phi.derivative(u); });
}

void activate(const Activation& activation, Block Z) {
  visit(activation, [&Z](const auto& phi) {
    parallel_for(Z.cols(), columns_per_task(Z.rows()), [&](Index begin, Index end) {
      for (Index j = begin; j < end; ++j) {
        double* const z = Z.col(j).data();
        for (Index i = 0; i < Z.rows(); ++i) z[i] = phi.value(z[i]);
      }
    });
  });
}

void activate(const Activation& activation, Block Z, Block derivative) {
  require(derivative.rows() == Z.rows() && derivative.cols() == Z.cols(), "activate derivative.rows",
          derivative.rows(), "the derivative must have the shape of Z");
  visit(activation, [&](const auto& phi) {
    parallel_for(Z.cols(), columns_per_task(Z.rows()), [&](Index begin, Index end) {
      for (Index j = begin; j < end; ++j) {
        double* const z = Z.col(j).data();
        double* const d = derivative.col(j).data();
        for (Index i = 0; i < Z.rows(); ++i) {
          const double u = z[i];
          d[i] = phi.derivative(u);
          z[i] = phi.value(u);
        }
      }
    });
  });
}

Activation parse_activation(const std::string& text) {
  const std::size_t at = text.find('@');
  const std::string_view name = std::string_view(text).substr(0, at);
  Activation activation;
  bool known = false;
  for (const auto& [candidate, kind] : names)
    if (name == candidate) {
      activation.kind = kind;
      known = true;
    }
  if (!known) throw InputError(fmt::format("activation '{}' is unknown: must be one of {}", text, name_list));
  if (at == std::string::npos) return activation;
  const char* const end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data() + at + 1, end, activation.slope);
  if (activation.kind != ActivationKind::leaky_relu || error != std::errc() || stop != end ||
      !std::isfinite(activation.slope))
    throw InputError(fmt::format(
        "activation '{}': only leaky-relu takes a slope, a finite number, for example leaky-relu@0.2", text));
  return activation;
}

std::string to_string(const Activation& activation) {
  std::string text;
  for (const auto& [name, kind] : names)
    if (kind == activation.kind) text = name;
  if (activation.kind == ActivationKind::leaky_relu && activation.slope != Activation{}.slope)
    text += fmt::format("@{}", activation.slope);
  return text;
}

}  // namespace gradflow
