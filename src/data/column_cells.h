#pragma once

#include <string>
#include <vector>

#include "data/cells.h"
#include "gradflow/data/column_table.h"

namespace gradflow {

/// A table in memory as input cells.
class ColumnCells final : public Cells {
 public:
  /// The table outlives this. Throws InputError for columns without a name or two of one name.
  explicit ColumnCells(const ColumnTable& table);

  const std::string& source() const override { return table_.source; }
  const std::vector<std::string>& names() const override { return header_.names; }
  Index rows() const override { return table_.rows; }
  Index find(const std::string& name, std::string_view option) const override {
    return header_.find(name, option);
  }
  std::string place(Index row, Index col) const override;
  bool holds_text(Index col) const override { return column(col).numbers == nullptr; }
  std::vector<double> numbers(Index col, std::string_view advice) const override;
  std::vector<std::optional<std::string>> texts(Index col) const override;
  std::string identifier(Index row, Index col) const override;

 private:
  const TableColumn& column(Index col) const { return table_.columns[static_cast<std::size_t>(col)]; }

  const ColumnTable& table_;
  Table header_;  // the names; no rows
};

}  // namespace gradflow
