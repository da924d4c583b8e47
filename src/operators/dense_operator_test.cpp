#include "gradflow/operators/dense_operator.h"

#include <gtest/gtest.h>

#include <limits>

#include "gradflow/base/error.h"
#include "laws/training_operator_laws.h"

namespace gradflow {
namespace {

std::string message(const Matrix& H) {
  try {
    DenseOperator{H, "operator 'H.npy'"};
  } catch (const InputError& error) {
    return error.what();
  }
  return "no error";
}

TEST(DenseOperator, ObeysTheLaws) {
  RandomStream random(1, "test");
  const Matrix G = random.normals(150, 90);
  const DenseOperator H(G * G.transpose(), "G G'");

  EXPECT_EQ(laws::broken_by(H, random), std::vector<std::string>{});
  EXPECT_EQ(laws::broken_by(DenseOperator(Matrix{{2.0}}), random), std::vector<std::string>{});
  EXPECT_EQ(laws::broken_by(DenseOperator(Matrix::Zero(3, 3)), random), std::vector<std::string>{});
}

/// Breaks every law that it can.
class Liar final : public TrainingOperator {
 public:
  Index size() const noexcept override { return 5; }
  std::string description() const override { return "two\nlines"; }

 private:
  void do_apply(ConstBlock X, Block Y) const override {
    Y = -X;
    Y.row(0) += (1.0 + 0.1 * static_cast<double>(++calls_)) * X.row(1);
  }
  Vector do_diagonal() const override { return Vector::Ones(5); }
  mutable int calls_ = 0;
};

TEST(TrainingOperatorLaws, NameWhatIsBroken) {
  RandomStream random(2, "test");

  EXPECT_EQ(
      laws::broken_by(Liar(), random),
      (std::vector<std::string>{"description is one line", "repeated apply is bit-equal",
                                "symmetric: <u, Hv> = <Hu, v>", "semidefinite: <v, Hv> >= 0",
                                "block apply = column by column", "linear", "matrix() agrees with apply",
                                "diagonal agrees with matrix()", "trace agrees with matrix()"}));
}

TEST(DenseOperator, RefusesWhatIsNoTrainingOperatorByName) {
  EXPECT_EQ(message(Matrix::Zero(2, 3)), "operator 'H.npy' is 2 x 3: a training operator must be square");
  EXPECT_EQ(message(Matrix(0, 0)), "operator 'H.npy' is empty: a training operator needs at least one row");
  Matrix H = Matrix::Identity(200, 200);
  H(150, 3) = std::numeric_limits<double>::quiet_NaN();
  EXPECT_EQ(message(H),
            "operator 'H.npy' has the value nan in row 151, column 4: every entry must be finite");
  H(150, 3) = 0.5;
  EXPECT_EQ(message(H), "operator 'H.npy' is not symmetric: entry (151, 4) is 0.5 and entry (4, 151) is 0");
  H(3, 150) = 0.5;
  EXPECT_EQ(message(H), "no error");
  H(7, 7) = -1.0;
  EXPECT_EQ(
      message(H),
      "operator 'H.npy' has -1 on its diagonal in row 8: a training operator must be positive semidefinite");
}

TEST(DenseOperator, RoundingAsymmetryIsAveragedAway) {
  Matrix H = Matrix::Identity(3, 3);
  H(2, 0) = 1e-9;

  EXPECT_EQ(DenseOperator(H).matrix()(0, 2), 0.5e-9);
  EXPECT_EQ(DenseOperator(H).matrix()(2, 0), 0.5e-9);
}

TEST(TrainingOperator, ApplyChecksShapes) {
  const DenseOperator H(Matrix::Identity(3, 3));
  Matrix Y(3, 2);

  EXPECT_THROW(H.apply(Matrix::Zero(4, 2), Y), InputError);
  EXPECT_THROW(H.apply(Matrix::Zero(3, 1), Y), InputError);
}

}  // namespace
}  // namespace gradflow
