#include "gradflow/data/csv_writer.h"

#include <fmt/format.h>

#include <cmath>
#include <utility>

#include "gradflow/base/error.h"

namespace gradflow {

std::string csv_field(std::string_view text) {
  if (text.find_first_of(",\"\r\n") == std::string_view::npos) return std::string(text);
  std::string quoted = "\"";
  for (const char c : text) {
    if (c == '"') quoted += '"';
    quoted += c;
  }
  return quoted + '"';
}

std::string csv_number(double value) { return std::isnan(value) ? "NA" : fmt::format("{}", value); }

CsvWriter::CsvWriter(std::string path, const std::vector<std::string>& names)
    : file_(std::move(path)), columns_(names.size()) {
  for (const std::string& name : names) text(name);
  end_row();
}

CsvWriter& CsvWriter::text(std::string_view field) {
  // Alone on its line, an empty field would be a blank line.
  add(columns_ == 1 && field.empty() ? "\"\"" : csv_field(field));
  return *this;
}

CsvWriter& CsvWriter::number(double value) {
  add(csv_number(value));
  return *this;
}

void CsvWriter::add(std::string_view encoded) {
  if (in_row_ == columns_) throw InternalError(fmt::format("CSV row has more than {} fields", columns_));
  if (in_row_++ > 0) pending_ += ',';
  pending_ += encoded;
}

void CsvWriter::end_row() {
  if (in_row_ != columns_) throw InternalError(fmt::format("CSV row has {} of {} fields", in_row_, columns_));
  in_row_ = 0;
  pending_ += '\n';
  constexpr std::size_t buffer = 1 << 16;
  if (pending_.size() < buffer) return;
  file_.write(pending_);
  pending_.clear();
}

void CsvWriter::commit() {
  if (in_row_ != 0) throw InternalError("CSV committed inside a row");
  file_.write(pending_);
  pending_.clear();
  file_.commit();
}

}  // namespace gradflow
