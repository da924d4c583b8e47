#include "gradflow/data/dataset.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <utility>

#include "data/class_response.h"
#include "data/column_cells.h"
#include "data/columns.h"
#include "data/duplicates.h"
#include "data/roles.h"
#include "data/text.h"
#include "gradflow/base/error.h"

namespace gradflow {
namespace {

struct RowNumbers {                                // the response, or the weights
  std::vector<double> values;                      // NaN where missing
  std::string where;                               // "FILE, column 'y'"
  std::function<std::string(Index)> where_in_row;  // "FILE, line 7, column 'y'"
  std::vector<std::string> classes = {};           // names of the values 0, 1, ...; empty: a number
};

[[noreturn]] void fail_missing(const std::string& where) {
  throw InputError(
      fmt::format("{}: the value is missing; {} drop leaves such rows out, {} mean fills them in", where,
                  option_name::missing, option_name::missing));
}

/// Learns the encoding in the order in which its parts depend on each other; each step leaves its account in
/// the report.
class Learner {
 public:
  /// `skip`: rows that are left out, 0-based and ascending.
  Learner(const Cells& cells, RowNumbers response, const Roles& roles, DatasetOptions options,
          const std::vector<Index>& skip = {})
      : cells_(cells), roles_(roles), response_(std::move(response)) {
    skip_.assign(static_cast<std::size_t>(cells.rows()), false);
    for (const Index row : skip) skip_[static_cast<std::size_t>(row)] = true;
    data_.recipe.options = std::move(options);
    data_.recipe.input_columns = cells.names();
    data_.report.rows_read = cells.rows();
  }

  Dataset learn() {
    check_response();
    read_weights();
    read_columns();
    select_rows();
    encode_response();
    encode_columns();
    check_columns();
    name_rows();
    find_duplicates();
    return std::move(data_);
  }

  /// Rows of the input that are copies of an earlier one, 0-based; known after learn().
  const std::vector<Index>& copies() const { return copies_; }

 private:
  const DatasetOptions& options() const { return data_.recipe.options; }

  void check_response() const {
    const std::vector<double>& values = response_.values;
    if (values.empty()) fail_too_few_rows(0, 0);
    if (std::all_of(values.begin(), values.end(), [](double y) { return std::isnan(y); }))
      throw InputError(fmt::format("{}: every value of the response is missing", response_.where));
  }

  void read_weights() {
    if (!roles_.weights) return;
    weights_ = cells_.numbers(*roles_.weights, "a weight must be numeric");
    for (std::size_t row = 0; row < weights_.size(); ++row)
      if (weights_[row] <= 0.0)
        throw InputError(fmt::format("{}: the weight is {}; it must be > 0",
                                     cells_.place(static_cast<Index>(row), *roles_.weights), weights_[row]));
  }

  [[noreturn]] void fail_too_few_rows(Index used, Index dropped) const {
    throw InputError(
        fmt::format("{}: {} to learn from{}; at least 2 are required", cells_.source(), counted(used, "row"),
                    dropped > 0 ? fmt::format(" after dropping {} with missing values", dropped) : ""));
  }

  // Columns with a single value are left out here already, so that their missing cells cost no rows.
  void read_columns() {
    const auto add = [&](Index input, bool is_covariate) {
      const bool named = roles_.categorical[static_cast<std::size_t>(input)];
      const std::string advice =
          fmt::format("name the column in {} if its values are categories", option_name::categorical);
      RawColumn column = read_column(cells_, input, named || cells_.holds_text(input), advice);
      column.is_covariate = is_covariate;
      const int distinct = column.distinct_up_to_two();
      if (distinct == 0)
        throw InputError(fmt::format("{}: every value is missing; leave the column out with {}",
                                     cells_.column_place(input), option_name::exclude));
      if (distinct == 1 && (is_covariate || !holds_arrays())) {
        remove_single_valued(column);
      } else {
        columns_.push_back(std::move(column));
      }
    };
    for (const Index input : roles_.features) add(input, false);
    for (const Index input : roles_.covariates) add(input, true);
  }

  bool holds_arrays() const { return !options().feature_shape.empty(); }

  void remove_single_valued(const RawColumn& column) {
    std::string name = cells_.names()[static_cast<std::size_t>(column.input)];
    if (column.is_categorical)
      name += "=" + **std::find_if(column.texts.begin(), column.texts.end(),
                                   [](const auto& t) { return t.has_value(); });
    data_.report.removed_constant.push_back(std::move(name));
  }

  void select_rows() {
    std::vector<Index> kept;
    for (Index row = 0; row < cells_.rows(); ++row) {
      if (skip_[static_cast<std::size_t>(row)]) continue;
      if (keeps(row)) {
        kept.push_back(row);
      } else {
        data_.report.dropped_rows.push_back(row + 1);
      }
    }
    DataReport& report = data_.report;
    report.rows_used = static_cast<Index>(kept.size());
    const auto dropped = static_cast<Index>(report.dropped_rows.size());
    if (report.rows_used < 2) fail_too_few_rows(report.rows_used, dropped);
    if (2 * dropped > report.rows_read)
      report.warnings.push_back(
          fmt::format("More than half of the rows of {} ({} of {}) were dropped because of "
                      "missing values.",
                      cells_.source(), dropped, report.rows_read));
    for (RawColumn& column : columns_) column.keep(kept);
    for (std::size_t i = 0; i < kept.size(); ++i)
      response_.values[i] = response_.values[static_cast<std::size_t>(kept[i])];
    response_.values.resize(kept.size());
    if (!weights_.empty()) {
      data_.weights.resize(report.rows_used);
      for (std::size_t i = 0; i < kept.size(); ++i)
        data_.weights(static_cast<Index>(i)) = weights_[static_cast<std::size_t>(kept[i])];
      data_.weights /= data_.weights.mean();
    }
    kept_ = std::move(kept);
  }

  // Counts the row's missing cells. The response is never filled in.
  bool keeps(Index row) {
    const bool is_error = options().missing == MissingPolicy::error;
    const bool no_response = std::isnan(response_.values[static_cast<std::size_t>(row)]);
    if (no_response && is_error) fail_missing(response_.where_in_row(row));
    const bool no_weight = !weights_.empty() && std::isnan(weights_[static_cast<std::size_t>(row)]);
    if (no_weight && is_error) fail_missing(cells_.place(row, *roles_.weights));
    bool complete = true;
    Index missing = no_weight ? 1 : 0;
    for (const RawColumn& column : columns_) {
      if (!column.is_missing(row)) continue;
      if (is_error) fail_missing(cells_.place(row, column.input));
      complete = false;
      // A column that is a feature and a covariate is one column of the table.
      const bool counted_already = column.is_covariate && is_feature(column.input);
      missing += counted_already ? 0 : 1;
    }
    data_.report.missing_cells += missing + (no_response ? 1 : 0);
    return !no_response && !no_weight && (complete || options().missing == MissingPolicy::mean);
  }

  bool is_feature(Index input) const {
    return std::find(roles_.features.begin(), roles_.features.end(), input) != roles_.features.end();
  }

  void encode_response() {
    const Index n = data_.report.rows_used;
    data_.y = Eigen::Map<const Vector>(response_.values.data(), n);
    const bool is_class = !response_.classes.empty();
    if (moments(data_.y).is_constant)
      throw InputError(fmt::format("{}: the response is {} in all {} rows used; there is nothing to learn",
                                   response_.where,
                                   is_class ? shown(response_.classes[static_cast<std::size_t>(data_.y[0])])
                                            : fmt::format("{}", data_.y[0]),
                                   n));
    if (!is_class) data_.y = standardize_response(data_.recipe, data_.y);
  }

  void encode_columns() {
    std::vector<Vector> features, covariates;
    for (RawColumn& column : columns_) {
      ColumnRecipe recipe = learn_recipe(column, cells_);
      const std::vector<Index> codes = level_codes(column, recipe);
      const Index first = !column.is_categorical ? -1 : column.is_covariate ? 1 : 0;
      const Index end = column.is_categorical ? static_cast<Index>(recipe.levels.size()) : 0;
      if (first == end) remove_single_valued(column);
      bool used = false;
      for (Index level = first; level < end; ++level) {
        EncodedColumn encoded;
        encoded.name =
            level < 0 ? recipe.name : recipe.name + "=" + recipe.levels[static_cast<std::size_t>(level)];
        encoded.source = static_cast<Index>(data_.recipe.columns.size());
        encoded.level = level;
        Vector values = raw_values(column, recipe, codes, level);
        const bool part_of_array = holds_arrays() && !column.is_covariate;
        if (!part_of_array && !standardize(values, encoded)) continue;
        used = true;
        (column.is_covariate ? covariates : features).push_back(std::move(values));
        (column.is_covariate ? data_.recipe.covariates : data_.recipe.features).push_back(std::move(encoded));
      }
      if (used) data_.recipe.columns.push_back(std::move(recipe));
      column = {};
    }
    data_.X = side_by_side(features);
    data_.Z = side_by_side(covariates);
    if (holds_arrays()) encode_arrays();
  }

  // Centre and scale are those of a channel over rows and places; a constant channel is only centred.
  void encode_arrays() {
    const std::vector<Index>& shape = options().feature_shape;
    Index size = 1;
    for (const Index extent : shape) size *= extent;
    if (data_.X.cols() != size)
      throw InputError(fmt::format("{}: {}, and the network takes arrays of shape {}, {} numbers",
                                   cells_.source(), counted(data_.X.cols(), "feature"),
                                   fmt::join(shape, " x "), size));
    if ((data_.X.array() == data_.X.row(0).replicate(data_.X.rows(), 1).array()).all())
      throw InputError(
          fmt::format("{}: all arrays are the same; at least one entry must vary", cells_.source()));
    if (options().standardize == Standardize::none) return;
    const Index places = size / shape.front();
    for (Index channel = 0; channel < shape.front(); ++channel) {
      auto block = data_.X.middleCols(channel * places, places);
      const Moments m = moments(block.reshaped());
      const double scale = m.is_constant ? 1.0 : m.deviation;
      block = ((block.array() - m.mean) / scale).eval();
      for (Index k = channel * places; k < (channel + 1) * places; ++k) {
        EncodedColumn& encoded = data_.recipe.features[static_cast<std::size_t>(k)];
        encoded.center = m.mean;
        encoded.scale = scale;
      }
    }
  }

  // False when the column is constant, which is then reported as removed.
  bool standardize(Vector& values, EncodedColumn& encoded) {
    const Moments m = moments(values);
    if (m.is_constant) {
      data_.report.removed_constant.push_back(encoded.name);
      return false;
    }
    if (options().standardize == Standardize::none) return true;
    encoded.center = m.mean;
    encoded.scale = m.deviation;
    values = (values.array() - m.mean) / m.deviation;
    return true;
  }

  Matrix side_by_side(std::vector<Vector>& columns) const {
    Matrix result(data_.report.rows_used, static_cast<Index>(columns.size()));
    for (std::size_t j = 0; j < columns.size(); ++j) {
      result.col(static_cast<Index>(j)) = columns[j];
      columns[j].resize(0);
    }
    return result;
  }

  void check_columns() const {
    if (data_.X.cols() == 0)
      throw InputError(fmt::format("{}: every feature column is constant ({}); at least one must vary",
                                   cells_.source(), listed(data_.report.removed_constant)));
    const Index n = data_.X.rows(), q = data_.Z.cols();
    if (q > 0 && n <= q + 1)
      throw InputError(fmt::format("{}: {} rows for {} and an intercept; more rows are required",
                                   cells_.source(), n, counted(q, "covariate")));
  }

  void name_rows() {
    for (const Index row : kept_)
      data_.ids.push_back(roles_.id ? cells_.identifier(row, *roles_.id) : fmt::format("{}", row + 1));
  }

  void find_duplicates() {
    data_.report.duplicate_inputs = static_cast<Index>(repeated_rows({data_.X, data_.Z}).size());
    if (data_.report.duplicate_inputs > 0) {
      std::vector<ConstBlock> blocks{data_.X, data_.Z, data_.y};
      if (data_.weights.size() > 0) blocks.emplace_back(data_.weights);
      for (const Index row : repeated_rows(blocks)) copies_.push_back(kept_[static_cast<std::size_t>(row)]);
    }
    data_.report.duplicate_rows = static_cast<Index>(copies_.size());
  }

  const Cells& cells_;
  const Roles& roles_;
  RowNumbers response_;
  std::vector<double> weights_;
  std::vector<bool> skip_;  // per row of the input
  std::vector<RawColumn> columns_;
  std::vector<Index> kept_, copies_;
  Dataset data_;
};

// Copies are known only when the rows are encoded; what is learned of the columns is learned again without
// them.
Dataset learn(const Cells& cells, const RowNumbers& response, const Roles& roles,
              const DatasetOptions& options) {
  Learner learner(cells, response, roles, options);
  Dataset data = learner.learn();
  if (options.copies == CopiesPolicy::all || learner.copies().empty()) return data;
  const DataReport first = std::move(data.report);
  data = Learner(cells, response, roles, options, learner.copies()).learn();
  data.report.duplicate_rows = first.duplicate_rows;
  data.report.duplicate_inputs = first.duplicate_inputs;
  for (const Index row : learner.copies()) data.report.dropped_copies.push_back(row + 1);
  return data;
}

std::string place_in_array(const std::string& name, Index row) {
  return fmt::format("{}, row {}", name, row + 1);
}

Dataset learn_arrays(const Matrix& features, std::vector<double> response, std::vector<std::string> classes,
                     DatasetOptions options, const std::string& features_name,
                     const std::string& response_name) {
  const auto rows = static_cast<Index>(response.size());
  if (features.rows() != rows)
    throw InputError(fmt::format("{} has {}, but {} has {}; they must be equal", features_name,
                                 counted(features.rows(), "row"), response_name, counted(rows, "value")));
  const MatrixCells cells(features, features_name);
  const Roles roles = assign_roles(cells, ResponseIs::separate, options);
  options.target = response_name;
  const auto where = [&](Index row) { return place_in_array(response_name, row); };
  return learn(cells, {std::move(response), response_name, where, std::move(classes)}, roles, options);
}

// The response is one of the columns.
Dataset learn_table(const Cells& cells, const DatasetOptions& options) {
  DatasetOptions named = options;
  const Roles roles = assign_roles(cells, ResponseIs::a_column, named);
  const Index target = *roles.target;
  const RowNumbers response{cells.numbers(target, "the response must be numeric, or a class with --classes"),
                            cells.column_place(target), [&](Index row) { return cells.place(row, target); }};
  return learn(cells, response, roles, named);
}

ClassDataset learn_class_table(const Cells& cells, const DatasetOptions& options) {
  check_class_options(options);
  DatasetOptions named = options;
  const Roles roles = assign_roles(cells, ResponseIs::a_column, named);
  const Index target = *roles.target;
  const std::string where = cells.column_place(target);
  ClassResponse classes = read_classes(cells.texts(target), where);
  const RowNumbers response{classes.codes, where, [&](Index row) { return cells.place(row, target); },
                            classes.names};
  Dataset data = learn(cells, response, roles, named);
  return with_labels(std::move(data), std::move(classes), where);
}

void finish_columns(const ColumnTable& table, Recipe& recipe) {
  recipe.missing_values = TableOptions{}.missing_values;
  if (!table.by_position) return;
  for (const std::string& name : {recipe.options.target, recipe.options.row_weights})
    std::erase(recipe.input_columns, name);
}

}  // namespace

Vector unstandardize_response(const Recipe& recipe, ConstVector y) {
  return recipe.target_center + recipe.target_scale * y.array();
}

Vector standardize_response(Recipe& recipe, ConstVector raw) {
  recipe.target_center = 0.0;
  recipe.target_scale = 1.0;
  if (recipe.options.standardize != Standardize::both) return raw;
  const Moments m = moments(raw);
  recipe.target_center = m.mean;
  recipe.target_scale = m.deviation;
  return (raw.array() - m.mean) / m.deviation;
}

Dataset make_dataset(const Table& table, const DatasetOptions& options) {
  Dataset data = learn_table(TableCells(table), options);
  data.recipe.missing_values = table.missing_values;
  return data;
}

Dataset make_dataset(const ColumnTable& table, const DatasetOptions& options) {
  Dataset data = learn_table(ColumnCells(table), options);
  finish_columns(table, data.recipe);
  return data;
}

Dataset make_dataset(const Matrix& features, const Vector& response, const DatasetOptions& options,
                     const std::string& features_name, const std::string& response_name) {
  for (Index row = 0; row < response.size(); ++row)
    check_value(response[row], place_in_array(response_name, row));
  return learn_arrays(features, {response.begin(), response.end()}, {}, options, features_name,
                      response_name);
}

ClassDataset make_class_dataset(const Table& table, const DatasetOptions& options) {
  ClassDataset classes = learn_class_table(TableCells(table), options);
  classes.data.recipe.missing_values = table.missing_values;
  return classes;
}

ClassDataset make_class_dataset(const ColumnTable& table, const DatasetOptions& options) {
  ClassDataset classes = learn_class_table(ColumnCells(table), options);
  finish_columns(table, classes.data.recipe);
  return classes;
}

ClassDataset make_class_dataset(const Matrix& features, const Vector& response, const DatasetOptions& options,
                                const std::string& features_name, const std::string& response_name) {
  check_class_options(options);
  ClassResponse classes = read_classes(MatrixCells(response, response_name).texts(0), response_name);
  Dataset data = learn_arrays(features, classes.codes, classes.names, options, features_name, response_name);
  return with_labels(std::move(data), std::move(classes), response_name);
}

}  // namespace gradflow
