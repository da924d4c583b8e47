#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "gradflow/base/atomic_file.h"

namespace gradflow {

/// A field as RFC 4180 writes it: in quotes, with quotes doubled, when it holds a comma, a quote or a line
/// end.
std::string csv_field(std::string_view text);

/// The shortest decimal that reads back as the same double; "NA" for NaN.
std::string csv_number(double value);

/// A CSV file written row by row that appears whole, at commit(), or not at all. Throws FileError as
/// AtomicFile does, and InternalError for a row that has not one field per column.
///
///     CsvWriter csv("out.csv", {"id", "mean"});
///     csv.text("a,b").number(0.1).end_row();
///     csv.commit();
class CsvWriter {
 public:
  CsvWriter(std::string path, const std::vector<std::string>& names);

  CsvWriter& text(std::string_view field);
  CsvWriter& number(double value);
  void end_row();
  void commit();

 private:
  void add(std::string_view encoded);

  AtomicFile file_;
  std::string pending_;  // encoded, not yet written
  std::size_t columns_ = 0;
  std::size_t in_row_ = 0;  // fields of the current row so far
};

}  // namespace gradflow
