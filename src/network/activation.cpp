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

template <typename T>
T normal_cdf(T u) {
  return T(0.5) * std::erfc(-u * T(inv_sqrt2));
}
template <typename T>
T normal_pdf(T u) {
  return T(inv_sqrt_2pi) * std::exp(T(-0.5) * u * u);
}

/// phi and phi' as function objects, so that the choice of activation is made outside every loop. The
/// comparisons are written so that NaN stays NaN. T is float or double.
struct Relu {
  template <typename T>
  T value(T u) const {
    return u < T(0) ? T(0) : u;
  }
  template <typename T>
  T derivative(T u) const {
    return u > T(0) ? T(1) : T(0);
  }
};
struct LeakyRelu {
  double slope;
  template <typename T>
  T value(T u) const {
    return u > T(0) ? u : T(slope) * u;
  }
  template <typename T>
  T derivative(T u) const {
    return u > T(0) ? T(1) : T(slope);
  }
};
struct Abs {
  template <typename T>
  T value(T u) const {
    return std::abs(u);
  }
  template <typename T>
  T derivative(T u) const {
    return (u > T(0) ? T(1) : T(0)) - (u < T(0) ? T(1) : T(0));
  }
};
struct Gelu {
  template <typename T>
  T value(T u) const {
    return u * normal_cdf(u);
  }
  template <typename T>
  T derivative(T u) const {
    return normal_cdf(u) + u * normal_pdf(u);
  }
};
struct Erf {
  template <typename T>
  T value(T u) const {
    return std::erf(u);
  }
  template <typename T>
  T derivative(T u) const {
    return T(2.0 * std::numbers::inv_sqrtpi) * std::exp(-u * u);
  }
};
struct Tanh {
  template <typename T>
  T value(T u) const {
    return std::tanh(u);
  }
  template <typename T>
  T derivative(T u) const {
    return slope_at(std::tanh(u));
  }
  template <typename T>
  static T slope_at(T t) {
    return (T(1) - t) * (T(1) + t);
  }
};
struct Sin {
  template <typename T>
  T value(T u) const {
    return std::sin(u);
  }
  template <typename T>
  T derivative(T u) const {
    return std::cos(u);
  }
};
struct Cos {
  template <typename T>
  T value(T u) const {
    return std::cos(u);
  }
  template <typename T>
  T derivative(T u) const {
    return -std::sin(u);
  }
};
struct Identity {
  template <typename T>
  T value(T u) const {
    return u;
  }
  template <typename T>
  T derivative(T) const {
    return T(1);
  }
};

/// derivative <- phi'(z), z <- phi(z) for one column.
template <typename Phi, typename T>
void activate_column(const Phi& phi, T* z, T* derivative, Index rows) {
  for (Index i = 0; i < rows; ++i) {
    const T u = z[i];
    derivative[i] = phi.derivative(u);
    z[i] = phi.value(u);
  }
}
// The same, with the function that value and derivative share evaluated once.
template <typename T>
void activate_column(const Tanh&, T* z, T* derivative, Index rows) {
  for (Index i = 0; i < rows; ++i) {
    z[i] = std::tanh(z[i]);
    derivative[i] = Tanh::slope_at(z[i]);
  }
}
template <typename T>
void activate_column(const Gelu&, T* z, T* derivative, Index rows) {
  for (Index i = 0; i < rows; ++i) {
    const T u = z[i], cdf = normal_cdf(u);
    derivative[i] = cdf + u * normal_pdf(u);
    z[i] = u * cdf;
  }
}

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

template <typename View>
void activate_columns(const Activation& activation, View& Z, View& derivative) {
  visit(activation, [&](const auto& phi) {
    for (Index j = 0; j < Z.cols(); ++j)
      activate_column(phi, Z.col(j).data(), derivative.col(j).data(), Z.rows());
  });
}

/// Columns per task such that a task is worth a thread.
Index columns_per_task(Index rows) { return std::max<Index>(1, (Index{1} << 16) / std::max<Index>(1, rows)); }

constexpr std::array<std::pair<std::string_view, ActivationKind>, 9> activation_names{{
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
      for (Index j = begin; j < end; ++j)
        activate_column(phi, Z.col(j).data(), derivative.col(j).data(), Z.rows());
    });
  });
}

void activate_serially(const Activation& activation, Block Z, Block derivative) {
  activate_columns(activation, Z, derivative);
}

void activate_serially(const Activation& activation, Eigen::Ref<Eigen::MatrixXf> Z,
                       Eigen::Ref<Eigen::MatrixXf> derivative) {
  activate_columns(activation, Z, derivative);
}

Activation parse_activation(const std::string& text) {
  const std::size_t at = text.find('@');
  const std::string_view name = std::string_view(text).substr(0, at);
  Activation activation;
  bool known = false;
  for (const auto& [candidate, kind] : activation_names)
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
  for (const auto& [name, kind] : activation_names)
    if (kind == activation.kind) text = name;
  if (activation.kind == ActivationKind::leaky_relu && activation.slope != Activation{}.slope)
    text += fmt::format("@{}", activation.slope);
  return text;
}

}  // namespace gradflow
