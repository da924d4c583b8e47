#pragma once

#include <memory>
#include <string>
#include <vector>

#include "gradflow/base/types.h"

namespace gradflow {

/// W = diag(diagonal) + F diag(coefficients) F' (n x n, symmetric), never formed.
struct LowRankWeights {
  Vector diagonal{};      ///< n
  Matrix factors{};       ///< F, n x k
  Vector coefficients{};  ///< k, of any sign
};

/// Training operators H(p) = Theta_p(X, X)/n that depend smoothly on m parameters p, so that a likelihood can
/// choose among them by gradients. Parameters are unconstrained reals (logarithms of what must be positive).
class OperatorFamily {
 public:
  /// The family at one p. Keeps what the derivative needs: some n x n matrices.
  class Point {
   public:
    virtual ~Point() = default;
    virtual const Matrix& H() const = 0;  ///< n x n, symmetric positive semidefinite, both triangles filled
    /// g_k = sum_ij W_ij dH_ij/dp_k: m values; W is n x n, symmetric. Cost a few evaluations of H.
    virtual Vector contract(const Matrix& W) const = 0;
    /// The same for a W given by its factors. Families that go through W by tiles need no n x n matrix for it
    /// and n^2 k flops more; here W is formed.
    virtual Vector contract_low_rank(const LowRankWeights& W) const;
  };

  OperatorFamily() = default;
  OperatorFamily(const OperatorFamily&) = delete;
  OperatorFamily& operator=(const OperatorFamily&) = delete;
  virtual ~OperatorFamily() = default;

  virtual Index size() const noexcept = 0;             ///< n
  virtual std::vector<std::string> names() const = 0;  ///< m, what messages and tables call the parameters
  virtual Vector start() const = 0;                    ///< m, where a search begins
  virtual Vector lower() const = 0;                    ///< m, bounds of a search
  virtual Vector upper() const = 0;                    ///< m
  virtual std::unique_ptr<Point> at(const Vector& p) const = 0;  ///< throws InputError on a wrong size

  Index parameters() const { return start().size(); }  ///< m
};

}  // namespace gradflow
