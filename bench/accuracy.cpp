// ./x bench accuracy [OUT.json] [--splits N] [--method NAME]... [--data FOLDER]... [--peers FILE.json]
// [--as-is]
//
// Test error and log density of `gradflow fit` and `predict` on standard splits, as a user runs them: the
// same options for every data set. A folder holds data.csv (header; the last column is the response) and
// splits.json
// ("train" and "test": lists of 0-based rows). Rows equal to an earlier one count in the tables twice: as
// they are, and with copies kept once in the whole table; with --as-is only the former.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <vector>

#include "bench_support.h"
#include "gradflow/base/atomic_file.h"
#include "gradflow/model/fitted_model.h"

namespace {

using namespace gradflow;
using bench::Json;
using bench::Mean;
using bench::mean_of;
namespace fs = std::filesystem;

struct Settings {
  std::string out = "out/bench/accuracy.json", peers;
  std::vector<std::string> folders, methods;
  int splits = 20;
  bool as_is = false;  // not once more with copies kept once
};

struct DataSet {
  std::string name, header, target;
  std::vector<std::string> lines;  // one per row
  Json splits;
  std::set<Index> copies;  // rows equal to an earlier one
  bool once = false;       // copies kept once in the table
};

struct Score {
  double rmse = 0.0, log_density = 0.0, coverage = 0.0, seconds = 0.0;
  Index train = 0;
  std::string kernel;
};

DataSet load(const std::string& folder) {
  std::ifstream file(folder + "/data.csv");
  if (!file) throw std::runtime_error(folder + "/data.csv cannot be read");
  DataSet data;
  data.name = fs::path(folder).filename().string();
  std::getline(file, data.header);
  std::set<std::string> seen;
  for (std::string line; std::getline(file, line);) {
    if (line.empty()) continue;
    if (!seen.insert(line).second) data.copies.insert(static_cast<Index>(data.lines.size()));
    data.lines.push_back(line);
  }
  data.target = data.header.substr(data.header.rfind(',') + 1);
  data.splits = Json::parse(std::ifstream(folder + "/splits.json"));
  return data;
}

// Rows of a split; with copies kept once, those that are no copy of an earlier row of the table.
std::vector<Index> rows_of(const DataSet& data, const char* part, int split) {
  std::vector<Index> rows = data.splits[part][static_cast<std::size_t>(split)].get<std::vector<Index>>();
  if (data.once) std::erase_if(rows, [&](Index row) { return data.copies.contains(row); });
  return rows;
}

std::string text_of(const DataSet& data, const std::vector<Index>& rows) {
  std::string text = data.header + "\n";
  for (const Index row : rows) text += data.lines[static_cast<std::size_t>(row)] + "\n";
  return text;
}

const std::array<std::string, 5> method_names{"default", "select", "select, one fit", "select, untransformed",
                                              "select, likelihood alone"};

// The options of a method: the same for every set. NAME+ROWS: NAME with its kernel refined on so many rows.
Job job_of(const std::string& named, const std::string& table, const std::string& target) {
  const std::size_t plus = named.find('+');
  const std::string method = named.substr(0, plus);
  Job job;
  if (plus != std::string::npos) job.choice.refine_rows = std::stol(named.substr(plus + 1));
  job.source.table = table;
  job.dataset.target = target;
  job.all_rules = false;
  if (method != "default") job.choice.select = true;
  if (method != "select, untransformed")
    job.choice.automatic_transform = job.choice.select;  // as the program does
  if (method == "select, likelihood alone") job.choice.guard_folds = 0;
  if (method == "select, one fit" || method == "select, likelihood alone") job.choice.average = 0;
  return job;
}

Score score(const DataSet& data, const std::string& method, int split, const std::string& scratch) {
  const std::vector<Index> train = rows_of(data, "train", split);
  const Table test = parse_table(text_of(data, rows_of(data, "test", split)), data.name);
  const std::string path = scratch + "/train.csv";
  write_file_atomically(path, text_of(data, train));
  const Job job = job_of(method, path, data.target);
  Score result;
  result.train = static_cast<Index>(train.size());
  result.seconds = bench::seconds_of([&] {
    const FittedModel model = make_model(job, run(job));
    result.kernel = model.operator_text;
    const Predictions predicted = predict(model, encode(model.recipe, test));
    Vector truth(test.rows());
    const Index column = test.find(data.target, "--target");
    for (Index i = 0; i < truth.size(); ++i) truth(i) = std::stod(test.cell(i, column));
    result.rmse = std::sqrt((predicted.mean - truth).array().square().mean());
    result.log_density = log_densities(model, predicted, truth).mean();
    result.coverage =
        ((predicted.lower.array() <= truth.array()) && (truth.array() <= predicted.upper.array()))
            .cast<double>()
            .mean();
  });
  return result;
}

Json pair(const Mean& mean) { return Json{mean.mean, mean.standard_error}; }

Json run_method(const DataSet& data, const std::string& method, int splits, const std::string& scratch) {
  std::vector<Score> scores;
  Json each = Json::array();
  for (int split = 0; split < splits; ++split) {
    scores.push_back(score(data, method, split, scratch));
    const Score& last = scores.back();
    each.push_back({{"rmse", last.rmse},
                    {"log_density", last.log_density},
                    {"coverage", last.coverage},
                    {"seconds", last.seconds},
                    {"kernel", last.kernel}});
  }
  const Mean rmse = mean_of(scores, [](const Score&s) { return s.rmse; }),
             density = mean_of(scores, [](const Score&s) { return s.log_density; }),
             coverage = mean_of(scores, [](const Score&s) { return s.coverage; }),
             seconds = mean_of(scores, [](const Score&s) { return s.seconds; });
  fmt::print("  {:<26} {:>12.5g} ± {:<9.2g} {:>9.4f} ± {:<8.2g} {:>8.3f} {:>9.1f}\n", "gradflow " + method,
             rmse.mean, rmse.standard_error, density.mean, density.standard_error, coverage.mean,
             seconds.mean);
  std::fflush(stdout);
  return {{"rmse", pair(rmse)},
          {"log_density", pair(density)},
          {"coverage", pair(coverage)},
          {"seconds", seconds.mean},
          {"train", scores.front().train},
          {"splits", splits},
          {"each", each}};
}

void print_peers(const Json& peers, const std::string& name) {
  if (!peers.contains(name)) return;
  for (const auto& [method, values] : peers[name].items()) {
    const auto shown = [&](const char* what, const char* format) {
      if (!values.contains(what) || values[what].is_null()) return std::string("–");
      return fmt::format(fmt::runtime(format), values[what][0].get<double>());
    };
    const auto error = [&](const char* what) {
      const bool known = values.contains(what) && !values[what].is_null() && !values[what][1].is_null();
      return known ? fmt::format("{:.2g}", values[what][1].get<double>()) : std::string("–");
    };
    fmt::print("  {:<26} {:>12} ± {:<9} {:>9} ± {:<8}\n", method, shown("rmse", "{:.5g}"), error("rmse"),
               shown("log_density", "{:.4f}"), error("log_density"));
  }
}

Json run_set(DataSet data, const Settings& settings, const Json& peers, const std::string& scratch) {
  const int splits = std::min<int>(settings.splits, static_cast<int>(data.splits["train"].size()));
  const std::string name = data.once ? data.name + ", copies once" : data.name;
  fmt::print("\n{} ({} rows, {} splits)\n  {:<26} {:>12}   {:<9} {:>9}   {:<8} {:>8} {:>9}\n", name,
             data.lines.size(), splits, "", "RMSE", "s.e.", "log dens.", "s.e.", "95 % cov.", "seconds");
  Json result = Json::object();
  for (const std::string& method : settings.methods)
    result[method] = run_method(data, method, splits, scratch);
  print_peers(peers, name);
  return result;
}

std::string known_method(const std::string& named) {
  if (std::find(method_names.begin(), method_names.end(), named.substr(0, named.find('+'))) ==
      method_names.end())
    throw std::runtime_error(
        fmt::format("--method {}: must be one of {}", named, fmt::join(method_names, "; ")));
  return named;
}

Settings parse(int argc, char** argv) {
  Settings settings;
  for (int i = 1; i < argc; ++i) {
    const std::string argument = argv[i];
    const auto value = [&]() -> std::string {
      if (i + 1 >= argc) throw std::runtime_error(argument + " needs a value");
      return argv[++i];
    };
    if (argument == "--splits")
      settings.splits = std::stoi(value());
    else if (argument == "--method")
      settings.methods.push_back(known_method(value()));
    else if (argument == "--data")
      settings.folders.push_back(value());
    else if (argument == "--peers")
      settings.peers = value();
    else if (argument == "--as-is")
      settings.as_is = true;
    else if (argument.starts_with("-"))
      throw std::runtime_error(argument + ": there are --splits, --method, --data, --peers and --as-is");
    else
      settings.out = argument;
  }
  if (settings.methods.empty()) settings.methods = {"default", "select", "select, untransformed"};
  if (settings.folders.empty())
    for (const char* name : {"yacht", "boston", "wine-red"})
      settings.folders.push_back(fmt::format("{}/data/{}", GRADFLOW_SHARED_DIR, name));
  return settings;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    const Settings settings = parse(argc, argv);
    const std::string peers_file = settings.peers.empty()
                                       ? std::string(GRADFLOW_SOURCE_DIR) + "/bench/accuracy_peers.json"
                                       : settings.peers;
    const Json peers = fs::exists(peers_file) ? Json::parse(std::ifstream(peers_file)) : Json::object();
    const std::string scratch =
        fmt::format("{}/gradflow_accuracy_{}", fs::temp_directory_path().string(), getpid());
    fs::create_directories(scratch);
    Json all = Json::object();
    for (const std::string& folder : settings.folders) {
      if (!fs::exists(folder + "/data.csv")) {
        fmt::print("\n{}: skipped, no data.csv there\n", folder);
        continue;
      }
      DataSet data = load(folder);
      all[data.name] = run_set(data, settings, peers, scratch);
      if (data.copies.empty() || settings.as_is) continue;
      data.once = true;
      all[data.name + ", copies once"] = run_set(data, settings, peers, scratch);
    }
    fs::remove_all(scratch);
    write_file_atomically(settings.out, all.dump(1) + "\n");
    fmt::print("\nWritten to {}\n", settings.out);
  } catch (const std::exception& error) {
    fmt::print(stderr, "accuracy: {}\n", error.what());
    return 2;
  }
  return 0;
}
