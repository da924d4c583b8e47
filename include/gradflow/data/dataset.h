#pragma once

#include <limits>
#include <string>
#include <string_view>
#include <vector>

#include "gradflow/base/types.h"
#include "gradflow/data/table.h"

namespace gradflow {

enum class MissingPolicy { drop, error, mean };
enum class Standardize { both, features, none };
/// Rows equal in features, covariates and response (and weight): kept once, or all as rows of their own.
/// Copies make the noise look smaller than it is.
enum class CopiesPolicy { once, all };

/// What messages call the options: the names under which the program takes them.
namespace option_name {
inline constexpr std::string_view target = "--target";
inline constexpr std::string_view covariates = "--covariates";
inline constexpr std::string_view features = "--columns";
inline constexpr std::string_view exclude = "--exclude";
inline constexpr std::string_view categorical = "--categorical";
inline constexpr std::string_view id = "--id";
inline constexpr std::string_view missing = "--missing";
inline constexpr std::string_view row_weights = "--row-weights";
inline constexpr std::string_view copies = "--copies";
}  // namespace option_name

/// How a table becomes numbers. Columns are named, or given by 1-based position as "#3".
struct DatasetOptions {
  std::string target{};                    ///< response column; required
  std::vector<std::string> covariates{};   ///< fixed-effect columns; not features unless also in `features`
  std::vector<std::string> features{};     ///< empty: all columns but target, covariates, id and exclude
  std::vector<std::string> exclude{};      ///< columns to leave out
  std::vector<std::string> categorical{};  ///< columns to one-hot although they look numeric
  std::string id{};                        ///< identifier column; empty: the 1-based data row number
  MissingPolicy missing = MissingPolicy::drop;
  Standardize standardize = Standardize::both;
  std::string row_weights{};  ///< column of weights > 0: Var(noise) = s2 / weight; empty: one each
  CopiesPolicy copies = CopiesPolicy::once;
  /// The features of a row are an array of this shape (channels first, C order): all are kept, constant ones
  /// too, and centred and scaled by channel. Empty: features of their own.
  std::vector<Index> feature_shape{};
};

/// One input column of the table as the model uses it. All that prediction needs to repeat the encoding. A
/// column that is both a feature and a covariate has two recipes. Without being named in
/// DatasetOptions::categorical, a column is categorical when none of its nonmissing cells is a number; when
/// some are and some are not, the first that is not is an InputError.
struct ColumnRecipe {
  std::string name;
  bool is_covariate = false;
  bool is_categorical = false;
  std::vector<std::string> levels;  ///< categorical: sorted levels seen in training (at most 1,000)
  double fill = 0.0;                ///< numeric, policy mean: the training mean that replaces a missing value
  std::vector<double> level_fill;   ///< categorical, policy mean: each level's share of the training rows,
                                    ///< which replaces its indicator where the value is missing
};

/// One encoded (numeric) column: value = (raw - center) / scale, where raw is the number or the 0/1 indicator
/// of a level. A categorical feature has an indicator for each level; a categorical covariate for each but
/// the first, so that the indicators and the intercept are linearly independent.
struct EncodedColumn {
  std::string name;  ///< "age", or "city=Paris" for an indicator
  Index source = 0;  ///< index into Recipe::columns
  Index level = -1;  ///< index into levels, or -1 for a numeric column
  double center = 0.0;
  double scale = 1.0;  ///< > 0
};

/// The whole encoding, learned on the training table and stored in the model.
///
/// center and scale are the mean and the standard deviation (divisor n - 1) over the rows used, of arrays
/// (feature_shape) over the rows and places of a channel; 0 and 1 for every column under Standardize::none,
/// and for the response under Standardize::features.
struct Recipe {
  DatasetOptions options;  ///< as given, with positions "#3" replaced by the columns' names
  std::vector<std::string> missing_values;
  std::vector<std::string> input_columns;  ///< all columns of the training table, used or not, in order
  std::vector<ColumnRecipe> columns;
  std::vector<EncodedColumn> features;    ///< order of the columns of X
  std::vector<EncodedColumn> covariates;  ///< order of the columns of Z (without the intercept)
  double target_center = 0.0;             ///< raw y = target_center + target_scale * y
  double target_scale = 1.0;
};

/// What was done to the data: nothing silent.
struct DataReport {
  Index rows_read = 0;
  Index rows_used = 0;
  std::vector<Index> dropped_rows;            ///< 1-based data rows dropped for missing values
  Index missing_cells = 0;                    ///< in the response and the columns used
  std::vector<std::string> removed_constant;  ///< encoded columns removed: standard deviation below 1e-12 of
                                              ///< the largest magnitude
  Index duplicate_rows = 0;           ///< rows equal to an earlier one in x, covariates and y (and weight)
  Index duplicate_inputs = 0;         ///< rows equal to an earlier one in x and covariates
  std::vector<Index> dropped_copies;  ///< 1-based data rows left out under CopiesPolicy::once
  Index merged_rows = 0;              ///< rows that merge_replicates() put into another's
  double pure_error_sd =
      std::numeric_limits<double>::quiet_NaN();  ///< of replicates, units of the response; NaN: none
  std::vector<std::string> warnings;             ///< complete sentences
};

/// Raw response of a standardised one: target_center + target_scale * y.
Vector unstandardize_response(const Recipe& recipe, ConstVector y);

/// The inverse, which learns target_center and target_scale of a raw response first: mean and standard
/// deviation (n - 1) where the recipe standardises responses, else 0 and 1.
Vector standardize_response(Recipe& recipe, ConstVector raw);

/// Numbers ready for a network: X is n x d (encoded, standardised), y is n (standardised), Z is n x q.
struct Dataset {
  Matrix X;
  Vector y;
  Matrix Z;                      ///< covariates, encoded; no intercept column
  Vector weights{};              ///< n, > 0, of mean 1 over the rows read; empty: one each
  std::vector<std::string> ids;  ///< n; row numbers as text when no id column was named
  Recipe recipe;
  DataReport report;
};

/// Learns the encoding on a table and applies it. Throws InputError, one sentence that names the file, line,
/// column, value and requirement: absent or duplicated column, non-numeric or infinite cell, a row with a
/// missing value under MissingPolicy::error, constant response, no features left, fewer than 2 usable rows,
/// not more rows than covariates and an intercept, a magnitude above 1e150, a categorical column with as many
/// levels as rows or more than 1,000. A row whose response is missing is dropped under MissingPolicy::mean
/// too.
Dataset make_dataset(const Table& table, const DatasetOptions& options);

/// The same from arrays (X: n x d, y: n; NaN is missing). Feature columns are named x1, x2, ...;
/// options.target is not used, and recorded as response_name.
Dataset make_dataset(const Matrix& features, const Vector& response, const DatasetOptions& options,
                     const std::string& features_name, const std::string& response_name);

/// Within-group sum of squares of the rows that were merged, and its degrees of freedom.
struct WithinGroups {
  double squares = 0.0;  ///< sum of w (y - mean of the group)^2, units of Dataset::y squared
  Index dof = 0;         ///< rows less groups
};

/// Makes rows equal in features and covariates (replicates) one row: the weighted mean response, the sum of
/// the weights, the identifier of the first. With the result, the likelihood is that of all rows. The report
/// says how many rows were merged and their pure-error standard deviation. Does nothing where all rows
/// differ.
WithinGroups merge_replicates(Dataset& data);

/// New rows through a learned encoding.
struct NewRows {
  Matrix X;
  Matrix Z;
  std::vector<std::string> ids;  ///< one per row of the input, in its order
  std::vector<Index> row;  ///< rows of X -> 0-based data row of the input; rows not predicted are absent
  std::vector<std::string> warnings;  ///< extra columns ignored, unknown levels, rows skipped
};

/// Applies a learned encoding to new rows. Rule: a missing column is an InputError naming it; extra columns
/// are (absent from the training table) are ignored with a warning; an absent identifier column is replaced
/// by row numbers with a warning; a level not seen in training gets zero in all its indicators, with a
/// warning that names column, level and count; a row with a missing value is predicted with the training mean
/// under MissingPolicy::mean, is an InputError under ::error, and is kept without a prediction (NA) under
/// ::drop.
NewRows encode(const Recipe& recipe, const Table& table);
/// A matrix must have the columns x1, x2, ... of training. Non-numeric cells, infinities and magnitudes above
/// 1e150 in numeric columns are InputErrors, as in training.
NewRows encode(const Recipe& recipe, const Matrix& features, const std::string& features_name);

}  // namespace gradflow
