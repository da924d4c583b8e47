// The README's example: from C++ what `gradflow stop examples/diabetes.csv --target target` does.
#include <cstdio>
#include <exception>
#include <string>

#include "gradflow/data/dataset.h"
#include "gradflow/inference/analysis.h"
#include "gradflow/operators/dense_operator.h"
#include "gradflow/operators/infinite_ntk.h"

int main(int argc, char** argv) try {
  using namespace gradflow;
  const std::string folder = argc > 1 ? argv[1] : ".";
  DatasetOptions options;
  options.target = "target";
  const Dataset data = make_dataset(read_table(folder + "/examples/diabetes.csv"), options);
  const Index n = data.X.rows();
  const DenseOperator H(kernel_gram(InfiniteArchitecture{}, data.X) / static_cast<double>(n));
  const Vector y = data.recipe.target_center + data.recipe.target_scale * data.y.array();

  const Analysis analysis = analyse(H, {y, Vector::Zero(n), Matrix(n, 0), {}, {}});

  std::printf("log10 p = %.2f\n", analysis.test.log10_p_value);
  for (const StoppingRule& rule : analysis.rules)
    std::printf("%-10s t = %.4g\n", rule.name.c_str(), rule.time);
  return analysis.is_usable() ? 0 : 3;
} catch (const std::exception& error) {
  std::fprintf(stderr, "%s\n", error.what());
  return 2;
}
