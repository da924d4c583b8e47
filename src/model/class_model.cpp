#include "gradflow/model/class_model.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "gradflow/base/error.h"
#include "gradflow/model/memory.h"
#include "gradflow/model/version.h"
#include "model/cross_blocks.h"

namespace gradflow {
namespace {

ClassPredictor predictor_of(const ClassModel& model, Progress* progress) {
  if (model.fit.method == ClassMethod::one_hot) return ClassPredictor(model.fit);
  require_memory(model.rows(), 3.0 + static_cast<double>(model.classes.size()));
  report_progress(progress, "building the training operator", 0.0);
  return ClassPredictor(*model.kernel->training(model.X), model.fit);
}

}  // namespace

ClassModel make_model(const ClassJob& job, ClassResult result) {
  if (!usable(result.fit.outcome))
    throw InputError(fmt::format("the classes have no usable fit ({}): {}", to_string(result.fit.outcome),
                                 result.fit.reason));
  ClassModel model;
  model.gradflow_version = version;
  model.recipe = std::move(result.data.data.recipe);
  model.kernel = std::move(result.kernel);
  model.X = std::move(result.data.data.X);
  model.classes = std::move(result.data.classes);
  model.fit = std::move(result.fit);
  model.log10_p_value = result.test.log10_p_value;
  model.seed = job.seed;
  model.warnings = std::move(result.warnings);
  return model;
}

ClassPredictions predict(const ClassModel& model, const NewRows& rows, Progress* progress) {
  require_address_space();
  const auto m = static_cast<Index>(rows.ids.size()), count = static_cast<Index>(rows.row.size());
  ClassPredictions out{
      .ids = rows.ids,
      .most_probable = Labels(rows.ids.size(), -1),
      .probabilities = Matrix::Constant(m, model.fit.classes, std::numeric_limits<double>::quiet_NaN()),
      .warnings = rows.warnings};
  if (count == 0) return out;
  const ClassPredictor predictor = predictor_of(model, progress);
  const Index block = std::max<Index>(1, cross_block_entries / model.rows());
  for (Index begin = 0; begin < count; begin += block) {
    report_progress(progress, "predicting", static_cast<double>(begin) / static_cast<double>(count));
    const Index size = std::min(block, count - begin);
    const CrossKernel cross = model.kernel->cross(rows.X.middleRows(begin, size), model.X);
    const Matrix P = predictor.probabilities(cross.H_cross, cross.H_self);
    const Labels most = most_probable(P);
    for (Index i = 0; i < size; ++i) {
      const Index row = rows.row[static_cast<std::size_t>(begin + i)];
      out.probabilities.row(row) = P.row(i);
      out.most_probable[static_cast<std::size_t>(row)] = most[static_cast<std::size_t>(i)];
    }
  }
  return out;
}

}  // namespace gradflow
