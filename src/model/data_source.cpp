#include "gradflow/model/data_source.h"

#include <algorithm>
#include <filesystem>

#include "gradflow/base/error.h"

namespace gradflow {
namespace {

constexpr std::string_view row_column = "(row)";  // a feature that only counts rows

bool ends_with_npz(const std::string& path) { return path.ends_with(".npz"); }

std::string names_of(const std::map<std::string, Array>& arrays) {
  std::vector<std::string> names;
  for (const auto& [name, array] : arrays) names.push_back(name);
  return fmt::format("{}", fmt::join(names, ", "));
}

Array read_npz_member(const std::string& path, const std::string& name) {
  std::map<std::string, Array> arrays = read_npz(path);
  if (name.empty() && arrays.size() == 1) return std::move(arrays.begin()->second);
  if (name.empty())
    throw InputError(fmt::format("'{}' holds {} arrays ({}): name one, as {}:NAME", path, arrays.size(),
                                 names_of(arrays), path));
  const auto found = arrays.find(name);
  if (found == arrays.end())
    throw InputError(fmt::format("'{}' has no array '{}': it has {}", path, name, names_of(arrays)));
  return std::move(found->second);
}

// The table's columns that a user's matrix needs, and a column that counts the rows, so that it has a
// feature.
Table without_features(const Table& table, const DatasetOptions& options) {
  std::vector<Index> kept{table.find(options.target, option_name::target)};
  for (const std::string& name : options.covariates)
    kept.push_back(table.find(name, option_name::covariates));
  if (!options.id.empty()) kept.push_back(table.find(options.id, option_name::id));
  if (!options.row_weights.empty()) kept.push_back(table.find(options.row_weights, option_name::row_weights));
  std::ranges::sort(kept);
  kept.erase(std::unique(kept.begin(), kept.end()), kept.end());
  Table narrow;
  narrow.source = table.source;
  narrow.missing_values = table.missing_values;
  for (const Index column : kept) narrow.names.push_back(table.names[static_cast<std::size_t>(column)]);
  narrow.names.emplace_back(row_column);
  for (Index row = 0; row < table.rows(); ++row) {
    std::vector<std::string> cells;
    for (const Index column : kept) cells.push_back(table.cell(row, column));
    cells.push_back(std::to_string(row + 1));
    narrow.add_row(std::move(cells), table.line[static_cast<std::size_t>(row)]);
  }
  return narrow;
}

// Options whose columns are all named, so that positions do not shift.
DatasetOptions by_name(DatasetOptions options, const Table& table) {
  const auto name = [&](const std::string& text, std::string_view option) {
    return table.names[static_cast<std::size_t>(table.find(text, option))];
  };
  options.target = name(options.target, option_name::target);
  for (std::string& covariate : options.covariates) covariate = name(covariate, option_name::covariates);
  for (std::string& text : options.categorical) text = name(text, option_name::categorical);
  if (!options.id.empty()) options.id = name(options.id, option_name::id);
  if (!options.row_weights.empty()) options.row_weights = name(options.row_weights, option_name::row_weights);
  options.exclude.clear();
  options.features = {std::string(row_column)};
  return options;
}

void drop_features(Dataset& dataset) {
  dataset.X.resize(dataset.X.rows(), 0);
  Recipe& recipe = dataset.recipe;
  recipe.features.clear();
  recipe.options.features.clear();
  std::vector<ColumnRecipe> columns;
  std::vector<Index> moved(recipe.columns.size(), 0);
  for (std::size_t i = 0; i < recipe.columns.size(); ++i) {
    if (!recipe.columns[i].is_covariate) continue;
    moved[i] = static_cast<Index>(columns.size());
    columns.push_back(recipe.columns[i]);
  }
  for (EncodedColumn& column : recipe.covariates)
    column.source = moved[static_cast<std::size_t>(column.source)];
  recipe.columns = std::move(columns);
  std::erase(recipe.input_columns, std::string(row_column));
}

Vector row_numbers(Index n) { return Vector::LinSpaced(n, 1.0, static_cast<double>(n)); }

Dataset features_in_memory(const ColumnTable& table, const DatasetOptions& options) {
  ColumnTable numbered = table;
  const Vector numbers = row_numbers(table.rows);
  numbered.add(numbers.data(), table.rows, 1, 1, 1, {std::string(row_column)});
  DatasetOptions with_target = options;
  with_target.target = row_column;
  Dataset dataset = make_dataset(numbered, with_target);
  std::erase(dataset.recipe.input_columns, std::string(row_column));
  dataset.recipe.options.target.clear();
  return dataset;
}

}  // namespace

Array read_array(const std::string& text) {
  const std::size_t colon = text.rfind(':');
  const bool has_member = colon != std::string::npos && !std::filesystem::exists(text);
  const std::string path = has_member ? text.substr(0, colon) : text;
  if (ends_with_npz(path)) return read_npz_member(path, has_member ? text.substr(colon + 1) : "");
  return read_npy(text);
}

std::vector<Index> rows_used(const DataReport& report) {
  std::vector<Index> rows;
  auto dropped = report.dropped_rows.begin();
  for (Index row = 0; row < report.rows_read; ++row) {
    if (dropped != report.dropped_rows.end() && *dropped == row + 1)
      ++dropped;
    else
      rows.push_back(row);
  }
  return rows;
}

FeatureArray read_features(const std::string& text) {
  Array array = read_array(text);
  FeatureArray features;
  if (array.shape.size() > 4)
    throw InputError(
        fmt::format("{} has shape ({}): must be rows of features, of channels x length, or of "
                    "channels x height x width",
                    text, fmt::join(array.shape, ", ")));
  if (array.shape.size() > 2) {
    features.shape.assign(array.shape.begin() + 1, array.shape.end());
    Index size = 1;
    for (const Index extent : features.shape) size *= extent;
    if (size == 0)
      throw InputError(
          fmt::format("{} has shape ({}): an example has no entries", text, fmt::join(array.shape, ", ")));
    array.shape = {array.shape.front(), size};
  }
  features.rows = array.as_matrix(text);
  return features;
}

DatasetOptions with_shape(DatasetOptions options, const FeatureArray& features, const std::string& name) {
  if (features.shape.empty()) return options;
  if (!options.feature_shape.empty() && options.feature_shape != features.shape)
    throw InputError(fmt::format("{} has examples of shape {}, and the network takes {}", name,
                                 fmt::join(features.shape, "x"), fmt::join(options.feature_shape, "x")));
  options.feature_shape = features.shape;
  return options;
}

Dataset load_dataset(const DataSource& source, const DatasetOptions& options) {
  if (source.columns != nullptr) return make_dataset(*source.columns, options);
  if (!source.table.empty()) return make_dataset(read_table(source.table, source.table_options), options);
  const FeatureArray features = read_features(source.features);
  const Vector y = read_array(source.response).as_vector(source.response);
  return make_dataset(features.rows, y, with_shape(options, features, source.features), source.features,
                      source.response);
}

ClassDataset load_class_dataset(const DataSource& source, const DatasetOptions& options) {
  if (source.columns != nullptr) return make_class_dataset(*source.columns, options);
  if (!source.table.empty())
    return make_class_dataset(read_table(source.table, source.table_options), options);
  const FeatureArray features = read_features(source.features);
  const Vector y = read_array(source.response).as_vector(source.response);
  return make_class_dataset(features.rows, y, with_shape(options, features, source.features), source.features,
                            source.response);
}

Dataset load_dataset_without_features(const DataSource& source, const DatasetOptions& options) {
  Dataset dataset;
  if (!source.table.empty()) {
    const Table table = read_table(source.table, source.table_options);
    dataset = make_dataset(without_features(table, options), by_name(options, table));
    dataset.recipe.input_columns = table.names;
  } else {
    const Vector y = read_array(source.response).as_vector(source.response);
    dataset = make_dataset(row_numbers(y.size()), y, options, source.response, source.response);
    dataset.recipe.columns.clear();
    dataset.recipe.input_columns.clear();
  }
  drop_features(dataset);
  return dataset;
}

Dataset load_features(const DataSource& source, const DatasetOptions& options) {
  if (source.columns != nullptr && options.target.empty())
    return features_in_memory(*source.columns, options);
  if (!source.response.empty() || !options.target.empty()) return load_dataset(source, options);
  Dataset dataset;
  if (source.table.empty()) {
    const FeatureArray features = read_features(source.features);
    dataset = make_dataset(features.rows, row_numbers(features.rows.rows()),
                           with_shape(options, features, source.features), source.features, "row numbers");
  } else {
    Table table = read_table(source.table, source.table_options);
    Table numbered;
    numbered.source = table.source;
    numbered.missing_values = table.missing_values;
    numbered.names = table.names;
    numbered.names.emplace_back(row_column);
    for (Index row = 0; row < table.rows(); ++row) {
      std::vector<std::string> cells;
      for (Index column = 0; column < table.cols(); ++column) cells.push_back(table.cell(row, column));
      cells.push_back(std::to_string(row + 1));
      numbered.add_row(std::move(cells), table.line[static_cast<std::size_t>(row)]);
    }
    DatasetOptions with_target = options;
    with_target.target = row_column;
    dataset = make_dataset(numbered, with_target);
    std::erase(dataset.recipe.input_columns, std::string(row_column));
  }
  dataset.recipe.options.target.clear();
  return dataset;
}

}  // namespace gradflow
