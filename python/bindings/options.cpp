#include "bindings/convert.h"
#include "cli/make_further_tests.h"
#include "gradflow/base/error.h"

namespace gradflow::python {
namespace {

using cli::Settings;

const std::map<std::string, std::string Settings::*>& text_options() {
  static const std::map<std::string, std::string Settings::*> options{
      {"copies", &Settings::copies},
      {"missing", &Settings::missing},
      {"standardize", &Settings::standardize},
      {"network", &Settings::network},
      {"kernel", &Settings::kernel},
      {"weights", &Settings::weights},
      {"parameterization", &Settings::parameterization},
      {"sw2", &Settings::sw2},
      {"sb2", &Settings::sb2},
      {"rule", &Settings::rule},
      {"path", &Settings::path},
      {"decay_rate", &Settings::decay_rate},
      {"implicit_steps", &Settings::implicit_steps},
      {"learning_rate", &Settings::learning_rate},
      {"candidates", &Settings::candidates},
      {"relevances", &Settings::relevances},
      {"transform", &Settings::transform},
      {"selection_rows", &Settings::selection_rows},
      {"refine_rows", &Settings::refine_rows},
      {"choice_folds", &Settings::choice_folds},
      {"average", &Settings::average},
      {"noise", &Settings::noise_model},
      {"loss", &Settings::loss},
      {"pvalue", &Settings::p_value},
      {"level", &Settings::level},
      {"validation_fraction", &Settings::validation_fraction},
      {"seed", &Settings::seed},
      {"method", &Settings::method},
      {"engine", &Settings::engine},
      {"storage", &Settings::storage},
      {"precision", &Settings::precision},
      {"max_memory", &Settings::max_memory},
      {"krylov_steps", &Settings::krylov_steps},
      {"probes", &Settings::probes},
      {"rules", &Settings::rules},
      {"checkpoint", &Settings::checkpoint},
      {"permutations", &Settings::permutations},
      {"given", &Settings::given},
      {"draws", &Settings::draws},
      {"target", &Settings::target},
      {"row_weights", &Settings::row_weights}};
  return options;
}

const std::map<std::string, bool Settings::*>& flag_options() {
  static const std::map<std::string, bool Settings::*> options{
      {"no_bias", &Settings::no_bias},
      {"no_intercept", &Settings::no_intercept},
      {"paper", &Settings::paper},
      {"select", &Settings::select},
      {"likelihood_ratio", &Settings::likelihood_ratio},
      {"binary", &Settings::binary},
      {"kernel_grid", &Settings::kernel_grid}};
  return options;
}

template <typename Value, typename Members>
void set_all(Settings& settings, const std::map<std::string, Value>& given, const Members& members) {
  for (const auto& [name, value] : given) {
    const auto found = members.find(name);
    if (found == members.end()) throw InputError(fmt::format("unknown option '{}'", name));
    settings.*(found->second) = value;
  }
}

}  // namespace

// The columns in memory stand where the program's table does.
cli::Settings to_settings(const Options& options) {
  Settings settings;
  settings.table = std::string("the data");
  settings.target = std::string("y");
  set_all(settings, options.texts, text_options());
  set_all(settings, options.flags, flag_options());
  const auto covariates = options.lists.find("covariates");
  if (covariates != options.lists.end() && !covariates->second.empty())
    settings.covariates = covariates->second.front();  // that there are some is what is checked
  const auto noise = options.lists.find("noise_columns");
  if (noise != options.lists.end() && !noise->second.empty()) settings.noise_columns = noise->second.front();
  const auto also = options.lists.find("also");
  if (also != options.lists.end()) settings.also = also->second;
  return settings;
}

FurtherTestOptions to_further_tests(const Options& options, const Job& job) {
  cli::Settings settings = to_settings(options);
  const auto group = options.lists.find("group");
  const bool grouped = group != options.lists.end() && !group->second.empty();
  if (grouped) settings.group = group->second.front();
  FurtherTestOptions further = cli::make_further_tests(settings, job);
  if (grouped) further.group = group->second;
  return further;
}

void set_lists(const Options& options, DatasetOptions& dataset) {
  dataset.covariates.clear();
  for (const auto& [name, columns] : options.lists) {
    if (name == "covariates")
      dataset.covariates = columns;
    else if (name == "columns")
      dataset.features = columns;
    else if (name == "exclude")
      dataset.exclude = columns;
    else if (name == "categorical")
      dataset.categorical = columns;
    else if (name != "also" && name != "group" && name != "noise_columns")
      throw InputError(fmt::format("unknown list '{}'", name));
  }
}

}  // namespace gradflow::python
