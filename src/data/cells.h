#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "gradflow/base/types.h"
#include "gradflow/data/table.h"

namespace gradflow {

/// A rectangle of input cells, whatever they were read from. Errors name the source, line, column and value.
class Cells {
 public:
  virtual ~Cells() = default;

  virtual const std::string& source() const = 0;
  virtual const std::vector<std::string>& names() const = 0;
  virtual Index rows() const = 0;
  virtual Index find(const std::string& name, std::string_view option) const = 0;

  /// "FILE, line 7, column 'age'"
  virtual std::string place(Index row, Index col) const = 0;
  /// Whether a column whose kind was not stated holds text: no nonmissing cell is a number.
  virtual bool holds_text(Index col) const = 0;
  /// NaN where missing. A cell that is not a finite number of magnitude at most 1e150 is an InputError that
  /// ends in `advice`.
  virtual std::vector<double> numbers(Index col, std::string_view advice) const = 0;
  /// Empty where missing.
  virtual std::vector<std::optional<std::string>> texts(Index col) const = 0;
  /// A cell as an identifier.
  virtual std::string identifier(Index row, Index col) const = 0;

  std::string column_place(Index col) const;  ///< "FILE, column 'age'"
};

class TableCells final : public Cells {
 public:
  explicit TableCells(const Table& table) : table_(table) {}
  /// The same table under another rule of what is missing (that of the training table).
  TableCells(const Table& table, const std::vector<std::string>& missing_values);

  const std::string& source() const override { return table_.source; }
  const std::vector<std::string>& names() const override { return table_.names; }
  Index rows() const override { return table_.rows(); }
  Index find(const std::string& name, std::string_view option) const override {
    return table_.find(name, option);
  }
  std::string place(Index row, Index col) const override;
  bool holds_text(Index col) const override;
  std::vector<double> numbers(Index col, std::string_view advice) const override;
  std::vector<std::optional<std::string>> texts(Index col) const override;
  std::string identifier(Index row, Index col) const override { return table_.cell(row, col); }

 private:
  bool is_missing(std::string_view cell) const;

  const Table& table_;
  const std::vector<std::string>* missing_values_ = nullptr;  // null: the table's own
};

class MatrixCells final : public Cells {
 public:
  MatrixCells(const Matrix& matrix, const std::string& source);

  const std::string& source() const override { return source_; }
  const std::vector<std::string>& names() const override { return header_.names; }
  Index rows() const override { return matrix_.rows(); }
  Index find(const std::string& name, std::string_view option) const override {
    return header_.find(name, option);
  }
  std::string place(Index row, Index col) const override;
  bool holds_text(Index) const override { return false; }
  std::vector<double> numbers(Index col, std::string_view advice) const override;
  std::vector<std::optional<std::string>> texts(Index col) const override;
  std::string identifier(Index row, Index col) const override;

 private:
  const Matrix& matrix_;
  std::string source_;
  Table header_;  // names x1, x2, ...; no rows
};

/// Throws InputError unless the value is NaN (missing) or finite and at most 1e150 in magnitude.
void check_value(double value, const std::string& place);

}  // namespace gradflow
