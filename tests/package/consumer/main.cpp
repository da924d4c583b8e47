#include <cstdio>

#include "gradflow/base/linear_algebra.h"
#include "gradflow/base/random.h"

// The argument is gradflow's source tree, where examples/diabetes.csv lies.
int main(int, char**) {
  gradflow::RandomStream random(1, "consumer");
  const gradflow::Matrix A = random.normals(5, 5);

  const gradflow::Vector eigenvalues = gradflow::symmetric_eigenvalues(A + A.transpose());

  std::printf("largest eigenvalue %.6f\n", eigenvalues.maxCoeff());
  return eigenvalues.size() == 5 ? 0 : 1;
}
