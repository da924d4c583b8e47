#pragma once

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/map.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "cli/settings.h"
#include "gradflow/base/progress.h"
#include "gradflow/data/column_table.h"
#include "gradflow/inference/stopping.h"
#include "gradflow/model/further_tests.h"
#include "gradflow/model/job.h"
#include "gradflow/report/run_record.h"

namespace gradflow::python {

namespace nb = nanobind;

/// Views of numpy's memory: float64, any strides, never converted.
using Array1 = nb::ndarray<const double, nb::ndim<1>, nb::device::cpu>;
using Array2 = nb::ndarray<const double, nb::ndim<2>, nb::device::cpu>;

/// A numpy array that owns the moved values.
using NumpyVector = nb::ndarray<nb::numpy, double, nb::ndim<1>>;
using NumpyMatrix = nb::ndarray<nb::numpy, double, nb::ndim<2>>;
NumpyVector to_numpy(Vector values);
NumpyMatrix to_numpy(Matrix values);  ///< Fortran order
Vector to_vector(const Array1& values);
Matrix to_matrix(const Array2& values);

/// Options by the program's names, without dashes in front and with '_' for '-'; lists of columns are taken
/// as they are, so that a name may hold a comma.
struct Options {
  std::map<std::string, std::string> texts;
  std::map<std::string, bool> flags;
  std::map<std::string, std::vector<std::string>> lists;  ///< covariates, columns, exclude, categorical
};
/// Throws InputError for a name that is none.
cli::Settings to_settings(const Options& options);
/// The tests beside the score test. Throws InputError for options that contradict each other or the job.
FurtherTestOptions to_further_tests(const Options& options, const Job& job);
void set_lists(const Options& options, DatasetOptions& dataset);

/// Throws what Python has to say first: a signal's exception (Ctrl-C) or what `callback(stage, fraction)`
/// raises.
class PythonProgress final : public Progress {
 public:
  explicit PythonProgress(nb::object callback) : callback_(std::move(callback)) {}
  void update(std::string_view stage, double fraction) override;

 private:
  nb::object callback_;
};

/// Columns with the Python objects whose memory they are views of.
class Columns {
 public:
  explicit Columns(std::string source) { table_.source = std::move(source); }
  void add_matrix(const Array2& values, const std::vector<std::string>& names);
  void add_numbers(const std::string& name, const Array1& values);
  void add_texts(const std::string& name, std::vector<std::optional<std::string>> texts);
  const ColumnTable& table() const { return table_; }

 private:
  ColumnTable table_;
  std::vector<nb::object> kept_;
};

/// Columns that new rows must have, in the order of training.
std::vector<std::string> needed_columns(const Recipe& recipe);

RunRecord run_record(const char* command, std::uint64_t seed);

/// One list entry per rule; infinite numbers stay infinite.
nb::list rules_list(const std::vector<StoppingRule>& rules);
/// What a run knows beside its JSON document: arrays, and numbers that may be infinite.
nb::dict analysis_arrays(const Analysis& analysis);

void bind_columns(nb::module_& module);
void bind_regression(nb::module_& module);
void bind_classes(nb::module_& module);
void bind_operators(nb::module_& module);
void bind_report(nb::module_& module);

}  // namespace gradflow::python
