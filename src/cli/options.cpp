#include "cli/options.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>

#include "cli/numbers.h"
#include "gradflow/model/kernel_choice.h"

namespace gradflow::cli {
namespace {

constexpr const char* data_group = "Data";
constexpr const char* network_group = "Network";
constexpr const char* inference_group = "Inference";
constexpr const char* computation_group = "Computation";
constexpr const char* output_group = "Output";
constexpr const char* simulation_group = "Simulated data";

CLI::Option* text_option(CLI::App& command, const std::string& names, std::string& target,
                         const std::string& help, const char* group, const char* type) {
  return command.add_option(names, target, help)->group(group)->type_name(type)->capture_default_str();
}

CLI::Option* flag(CLI::App& command, const std::string& names, bool& target, const std::string& help,
                  const char* group) {
  return command.add_flag(names, target, help)->group(group);
}

// The number is checked here and read again where it is used; the message is the checker's own.
template <typename Number>
std::function<std::string(std::string&)> checked(const std::string& option,
                                                 Number (*read)(const std::string&, const std::string&)) {
  return [option, read](std::string& text) {
    if (text != "auto") read(option, text);
    return std::string();
  };
}

std::size_t edit_distance(const std::string& a, const std::string& b) {
  std::vector<std::size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), std::size_t{0});
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::size_t diagonal = row[0];
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t substituted = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, substituted});
    }
  }
  return row.back();
}

}  // namespace

void add_data_options(CLI::App& command, Settings& s) {
  text_option(command, "DATA", s.table, "Table: CSV or TSV, gzip allowed", data_group, "");
  text_option(command, "--target", s.target,
              "Response column (name, or position as #3); test, stop, fit, train: A,B,... one by one",
              data_group, "NAME");
  text_option(command, "--covariates", s.covariates, "Fixed effects: columns fitted without shrinkage",
              data_group, "A,B,...");
  text_option(command, "--columns,--feature-columns", s.feature_columns,
              "Features (default: all columns but the ones named otherwise)", data_group, "A,B,...");
  text_option(command, "--exclude", s.exclude, "Columns to leave out", data_group, "A,B,...");
  text_option(command, "--categorical", s.categorical, "Columns of numbers that are categories", data_group,
              "A,B,...");
  text_option(command, "--id", s.id, "Identifier column, carried to the predictions", data_group, "NAME");
  text_option(command, "--row-weights", s.row_weights,
              "Column of weights > 0: the noise variance of a row is s2 / weight", data_group, "NAME");
  text_option(command, "--copies", s.copies,
              "Rows equal in features, covariates and response: kept once, or all", data_group, "WHICH");
  text_option(command, "--missing", s.missing, "Rows with missing values: drop, error, or mean (fill in)",
              data_group, "POLICY");
  text_option(command, "--missing-values", s.missing_values,
              "What is missing (default: NA,,NaN,nan,N/A,null)", data_group, "A,B,...");
  text_option(command, "--delimiter", s.delimiter, "Field delimiter (default: seen from the name and header)",
              data_group, "CHAR");
  flag(command, "--no-header", s.no_header, "The first line is data: columns are x1, x2, ...", data_group);
  text_option(command, "--features", s.features, "Instead of a table: features, X.npy or FILE.npz:NAME",
              data_group, "FILE");
  text_option(command, "--response", s.response, "Instead of a table: response, y.npy or FILE.npz:NAME",
              data_group, "FILE");
  text_option(command, "--standardize", s.standardize, "Scale both (features and response), features or none",
              data_group, "WHAT");
}

void add_network_options(CLI::App& command, Settings& s) {
  text_option(
      command, "--kernel", s.kernel,
      "Infinite-width network: ntk:ACTIVATION:DEPTH or nngp:... (default: ntk:relu:2), or linear, rbf, "
      "matern32, matern52, or a weighted sum, as ntk:relu:2 + 0.3*linear; of layers: ntk(LAYERS)",
      network_group, "TEXT");
  text_option(command, "--network", s.network,
              "Finite network: ACTIVATION:WIDTHxLAYERS, as relu:128x2, or LAYERS, as "
              "'input:1x8x8 conv2d:16:3 relu avgpool dense:1' (docs/networks.md), or FILE.json",
              network_group, "TEXT");
  text_option(command, "--weights", s.weights, "Its weights: NPZ or safetensors with W0, b0, W1, b1, ...",
              network_group, "FILE");
  text_option(command, "--operator", s.operator_matrix,
              "A training operator of your own: H.npy, n x n, kernel/n", network_group, "FILE");
  text_option(command, "--parameterization", s.parameterization,
              "Of a finite network: standard (PyTorch's default) or ntk", network_group, "KIND")
      ->check(CLI::Validator(
          [](std::string& text) {
            return text == "standard" || text == "ntk" ? std::string()
                                                       : "'" + text + "' must be standard or ntk";
          },
          ""));
  flag(command, "--no-bias", s.no_bias, "A finite network without biases", network_group);
  text_option(command, "--sw2", s.sw2, "Weight variance of kernels and ntk networks (default: 2)",
              network_group, "NUMBER")
      ->check(CLI::Validator(checked("--sw2", positive_number), ""));
  text_option(command, "--sb2", s.sb2, "Bias variance of kernels and ntk networks (default: 0.1)",
              network_group, "NUMBER")
      ->check(CLI::Validator(checked("--sb2", nonnegative_number), ""));
  text_option(command, "--seed", s.seed, "Of the weights drawn, the validation rows and the simulated nulls",
              network_group, "INTEGER")
      ->check(CLI::Validator(checked("--seed", whole_number), ""));
}

void add_test_options(CLI::App& command, Settings& s) {
  flag(command, "--no-intercept", s.no_intercept, "No intercept among the fixed effects", inference_group);
  flag(command, "--paper", s.paper, "As in the paper: no fixed effects, rule reml-flow", inference_group);
  text_option(command, "--pvalue", s.p_value, "exact or satterthwaite", inference_group, "METHOD");
  text_option(command, "--level", s.level, "Of intervals and of the verdict (default: 0.95)", inference_group,
              "NUMBER")
      ->check(CLI::Validator(checked("--level", open_fraction), ""));
}

void add_stopping_options(CLI::App& command, Settings& s) {
  text_option(
      command, "--rule", s.rule,
      "Stopping rule: expected-loo (default), reml-risk (default on the other paths), reml-flow, gcv, loo "
      "or validation",
      inference_group, "NAME");
  text_option(command, "--path", s.path, "Training path: flow, ridge, decay, descent or implicit",
              inference_group, "NAME");
  text_option(command, "--decay-rate", s.decay_rate,
              "Weight decay of --path decay: a number or auto (default)", inference_group, "NUMBER")
      ->check(CLI::Validator(checked("--decay-rate", nonnegative_number), ""));
  text_option(command, "--implicit-steps", s.implicit_steps,
              "Steps of --path implicit: a number or auto (default)", inference_group, "INTEGER")
      ->check(CLI::Validator(checked("--implicit-steps", whole_number), ""));
  text_option(command, "--learning-rate", s.learning_rate, "Turns the time into full-batch steps",
              inference_group, "NUMBER")
      ->check(CLI::Validator(checked("--learning-rate", positive_number), ""));
  text_option(command, "--loss", s.loss,
              "Whose learning rate: half-mse, 1/(2n) sum (f-y)^2, or mse, without 1/2", inference_group,
              "NAME");
  text_option(command, "--validation-fraction", s.validation_fraction,
              "Part of the rows held out by rule validation", inference_group, "NUMBER")
      ->check(CLI::Validator(checked("--validation-fraction", open_fraction), ""));
}

void add_choice_options(CLI::App& command, Settings& s, bool predicts) {
  flag(command, "--select", s.select,
       "Choose the kernel by its likelihood: shape, biases, and a relevance for each feature",
       inference_group);
  text_option(
      command, "--candidates", s.candidates,
      "Kernels that --select chooses from, separated by ; (default: ntk:relu and ntk:erf of depth 1 to 3, "
      "and the best of them + linear)",
      inference_group, "TEXT;TEXT");
  text_option(
      command, "--relevances", s.relevances,
      "Of --select: each (one a feature), columns (indicators of a category share), one, or groups of "
      "columns that share, as a,b;c,d",
      inference_group, "WHICH");
  text_option(command, "--selection-rows", s.selection_rows,
              "Most rows that --select and --transform look at", inference_group, "INTEGER")
      ->check(CLI::Validator(checked("--selection-rows", whole_number), ""));
  text_option(command, "--refine-rows", s.refine_rows,
              "With --select: most rows that the chosen kernel's parameters are then refined on (default 0: "
              "not at all)",
              inference_group, "INTEGER")
      ->check(CLI::Validator(checked("--refine-rows", whole_number), ""));
  text_option(
      command, "--transform", s.transform,
      "Of the response: none, log, box-cox or yeo-johnson (=NUMBER, or chosen by likelihood), or auto "
      "(default: auto with --select, else none)",
      inference_group, "NAME");
  if (!predicts) return;
  text_option(
      command, "--choice-folds", s.choice_folds,
      fmt::format("Choose again without each of so many folds of the rows, for intervals that know "
                  "what choosing costs "
                  "(0: never; default: {} with --select of at most {} rows and --average 0; they take {} "
                  "times a choice's time or less)",
                  ChoiceOptions::default_folds, ChoiceOptions::most_rows_of_default_folds,
                  ChoiceOptions::default_folds),
      inference_group, "INTEGER")
      ->check(CLI::Validator(checked("--choice-folds", whole_number), ""));
  text_option(command, "--average", s.average,
              fmt::format("With --select: choose the kernel's parameters without each of so many folds too, "
                          "and predict by the mean of all fits "
                          "(0: no mean; default: {} for at most {} rows)",
                          ChoiceOptions::default_average, ChoiceOptions::most_rows_of_default_average),
              inference_group, "INTEGER")
      ->check(CLI::Validator(checked("--average", whole_number), ""));
}

void add_noise_options(CLI::App& command, Settings& s) {
  text_option(
      command, "--noise", s.noise_model,
      "normal, student (heavy tails; =NU, or chosen), or fitted (variance by the fitted mean); the test "
      "stays that of normal noise",
      inference_group, "MODEL");
  text_option(command, "--noise-columns", s.noise_columns,
              "Features or covariates that the noise variance depends on", inference_group, "A,B,...");
}

void add_computation_options(CLI::App& command, Settings& s) {
  text_option(command, "--engine", s.engine,
              "dense (an eigendecomposition), krylov (products only), or auto: dense up to 4000 rows",
              computation_group, "NAME");
  text_option(command, "--storage", s.storage,
              "krylov: keep the operator's entries in memory, or none; auto: what fits and is faster",
              computation_group, "WHERE");
  text_option(command, "--precision", s.precision,
              "krylov: float32 or float64 entries and sweeps; auto: float32 where evaluated anew",
              computation_group, "TYPE");
  text_option(command, "--max-memory", s.max_memory, "Most memory to plan with (default: what is available)",
              computation_group, "SIZE")
      ->check(CLI::Validator(checked("--max-memory", byte_count), ""));
  text_option(command, "--krylov-steps", s.krylov_steps,
              "Most vectors of the Krylov spaces (default: 1000, or what memory allows)", computation_group,
              "INTEGER")
      ->check(CLI::Validator(checked("--krylov-steps", whole_number), ""));
  text_option(command, "--probes", s.probes,
              "Random probes of the spectrum (default: as many as the results need, at most 64)",
              computation_group, "INTEGER")
      ->check(CLI::Validator(checked("--probes", whole_number), ""));
  text_option(command, "--checkpoint", s.checkpoint,
              "krylov: record products here, so that the same command goes on after an interruption",
              computation_group, "FILE");
}

void add_rules_option(CLI::App& command, Settings& s) {
  text_option(command, "--rules", s.rules,
              "krylov: run all rules, or only the chosen one (reml-flow alone is many times cheaper)",
              computation_group, "WHICH");
}

void add_new_row_options(CLI::App& command, Settings& s) {
  text_option(command, "MODEL", s.model, "Model file that gradflow fit wrote", data_group, "")->required();
  text_option(command, "NEW", s.table, "New rows: a table with the training columns", data_group, "");
  text_option(command, "--features", s.features, "New rows as an array: X.npy or FILE.npz:NAME", data_group,
              "FILE");
  text_option(command, "--cross", s.cross, "For models of --operator: kernel(new, train)/n, m x n",
              data_group, "FILE");
  text_option(command, "--cross-diagonal", s.cross_diagonal,
              "For models of --operator: kernel(new, new)/n, m", data_group, "FILE");
  text_option(command, "--delimiter", s.delimiter, "Field delimiter (default: seen from the name and header)",
              data_group, "CHAR");
  flag(command, "--no-header", s.no_header, "The first line is data: columns are x1, x2, ...", data_group);
  text_option(
      command, "--interval", s.interval,
      "Of new responses: calibrated (by leave-one-out errors), model, jackknife+ or leave-one-out "
      "(distribution-free), cross-validated (of a choice or a training made again without folds), or none "
      "(default: "
      "cross-validated where the choice was made again, else calibrated where the errors were, else model)",
      inference_group, "KIND");
  text_option(command, "--level", s.level,
              "Of the intervals (default: the model's; 0.95 of a trained network)", inference_group, "NUMBER")
      ->check(CLI::Validator(checked("--level", open_fraction), ""));
}

void add_cross_option(CLI::App& command, Settings& s) {
  text_option(command, "--cross", s.cross,
              "Write kernel(new, train)/n for these rows instead: NEW.npy or NEW.csv", data_group, "FILE");
}

void add_simulation_options(CLI::App& command, Settings& s) {
  const auto option = [&command](const std::string& names, std::string& target, const std::string& help,
                                 const char* type) {
    return text_option(command, names, target, help, simulation_group, type);
  };
  const auto whole = [&option](const std::string& names, std::string& target, const std::string& help) {
    option(names, target, help, "INTEGER")
        ->check(CLI::Validator(checked(names.substr(names.find("--")), whole_number), ""));
  };
  const auto number = [&option](const std::string& names, std::string& target, const std::string& help,
                                double (*read)(const std::string&, const std::string&)) {
    option(names, target, help, "NUMBER")->check(CLI::Validator(checked(names, read), ""));
  };
  option("FUNCTION", s.function,
         "friedman1, friedman2, friedman3, mixed, simple, nonlinear, single-index, parity, null, or model",
         "")
      ->required();
  whole("-n,--rows", s.rows, "Rows, copies and replicates counted");
  whole("-d,--dimension", s.dimension, "Features (default: the function's own number)");
  number("--noise", s.noise, "Standard deviation of the noise (default: the function's own)",
         nonnegative_number);
  number("--snr", s.signal_to_noise,
         "Variance of f over that of the noise: sets the noise, for model tau (default: 1)", positive_number);
  option("--noise-kind", s.noise_kind, "normal, t3 or skewed, scaled to the same variance", "NAME");
  number("--correlation", s.correlation, "Of neighbouring features: AR(1) over the columns", finite_number);
  whole("--copies", s.simulated_copies, "Rows equal in x and y, each draw so many times");
  whole("--replicates", s.replicates, "Draws equal in x only, each x so many times");
  whole("--classes", s.classes, "y is one of so many classes of equal size: f + noise, cut");
  number("--binary-rate", s.binary_rate, "y is 1 in this part of the rows, where f + noise is largest, or 0",
         open_fraction);
  option("--kernel", s.kernel, "model: its kernel, as gradflow stop takes it (default: ntk:relu:2)", "TEXT");
  number("--tau", s.tau, "model: f is N(0, noise^2 tau H), H = kernel/n (default: as --snr says)",
         nonnegative_number);
  whole("--seed", s.seed, "Of all draws");
  whole("--replicate", s.replicate, "Number of the data set: each is an independent draw of one seed");
  flag(command, "--fixed-inputs", s.fixed_inputs, "The features are replicate 0's in every replicate",
       simulation_group);
  text_option(command, "--truth", s.truth, "CSV with f, the response without noise, row by row", output_group,
              "FILE");
}

void add_file_output(CLI::App& command, Settings& s, const std::string& what, bool required) {
  text_option(command, "-o,--output", s.output, what, output_group, "FILE")->required(required);
}

void add_report_options(CLI::App& command, Settings& s) {
  text_option(command, "MODEL_OR_RUN", s.model,
              "Model file of gradflow fit, or what test, stop, fit or train wrote with --json", data_group,
              "")
      ->required();
  text_option(command, "--figures", s.figures, "Write the figures there too, as SVG", output_group, "FOLDER");
  flag(command, "-q,--quiet", s.quiet, "No text on standard output", output_group);
}

void add_output_options(CLI::App& command, Settings& s) {
  text_option(command, "--json", s.json, "Everything the run found, as JSON", output_group, "FILE");
  flag(command, "-q,--quiet", s.quiet, "No text on standard output", output_group);
  text_option(command, "--threads", s.threads, "0: OMP_NUM_THREADS, or all cores", output_group, "INTEGER")
      ->check(CLI::Validator(checked("--threads", whole_number), ""));
}

std::vector<std::pair<std::string, std::string>> options_in_effect(const CLI::App& command) {
  std::vector<std::pair<std::string, std::string>> options;
  for (const CLI::Option* option : command.get_options()) {
    const std::string name =
        option->get_lnames().empty() ? option->get_single_name() : option->get_lnames().front();
    if (name == "help") continue;
    const bool is_flag = option->get_expected_max() == 0;
    const std::string value = is_flag               ? (option->count() > 0 ? "true" : "false")
                              : option->count() > 0 ? fmt::format("{}", fmt::join(option->results(), "; "))
                                                    : option->get_default_str();
    options.emplace_back(name, value);
  }
  return options;
}

std::string nearest_option(const CLI::App& command, const std::string& unknown) {
  std::string nearest;
  std::size_t smallest = 3;  // farther is no likely slip
  for (const CLI::Option* option : command.get_options())
    for (const std::string& name : option->get_lnames()) {
      const std::size_t distance = edit_distance("--" + name, unknown);
      if (distance < smallest) {
        smallest = distance;
        nearest = "--" + name;
      }
    }
  return nearest;
}

}  // namespace gradflow::cli
