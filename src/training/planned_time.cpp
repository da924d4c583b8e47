#include "gradflow/training/planned_time.h"

#include "gradflow/base/error.h"
#include "gradflow/inference/analysis.h"

namespace gradflow {

StoppingRule planned_time(const Trainer& trainer, RuleKind rule, Progress* progress) {
  if (trainer.options().loss == TrainingLoss::cross_entropy || trainer.network().outputs() != 1)
    throw InputError("the time of a rule is for squared loss and one output");
  const auto H = trainer.network().products(trainer.data().X);
  AnalysisOptions options;
  options.intercept = false;  // it is a column of the design
  options.rule = rule;
  options.seed = trainer.options().seed;
  options.engine = Engine::krylov;
  options.krylov.all_rules = false;
  options.krylov.loo_probes = 0;
  if (trainer.network().precision() == Precision::float32) options.loosen_for_float32();
  options.progress = progress;
  const Observations observations{.y = trainer.data().Y.col(0),
                                  .f0 = trainer.output().col(0),
                                  .covariates = trainer.data().design,
                                  .covariate_names = {},
                                  .test_direction = {}};
  return analyse(*H, observations, options).rule();
}

}  // namespace gradflow
