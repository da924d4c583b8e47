#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "gradflow/model/class_job.h"

namespace gradflow {

/// Everything a prediction of class probabilities needs, as one value that can be saved and loaded.
///
///     u(x) = bias + h_x'dual  (K scores),     p(x) = map(u(x)), or of method laplace softmax averaged over
///                                             the scores' Gaussian (inference/classification.h)
struct ClassModel {
  static constexpr int format_version = 1;  ///< of the file; a program reads files up to its own

  std::string gradflow_version;        ///< that fitted the model
  Recipe recipe;                       ///< the encoding of the data
  std::optional<KernelSource> kernel;  ///< with the network's weights; always there
  Matrix X;                            ///< n x d, encoded training rows
  std::vector<std::string> classes;    ///< K names
  /// Of it are kept: outcome, reason, method, classes, tau, bias_variance, path, dual, bias,
  /// site_probabilities, map and frequencies.
  ClassFit fit;
  double log10_p_value = std::numeric_limits<double>::quiet_NaN();  ///< of the test
  std::uint64_t seed = 1;
  std::vector<std::string> warnings;  ///< of the fit
  std::string run;                    ///< as FittedModel's, by json_class_report()

  Index rows() const noexcept { return X.rows(); }  ///< n

  /// One safetensors file: the arrays as float64 tensors, everything else as JSON under
  /// "gradflow_class_model". Appears whole or not at all. A loaded model predicts the same bits.
  void save(const std::string& path_name) const;
  std::string bytes() const;  ///< of that file; parse() reads them

  /// Throws InputError, one sentence naming the file: no safetensors file, no model of classes, written by a
  /// newer format, a tensor missing, of wrong shape or not finite.
  static ClassModel load(const std::string& path_name);
  static ClassModel parse(std::string_view bytes, const std::string& source);
};

/// Whether the file is a model of classes; false for anything else, unreadable files included. Reads the
/// file's header only.
bool is_class_model(const std::string& path_name);

/// The model of a finished job. Throws InputError when there is no usable fit, saying why.
ClassModel make_model(const ClassJob& job, ClassResult result);

/// One entry for each row of the input.
struct ClassPredictions {
  std::vector<std::string> ids;
  Labels most_probable;               ///< -1 where a row was not predicted
  Matrix probabilities;               ///< m x K, rows sum to one; NaN where a row was not predicted
  std::vector<std::string> warnings;  ///< complete sentences
};

/// New rows are taken in blocks, so that no matrix of new by training rows exceeds about 200 MB. Cost of
/// method laplace: as ClassPredictor's.
ClassPredictions predict(const ClassModel& model, const NewRows& rows, Progress* progress = nullptr);

}  // namespace gradflow
