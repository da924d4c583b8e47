#pragma once

#include <string>
#include <vector>

namespace gradflow::cli {

/// The options of one command as the user gave them, defaults filled in. Texts are turned into a Job by
/// make_job(); numbers have been checked when they were parsed.
struct Settings {
  // Data
  std::string table, target, covariates, feature_columns, exclude, categorical, id, row_weights;
  std::string copies = "once";
  std::string missing = "drop", missing_values, delimiter;
  bool no_header = false;
  std::string features, response;
  std::string standardize = "both";

  // Network
  std::string network, kernel, operator_matrix, weights, parameterization;
  bool no_bias = false;
  std::string sw2, sb2;

  // Inference
  bool no_intercept = false, paper = false;
  std::string rule, path = "flow", decay_rate, implicit_steps, learning_rate;
  bool select = false;
  std::string noise_model = "normal", noise_columns;
  std::string candidates, transform, selection_rows = "1500", refine_rows = "0", relevances = "each",
                                     choice_folds, average;
  std::string loss = "half-mse", p_value = "exact", level, validation_fraction = "0.2", training_folds,
              training_twins, seed = "1";

  // Classes
  bool target_is_class = false, kernel_grid = false;
  std::string method;
  // Tests beside the score test
  bool likelihood_ratio = false, binary = false;
  std::string permutations, group, given, draws;
  std::vector<std::string> also;

  // Computation
  std::string engine = "auto", storage = "auto", precision = "auto", max_memory, krylov_steps, probes,
              rules = "all", checkpoint;

  // Training
  std::string width, depth, activation,
      center = "none", optimizer = "gd", momentum, weight_decay = "0", decay_to = "zero",
      schedule = "constant", schedule_period, warm_up = "0", batch, stop, steps, max_steps = "100000",
      training_loss, training_precision = "float64", checkpoint_seconds = "20", onnx, watch, held_out;
  bool no_refit = false, no_watch = false;

  // Simulated data
  std::string function, rows = "200", dimension, noise, signal_to_noise, noise_kind = "normal",
                        correlation = "0", simulated_copies = "1", replicates = "1", classes, binary_rate,
                        replicate = "0", tau, truth;
  bool fixed_inputs = false;

  // New rows
  std::string model, cross, cross_diagonal, interval;

  // Output
  std::string json, output, figures, threads = "0";
  bool quiet = false;
};

}  // namespace gradflow::cli
