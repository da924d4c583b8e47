#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "gradflow/base/types.h"

namespace gradflow {

struct TableOptions {
  char delimiter = 0;  ///< 0: tab for names ending in .tsv, .tab (or .gz of these), otherwise whichever of
                       ///< comma, semicolon and tab the header has most of, comma when none
  bool header = true;  ///< false: columns are named x1, x2, ...
  std::vector<std::string> missing_values = {"NA", "", "NaN", "nan", "N/A", "null"};
};

/// A rectangular table of text cells, as read; numbers are parsed where they are used, so that an error can
/// name its line. Blanks around a column name are removed; blanks around a cell are kept here and ignored
/// where the cell is compared with the missing values, a number or a level.
class Table {
 public:
  std::string source;              ///< the file's name, for messages
  std::vector<std::string> names;  ///< one per column, unique, nonempty
  std::vector<Index> line;         ///< per row: the 1-based line of the file on which it starts
  std::vector<std::string> missing_values;

  Index rows() const noexcept { return static_cast<Index>(line.size()); }
  Index cols() const noexcept { return static_cast<Index>(names.size()); }
  const std::string& cell(Index row, Index col) const;
  void add_row(std::vector<std::string> cells, Index starts_on_line);

  bool is_missing(std::string_view cell) const;
  /// Index of a column by name, or by 1-based position written "#3". A column literally named "#3" wins.
  /// Throws InputError that lists the nearest names (or the available ones) when there is none.
  Index find(const std::string& name, std::string_view option) const;

 private:
  std::vector<std::string> cells_;  // row-major
};

/// Reads CSV or TSV: RFC 4180 quoting ("" inside quotes, embedded delimiters and newlines), UTF-8 byte-order
/// mark, LF, CRLF or CR line ends, a last line without an end, gzip (recognised by its first bytes), blank
/// lines at the end ignored. Throws InputError: "FILE, line 7: 5 fields, but the header has 6", an
/// unterminated quote (naming the line where it opened), text after a closing quote, an empty file, a header
/// without rows, duplicated or empty column names, a directory, a file that does not exist, NUL bytes, bytes
/// that are not UTF-8, broken gzip data. A blank line before the last row is a missing value in a table of
/// one column and an InputError in any other.
Table read_table(const std::string& path, const TableOptions& options = {});
Table parse_table(std::string_view bytes, const std::string& source, const TableOptions& options = {});

}  // namespace gradflow
