#include "cli/make_class_job.h"

#include "cli/make_job.h"
#include "gradflow/base/error.h"

namespace gradflow::cli {
namespace {

ClassMethod parse_method(const std::string& text) {
  for (const ClassMethod method : {ClassMethod::one_hot, ClassMethod::laplace})
    if (text == to_string(method)) return method;
  throw InputError(fmt::format("--method {}: must be one-hot or laplace", text));
}

}  // namespace

ClassJob make_class_job(const Settings& s) {
  const Job job = make_job(s, Purpose::inference);
  ClassJob result;
  result.source = job.source;
  result.dataset = job.dataset;
  result.operator_spec = job.operator_spec;
  result.classification.method = parse_method(s.method.empty() ? "one-hot" : s.method);
  result.choose_kernel = s.kernel_grid;
  result.level = job.analysis.level;
  result.seed = job.analysis.seed;
  return result;
}

}  // namespace gradflow::cli
