#pragma once

#include <cmath>
#include <memory>
#include <string>
#include <vector>

#include "gradflow/base/random.h"
#include "gradflow/operators/operator_family.h"

namespace gradflow::testing_families {

// H = (1/n) sum_k exp(p_k) G_k
class WeightedSum final : public OperatorFamily {
 public:
  explicit WeightedSum(std::vector<Matrix> parts) : parts_(std::move(parts)) {}
  Index size() const noexcept override { return parts_.front().rows(); }
  std::vector<std::string> names() const override {
    std::vector<std::string> all;
    for (std::size_t k = 0; k < parts_.size(); ++k) all.push_back("log weight " + std::to_string(k));
    return all;
  }
  Vector start() const override { return Vector::Zero(count()); }
  Vector lower() const override { return Vector::Constant(count(), -5.0); }
  Vector upper() const override { return Vector::Constant(count(), 5.0); }
  std::unique_ptr<Point> at(const Vector& p) const override { return std::make_unique<Value>(parts_, p); }

 private:
  class Value final : public Point {
   public:
    Value(const std::vector<Matrix>& parts, const Vector& p) : parts_(parts), weight_(p.array().exp()) {
      weight_ /= static_cast<double>(parts.front().rows());
      H_ = weight_(0) * parts[0];
      for (std::size_t k = 1; k < parts.size(); ++k) H_ += weight_(static_cast<Index>(k)) * parts[k];
    }
    const Matrix& H() const override { return H_; }
    Vector contract(const Matrix& W) const override {
      Vector g(weight_.size());
      for (Index k = 0; k < g.size(); ++k)
        g(k) = weight_(k) * W.cwiseProduct(parts_[static_cast<std::size_t>(k)]).sum();
      return g;
    }

   private:
    const std::vector<Matrix>& parts_;
    Vector weight_;
    Matrix H_;
  };
  Index count() const { return static_cast<Index>(parts_.size()); }
  std::vector<Matrix> parts_;
};

// H_ij = exp(-sum_k r_k^2 (x_ik - x_jk)^2 / 2) / n, p = log r
class RelevanceRbf final : public OperatorFamily {
 public:
  explicit RelevanceRbf(Matrix X, double start = -1.0) : X_(std::move(X)), start_(start) {}
  Index size() const noexcept override { return X_.rows(); }
  std::vector<std::string> names() const override {
    std::vector<std::string> all;
    for (Index k = 0; k < X_.cols(); ++k) all.push_back("log relevance " + std::to_string(k));
    return all;
  }
  Vector start() const override { return Vector::Constant(X_.cols(), start_); }
  Vector lower() const override { return Vector::Constant(X_.cols(), -7.0); }
  Vector upper() const override { return Vector::Constant(X_.cols(), 3.0); }
  std::unique_ptr<Point> at(const Vector& p) const override { return std::make_unique<Value>(X_, p); }

 private:
  class Value final : public Point {
   public:
    Value(const Matrix& X, const Vector& p) : Z_(X * p.array().exp().matrix().asDiagonal()) {
      const Vector squares = Z_.rowwise().squaredNorm();
      H_ = Z_ * Z_.transpose();
      H_.colwise() -= 0.5 * squares;
      H_.rowwise() -= 0.5 * squares.transpose();
      H_ = H_.array().min(0.0).exp() / static_cast<double>(X.rows());
    }
    const Matrix& H() const override { return H_; }
    // sum_ij W_ij H_ij (-(z_i - z_j)^2) = 2 z'Az - 2 sum_i z_i^2 (A 1)_i, A = W o H
    Vector contract(const Matrix& W) const override {
      const Matrix A = W.cwiseProduct(H_), AZ = A * Z_;
      const Vector sums = A.rowwise().sum();
      return 2.0 * (Z_.cwiseProduct(AZ).colwise().sum().transpose() -
                    Z_.array().square().matrix().transpose() * sums);
    }

   private:
    Matrix Z_, H_;
  };
  Matrix X_;
  double start_;
};

}  // namespace gradflow::testing_families
