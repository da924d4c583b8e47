#pragma once

#include <fmt/format.h>

#include <string>
#include <vector>

#include "gradflow/data/table.h"
#include "gradflow/spectrum/fixed_effects.h"

/// The data sets of tests/oracle/mixed.
namespace gradflow::oracle {

struct MixedModel {
  Vector y;
  Matrix Z;
  FixedEffects fixed = FixedEffects::none(1);
};

inline Vector column(const Table& table, const std::string& name) {
  const Index j = table.find(name, "column");
  Vector values(table.rows());
  for (Index i = 0; i < table.rows(); ++i) values(i) = std::stod(table.cell(i, j));
  return values;
}

// Columns: y, the levels of one grouping factor (`group`) or markers m1, m2, ..., and fixed effects.
inline MixedModel read_model(const std::string& name) {
  const Table table = read_table(fmt::format("{}/tests/oracle/mixed/{}.csv", GRADFLOW_SOURCE_DIR, name));
  std::vector<Vector> markers, design{Vector::Ones(table.rows())};
  std::vector<std::string> names{"(intercept)"};
  MixedModel model{column(table, "y"), {}};
  for (const std::string& column_name : table.names) {
    const Vector values = column(table, column_name);
    if (column_name == "group") {
      for (Index level = 1; level <= static_cast<Index>(values.maxCoeff()); ++level)
        markers.push_back((values.array() == static_cast<double>(level)).cast<double>());
    } else if (column_name.starts_with("m")) {
      markers.push_back(values);
    } else if (column_name != "y") {
      design.push_back(values);
      names.push_back(column_name);
    }
  }
  const auto bind = [&table](const std::vector<Vector>& columns) {
    Matrix bound(table.rows(), static_cast<Index>(columns.size()));
    for (std::size_t j = 0; j < columns.size(); ++j) bound.col(static_cast<Index>(j)) = columns[j];
    return bound;
  };
  model.Z = bind(markers);
  model.fixed = FixedEffects(bind(design), names);
  return model;
}

}  // namespace gradflow::oracle
