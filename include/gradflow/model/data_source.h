#pragma once

#include <string>
#include <vector>

#include "gradflow/data/array_file.h"
#include "gradflow/data/class_dataset.h"
#include "gradflow/data/column_table.h"
#include "gradflow/data/dataset.h"

namespace gradflow {

/// Where the data are: a table, arrays, or a table in memory. Array files are NPY, or NPZ with the array's
/// name after a colon
/// ("data.npz:X"; a single array needs no name).
struct DataSource {
  std::string table;     ///< CSV or TSV; empty with arrays
  std::string features;  ///< n x d, n x channels x length or n x channels x height x width; may be empty for
                         ///< a user's matrix
  std::string response;  ///< n
  TableOptions table_options;
  const ColumnTable* columns = nullptr;  ///< in memory, instead of files; outlives the job
};

/// Examples as rows, and the shape of one where they are arrays (of two or three dimensions); else empty.
struct FeatureArray {
  Matrix rows;               ///< n x entries, in C order
  std::vector<Index> shape;  ///< channels x length or channels x height x width
};
/// Throws InputError naming the file, also for arrays of more than four dimensions.
FeatureArray read_features(const std::string& text);
/// The options with the arrays' shape; throws InputError if they have another.
DatasetOptions with_shape(DatasetOptions options, const FeatureArray& features, const std::string& name);

/// An array of an NPY file or an NPZ member. Throws InputError naming the file.
Array read_array(const std::string& text);

/// The dataset of a job with a network or kernel. Throws InputError as make_dataset does.
Dataset load_dataset(const DataSource& source, const DatasetOptions& options);

/// The same of a response that says classes. Throws InputError as make_class_dataset does.
ClassDataset load_class_dataset(const DataSource& source, const DatasetOptions& options);

/// The dataset for a user's matrix: response, covariates and identifiers only (X is n x 0, and the recipe has
/// no features). The matrix's rows are those of the table before any is dropped.
Dataset load_dataset_without_features(const DataSource& source, const DatasetOptions& options);

/// Features only, for the `kernel` command: no response is needed, and the recipe's target is empty.
Dataset load_features(const DataSource& source, const DatasetOptions& options);

/// 0-based rows of the input that were used: all of rows_read but dropped_rows.
std::vector<Index> rows_used(const DataReport& report);

}  // namespace gradflow
