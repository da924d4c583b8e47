#include "cli/make_job.h"

#include <fstream>
#include <iterator>

#include "cli/numbers.h"
#include "gradflow/base/error.h"

namespace gradflow::cli {
namespace {

// Throws unless at most one of two options is given.
void exclusive(bool first, bool second, const std::string& sentence) {
  if (first && second) throw InputError(sentence);
}

char parse_delimiter(const std::string& text) {
  if (text.empty()) return 0;
  if (text == "tab" || text == "\\t") return '\t';
  if (text == "comma") return ',';
  if (text == "semicolon") return ';';
  if (text.size() == 1 && text != "\"" && text != "\n" && text != "\r") return text[0];
  throw InputError(fmt::format("--delimiter {}: must be one character, tab, comma or semicolon", text));
}

MissingPolicy parse_missing(const std::string& text) {
  if (text == "drop") return MissingPolicy::drop;
  if (text == "error") return MissingPolicy::error;
  if (text == "mean") return MissingPolicy::mean;
  throw InputError(fmt::format("--missing {}: must be drop, error or mean", text));
}

Standardize parse_standardize(const std::string& text) {
  if (text == "both") return Standardize::both;
  if (text == "features") return Standardize::features;
  if (text == "none") return Standardize::none;
  throw InputError(fmt::format("--standardize {}: must be both, features or none", text));
}

CopiesPolicy parse_copies(const std::string& text) {
  if (text == "once") return CopiesPolicy::once;
  if (text == "all") return CopiesPolicy::all;
  throw InputError(fmt::format("--copies {}: must be once or all", text));
}

void check_data(const Settings& s, Purpose purpose) {
  const bool table = !s.table.empty(), arrays = !s.features.empty() || !s.response.empty();
  exclusive(
      table, arrays,
      fmt::format("both a table ('{}') and --features or --response are given: the data are one or the other",
                  s.table));
  if (!table && !arrays)
    throw InputError("no data: give a table DATA.csv with --target, or --features with --response");
  if (table && s.target.empty() && purpose != Purpose::kernel)
    throw InputError(fmt::format("--target is needed: the name of the response column in '{}'", s.table));
  if (!arrays) return;
  if (!s.target.empty())
    throw InputError("--target names a column of a table; with --features the response is --response");
  if (s.features.empty() && s.operator_matrix.empty())
    throw InputError("--response without --features: only --operator needs no features");
  if (s.response.empty() && purpose != Purpose::kernel)
    throw InputError("--features without --response: the response is needed");
}

void check_network(const Settings& s) {
  const bool network = !s.network.empty(), kernel = !s.kernel.empty(), matrix = !s.operator_matrix.empty();
  exclusive(network, kernel,
            "--network and --kernel: give one, a finite network or an infinite-width kernel");
  exclusive(matrix, network, "--operator and --network: give one, a matrix of your own or a network");
  exclusive(matrix, kernel, "--operator and --kernel: give one, a matrix of your own or a kernel");
  exclusive(matrix, !s.weights.empty(), "--operator and --weights: a matrix of your own has no weights");
  exclusive(kernel, !s.weights.empty(), "--kernel and --weights: an infinite-width kernel has no weights");
  const bool finite = network || !s.weights.empty();
  if (!finite && (s.no_bias || !s.parameterization.empty()))
    throw InputError(fmt::format("{} is for finite networks: give --network too",
                                 s.no_bias ? "--no-bias" : "--parameterization"));
  if (matrix && (!s.sw2.empty() || !s.sb2.empty()))
    throw InputError("--sw2 and --sb2 do not apply to --operator, a matrix of your own");
}

void check_inference(const Settings& s) {
  exclusive(s.paper, !s.covariates.empty(),
            "--paper and --covariates: the paper's method has no fixed effects");
  if (!s.decay_rate.empty() && s.path != "decay")
    throw InputError(fmt::format("--decay-rate is for --path decay, and the path is '{}'", s.path));
  if (!s.implicit_steps.empty() && s.path != "implicit")
    throw InputError(fmt::format("--implicit-steps is for --path implicit, and the path is '{}'", s.path));
  if (s.path == "descent" && s.learning_rate.empty())
    throw InputError("--path descent needs --learning-rate, the size of its steps");
}

Architecture make_architecture(const Settings& s) {
  std::string text = s.network;
  const bool any_widths =
      !s.weights.empty() && text.find(':') == std::string::npos && !text.starts_with("linear");
  if (any_widths) {  // only the activation is named: the widths are the file's
    if (text.empty()) text = "relu";
    text.insert(std::min(text.find(','), text.size()), ":1");
  }
  Architecture architecture = parse_architecture(text);
  if (any_widths) architecture.widths.clear();
  if (s.no_bias) architecture.bias = false;
  if (s.parameterization == "ntk") architecture.parameterization = Parameterization::ntk;
  if (s.parameterization == "standard") architecture.parameterization = Parameterization::standard;
  if (!s.sw2.empty() || !s.sb2.empty()) {
    if (architecture.parameterization != Parameterization::ntk)
      throw InputError("--sw2 and --sb2 need --parameterization ntk");
    if (!s.sw2.empty()) architecture.sw2 = positive_number("--sw2", s.sw2);
    if (!s.sb2.empty()) architecture.sb2 = nonnegative_number("--sb2", s.sb2);
  }
  architecture.check();
  return architecture;
}

// The text of layers, or a file of JSON.
LayeredArchitecture make_layers(const Settings& s, Index outputs) {
  LayeredArchitecture layers;
  if (s.network.ends_with(".json")) {
    std::ifstream file(s.network);
    const std::string json{std::istreambuf_iterator<char>(file), {}};
    if (!file.is_open() || file.bad()) throw FileError(fmt::format("--network: cannot read '{}'", s.network));
    layers = layered_architecture_from_json(json, outputs);
  } else {
    layers = parse_layered_architecture(s.network, outputs);
  }
  if (s.no_bias) layers.bias = false;
  if (s.parameterization == "ntk") layers.parameterization = Parameterization::ntk;
  if (s.parameterization == "standard") layers.parameterization = Parameterization::standard;
  if (!s.sw2.empty() || !s.sb2.empty()) {
    if (layers.parameterization != Parameterization::ntk)
      throw InputError("--sw2 and --sb2 need --parameterization ntk");
    if (!s.sw2.empty()) layers.sw2 = positive_number("--sw2", s.sw2);
    if (!s.sb2.empty()) layers.sb2 = nonnegative_number("--sb2", s.sb2);
  }
  layers.check(outputs);
  return layers;
}

LayeredKernel make_layered_kernel(const Settings& s) {
  LayeredKernel kernel = parse_layered_kernel(s.kernel);
  if (!s.sw2.empty()) kernel.architecture.sw2 = positive_number("--sw2", s.sw2);
  if (!s.sb2.empty()) kernel.architecture.sb2 = nonnegative_number("--sb2", s.sb2);
  return kernel;
}

KernelSum make_kernel(const Settings& s) {
  KernelSum kernel = parse_kernel_sum(s.kernel.empty() ? "ntk:relu:2" : s.kernel);
  bool networks = false;
  for (KernelTerm& term : kernel.terms) {
    if (term.kind != KernelTerm::Kind::network) continue;
    networks = true;
    if (!s.sw2.empty()) term.network.sw2 = positive_number("--sw2", s.sw2);
    if (!s.sb2.empty()) term.network.sb2 = nonnegative_number("--sb2", s.sb2);
    term.network.check();
  }
  if (!networks && (!s.sw2.empty() || !s.sb2.empty()))
    throw InputError(fmt::format("--sw2 and --sb2 are of networks, and --kernel '{}' has none", s.kernel));
  return kernel;
}

OperatorSpec make_operator_spec(const Settings& s, Purpose purpose) {
  OperatorSpec spec;
  spec.seed = whole_number("--seed", s.seed);
  if (!s.operator_matrix.empty()) {
    spec.kind = OperatorKind::matrix;
    spec.matrix = s.operator_matrix;
  } else if (!s.network.empty() || !s.weights.empty()) {
    spec.kind = OperatorKind::finite;
    if (is_layered_text(s.network) || s.network.ends_with(".json"))
      spec.layered = make_layers(
          s, purpose == Purpose::training && s.target_is_class ? LayeredArchitecture::any_outputs : 1);
    else
      spec.network = make_architecture(s);
    spec.weights = s.weights;
  } else if (is_layered_kernel_text(s.kernel)) {
    spec.layered_kernel = make_layered_kernel(s);
  } else {
    spec.kernel = make_kernel(s);
  }
  return spec;
}

Path make_path(const Settings& s, AnalysisOptions& options) {
  Path path;
  path.kind = parse_path(s.path);
  const bool decay = path.kind == PathKind::decay, implicit = path.kind == PathKind::implicit;
  if (decay && !s.decay_rate.empty() && s.decay_rate != "auto")
    path.decay = nonnegative_number("--decay-rate", s.decay_rate);
  else if (implicit && !s.implicit_steps.empty() && s.implicit_steps != "auto")
    path.iterations = static_cast<int>(
        std::min<std::uint64_t>(whole_number("--implicit-steps", s.implicit_steps), 1 << 20));
  else
    options.estimate_second_parameter = decay || implicit;
  if (implicit && path.iterations < 1) throw InputError("--implicit-steps 0: must be >= 1");
  // A step of gradient descent on the loss without 1/2 is twice as long in flow time.
  if (path.kind == PathKind::descent)
    path.learning_rate = options.learning_rate * (options.loss == Loss::mse ? 2.0 : 1.0);
  return path;
}

AnalysisOptions make_analysis(const Settings& s) {
  AnalysisOptions options;
  options.paper = s.paper;
  options.intercept = !s.no_intercept && !s.paper;
  if (!s.learning_rate.empty()) options.learning_rate = positive_number("--learning-rate", s.learning_rate);
  if (s.loss != "half-mse" && s.loss != "mse")
    throw InputError(fmt::format("--loss {}: must be half-mse or mse", s.loss));
  options.loss = s.loss == "mse" ? Loss::mse : Loss::half_mse;
  if (s.p_value != "exact" && s.p_value != "satterthwaite")
    throw InputError(fmt::format("--pvalue {}: must be exact or satterthwaite", s.p_value));
  options.p_value = s.p_value == "exact" ? PValueMethod::exact : PValueMethod::satterthwaite;
  if (!s.level.empty()) options.level = open_fraction("--level", s.level);
  options.validation_fraction = open_fraction("--validation-fraction", s.validation_fraction);
  options.seed = whole_number("--seed", s.seed);
  options.path = make_path(s, options);
  if (s.paper) options.rule = RuleKind::reml_path;
  if (!s.rule.empty()) options.rule = parse_rule(s.rule, options.path.kind);
  return options;
}

// "none", "auto", "log", "box-cox", "box-cox=0.5"
void parse_transform_option(const std::string& text, ChoiceOptions& choice) {
  if (text == "none") return;
  if (text == "auto") {
    choice.automatic_transform = true;
    return;
  }
  const std::size_t equals = text.find('=');
  const std::string name = text == "log" ? "box-cox" : text.substr(0, equals);
  if (name != "box-cox" && name != "yeo-johnson")
    throw InputError(fmt::format(
        "--transform {}: must be none, auto, log, box-cox or yeo-johnson, the last two as they are or "
        "with a number, as box-cox=0.5",
        text));
  choice.transform = parse_transform(name);
  if (text == "log") choice.lambda = 0.0;
  if (equals != std::string::npos)
    choice.lambda = finite_number("--transform " + name, text.substr(equals + 1));
}

std::vector<std::string> split_at_semicolons(const std::string& text) {
  std::vector<std::string> parts;
  for (std::size_t begin = 0; begin <= text.size();) {
    const std::size_t end = std::min(text.find(';', begin), text.size());
    parts.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return parts;
}

std::vector<std::string> split_kernels(const std::string& text) {
  std::vector<std::string> kernels;
  for (std::string kernel : split_at_semicolons(text)) {
    kernel.erase(0, kernel.find_first_not_of(' '));
    kernel.erase(kernel.find_last_not_of(' ') + 1);
    if (!kernel.empty()) kernels.push_back(to_string(parse_kernel_sum(kernel)));
  }
  return kernels;
}

void parse_relevances(const std::string& text, ChoiceOptions& choice) {
  if (text == "each") return;
  choice.relevances = text != "one";
  choice.by_column = text == "columns";
  if (text == "one" || text == "columns") return;
  for (const std::string& part : split_at_semicolons(text)) {
    choice.groups.push_back(split_list(part));
    if (choice.groups.back().empty())
      throw InputError(
          fmt::format("--relevances {}: must be each, columns, one, or groups of columns, as a,b;c,d", text));
  }
}

ChoiceOptions make_choice(const Settings& s, const AnalysisOptions& analysis) {
  ChoiceOptions choice;
  choice.select = s.select;
  choice.seed = analysis.seed;
  choice.intercept = analysis.intercept;
  choice.candidates = split_kernels(s.candidates);
  choice.rows = static_cast<Index>(
      std::min<std::uint64_t>(whole_number("--selection-rows", s.selection_rows), std::uint64_t{1} << 20));
  if (choice.rows < 20) throw InputError(fmt::format("--selection-rows {}: must be >= 20", choice.rows));
  choice.refine_rows = static_cast<Index>(
      std::min<std::uint64_t>(whole_number("--refine-rows", s.refine_rows), std::uint64_t{1} << 20));
  if (choice.refine_rows > 0 && !s.select) throw InputError("--refine-rows is for --select: give that too");
  if (!s.choice_folds.empty())
    choice.folds =
        static_cast<int>(std::min<std::uint64_t>(whole_number("--choice-folds", s.choice_folds), 1 << 20));
  if (choice.folds == 1) throw InputError("--choice-folds 1: must be >= 2, or 0 for none");
  if (!s.average.empty())
    choice.average = static_cast<int>(std::min<std::uint64_t>(whole_number("--average", s.average), 1 << 20));
  if (choice.average == 1) throw InputError("--average 1: must be >= 2, or 0 for none");
  if (choice.average.value_or(0) > 0 && !s.select)
    throw InputError("--average is for --select: give that too");
  // What is chosen with --select is judged by the likelihood, and so is whether to transform.
  parse_transform_option(!s.transform.empty() ? s.transform : s.select ? "auto" : "none", choice);
  parse_relevances(s.relevances, choice);
  if (s.relevances != "each" && !s.select) throw InputError("--relevances is for --select: give that too");
  if (!choice.candidates.empty() && !s.select)
    throw InputError("--candidates is for --select: give that too");
  if (choice.chooses() && (!s.network.empty() || !s.weights.empty() || !s.operator_matrix.empty()))
    throw InputError(
        "--select and a --transform left to the likelihood are for infinite-width kernels: for a network or "
        "a "
        "matrix of your own give --transform with its number, as box-cox=0.5");
  if (choice.folds.value_or(0) > 0 && !choice.chooses())
    throw InputError(
        "--choice-folds is for what is left to the likelihood: give --select, or --transform without a "
        "number");
  if (choice.chooses() && s.paper)
    throw InputError("--paper and --select or --transform: the paper's method chooses neither");
  return choice;
}

// "normal", "student", "student=4", "fitted", and columns
NoiseOptions make_noise(const Settings& s) {
  NoiseOptions noise;
  noise.columns = split_list(s.noise_columns);
  const std::size_t equals = s.noise_model.find('=');
  const std::string name = s.noise_model.substr(0, equals);
  const bool fitted = s.noise_model == "fitted";
  if (name != "student" && s.noise_model != "normal" && !fitted)
    throw InputError(fmt::format(
        "--noise {}: must be normal, student, student=NU or fitted; columns are for --noise-columns",
        s.noise_model));
  if (name == "student" && !noise.columns.empty())
    throw InputError(
        "--noise student and --noise-columns: the noise has one model, heavy tails or variances");
  noise.on_fitted_mean = fitted;
  if (name == "student") noise.kind = NoiseModelKind::student;
  if (fitted || !noise.columns.empty()) noise.kind = NoiseModelKind::variance;
  if (equals != std::string::npos) {
    noise.dof = finite_number("--noise student", s.noise_model.substr(equals + 1));
    if (!NoiseOptions::takes_dof(*noise.dof))
      throw InputError(fmt::format("--noise {}: the degrees of freedom {}", s.noise_model,
                                   NoiseOptions::dof_requirement()));
  }
  return noise;
}

ComputeOptions make_compute(const Settings& s) {
  ComputeOptions compute;
  compute.engine = parse_engine(s.engine);
  compute.storage = parse_storage(s.storage);
  compute.precision = parse_precision_choice(s.precision);
  if (!s.max_memory.empty()) compute.max_memory = byte_count("--max-memory", s.max_memory);
  const bool for_krylov = compute.storage != StorageChoice::automatic ||
                          compute.precision != PrecisionChoice::automatic || !s.krylov_steps.empty() ||
                          !s.probes.empty() || !s.checkpoint.empty();
  if (compute.engine == EngineChoice::dense && for_krylov)
    throw InputError(
        "--engine dense: --storage, --precision, --krylov-steps, --probes and --checkpoint are for --engine "
        "krylov");
  return compute;
}

void add_krylov_limits(const Settings& s, KrylovOptions& krylov) {
  constexpr std::uint64_t most = 1 << 20;
  if (!s.krylov_steps.empty())
    krylov.max_steps = static_cast<Index>(std::min(whole_number("--krylov-steps", s.krylov_steps), most));
  if (krylov.max_steps < 2) throw InputError(fmt::format("--krylov-steps {}: must be >= 2", s.krylov_steps));
  if (!s.probes.empty())
    krylov.probes = static_cast<Index>(std::min(whole_number("--probes", s.probes), most));
  if (krylov.probes == 1)
    throw InputError(
        "--probes 1: must be >= 2 (a standard error needs two), or 0 for as many as the results need");
  krylov.check();
}

}  // namespace

TableOptions make_table_options(const Settings& settings) {
  TableOptions options;
  options.delimiter = parse_delimiter(settings.delimiter);
  options.header = !settings.no_header;
  if (!settings.missing_values.empty()) options.missing_values = split_list(settings.missing_values);
  return options;
}

Job make_job(const Settings& settings, Purpose purpose) {
  check_data(settings, purpose);
  check_network(settings);
  Job job;
  job.source = {.table = settings.table,
                .features = settings.features,
                .response = settings.response,
                .table_options = make_table_options(settings)};
  job.dataset = {.target = settings.target,
                 .covariates = split_list(settings.covariates),
                 .features = split_list(settings.feature_columns),
                 .exclude = split_list(settings.exclude),
                 .categorical = split_list(settings.categorical),
                 .id = settings.id,
                 .missing = parse_missing(settings.missing),
                 .standardize = parse_standardize(settings.standardize),
                 .row_weights = settings.row_weights,
                 .copies = parse_copies(settings.copies)};
  job.operator_spec = make_operator_spec(settings, purpose);
  if (purpose == Purpose::inference) {
    check_inference(settings);
    job.analysis = make_analysis(settings);
    job.analysis.diagnostics = true;
    job.choice = make_choice(settings, job.analysis);
    job.noise = make_noise(settings);
    job.compute = make_compute(settings);
    add_krylov_limits(settings, job.analysis.krylov);
    job.checkpoint = settings.checkpoint;
    if (settings.rules != "all" && settings.rules != "chosen")
      throw InputError(fmt::format("--rules {}: must be all or chosen", settings.rules));
    job.all_rules = settings.rules == "all";
  }
  return job;
}

}  // namespace gradflow::cli
