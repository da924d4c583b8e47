#include <algorithm>
#include <array>
#include <unordered_map>
#include <utility>

#include "data/file_bytes.h"
#include "data/inflate.h"
#include "data/text.h"
#include "gradflow/base/error.h"
#include "gradflow/data/table.h"

namespace gradflow {
namespace {

struct Record {
  std::vector<std::string> fields;
  Index line = 1;      // on which it starts
  bool blank = false;  // nothing but blanks on its line
};

/// Splits text into records of fields. Source: RFC 4180, with any delimiter and any of LF, CRLF, CR as line
/// end.
class RecordReader {
 public:
  RecordReader(std::string_view text, const std::string& source, char delimiter)
      : text_(text), source_(source), delimiter_(delimiter) {}

  /// False at the end of the text.
  bool next(Record& record) {
    if (at_end()) return false;
    record.fields.clear();
    record.line = line_;
    const bool quoted = text_[position_] == '"';
    while (true) {
      record.fields.emplace_back();
      if (!at_end() && text_[position_] == '"') {
        read_quoted(record.fields.back());
      } else {
        read_plain(record.fields.back());
      }
      if (at_end() || text_[position_] != delimiter_) break;
      ++position_;
    }
    record.blank = !quoted && record.fields.size() == 1 && trim(record.fields[0]).empty();
    skip_line_end();
    return true;
  }

 private:
  bool at_end() const { return position_ == text_.size(); }

  void read_plain(std::string& field) {
    std::size_t end = position_;
    while (end < text_.size() && text_[end] != delimiter_ && text_[end] != '\n' && text_[end] != '\r') ++end;
    field.assign(text_.substr(position_, end - position_));
    position_ = end;
  }

  void read_quoted(std::string& field) {
    const Index opened = line_;
    ++position_;
    for (;; ++position_) {
      if (at_end())
        throw InputError(
            fmt::format("{}, line {}: a quote (\") is opened and never closed", source_, opened));
      const char c = text_[position_];
      const bool another = position_ + 1 < text_.size();
      if (c == '"') {
        if (!another || text_[position_ + 1] != '"') break;
        ++position_;
      }
      if (c == '\n' || (c == '\r' && !(another && text_[position_ + 1] == '\n'))) ++line_;
      field += c;
    }
    ++position_;
    if (!at_end() && text_[position_] != delimiter_ && text_[position_] != '\n' && text_[position_] != '\r')
      throw InputError(fmt::format(
          "{}, line {}: text after a closing quote (\"); a quote inside a quoted field is written twice",
          source_, line_));
  }

  void skip_line_end() {
    if (at_end()) return;
    const bool carriage_return = text_[position_] == '\r';
    ++position_;
    if (carriage_return && !at_end() && text_[position_] == '\n') ++position_;
    ++line_;
  }

  std::string_view text_;
  const std::string& source_;
  char delimiter_;
  std::size_t position_ = 0;
  Index line_ = 1;
};

Index line_of(std::string_view text, std::size_t position) {
  Index line = 1;
  for (std::size_t i = 0; i < position; ++i)
    if (text[i] == '\n' || (text[i] == '\r' && (i + 1 == text.size() || text[i + 1] != '\n'))) ++line;
  return line;
}

void check_text(std::string_view text, const std::string& source) {
  const std::size_t nul = text.find('\0');
  if (nul != std::string_view::npos)
    throw InputError(
        fmt::format("{}, line {}: a NUL byte; the file must be UTF-8 text", source, line_of(text, nul)));
  const std::size_t invalid = first_invalid_utf8(text);
  if (invalid != std::string_view::npos)
    throw InputError(fmt::format("{}, line {}: the byte 0x{:02X} is not UTF-8; save the file as UTF-8 text",
                                 source, line_of(text, invalid), static_cast<unsigned char>(text[invalid])));
}

char delimiter_of(std::string_view text, std::string source, const TableOptions& options) {
  if (options.delimiter != 0) return options.delimiter;
  if (source.ends_with(".gz")) source.resize(source.size() - 3);
  if (source.ends_with(".tsv") || source.ends_with(".tab")) return '\t';
  constexpr std::array candidates = {',', ';', '\t'};
  std::array<std::size_t, candidates.size()> counts{};
  bool in_quotes = false;
  for (const char c : text) {
    if (c == '"') in_quotes = !in_quotes;
    if (in_quotes) continue;
    if (c == '\n' || c == '\r') break;
    for (std::size_t i = 0; i < candidates.size(); ++i) counts[i] += c == candidates[i] ? 1 : 0;
  }
  const auto most = std::max_element(counts.begin(), counts.end());
  return candidates[static_cast<std::size_t>(most - counts.begin())];
}

std::vector<std::string> header_names(const Record& header, const std::string& source) {
  if (header.blank)
    throw InputError(fmt::format("{}, line {}: the header line is blank", source, header.line));
  std::vector<std::string> names;
  std::unordered_map<std::string, std::size_t> position;
  for (const std::string& field : header.fields) {
    const std::string& name = names.emplace_back(trim(field));
    if (name.empty())
      throw InputError(fmt::format("{}, line {}: column {} has no name; every column needs one", source,
                                   header.line, names.size()));
    const auto [earlier, is_new] = position.emplace(name, names.size());
    if (!is_new)
      throw InputError(fmt::format("{}, line {}: columns {} and {} are both named {}; names must be unique",
                                   source, header.line, earlier->second, names.size(), shown(name)));
  }
  return names;
}

[[noreturn]] void fail_ragged(const Table& table, const Record& record, bool header) {
  const std::string found =
      record.blank ? "a blank line" : counted(static_cast<long>(record.fields.size()), "field");
  throw InputError(fmt::format("{}, line {}: {}, but the {} has {}", table.source, record.line, found,
                               header ? "header" : "first row", table.cols()));
}

void read_rows(RecordReader& reader, Table& table, bool header) {
  std::vector<Index> blank_lines;  // read, and not yet known to be inside the table
  Record record;
  while (reader.next(record)) {
    if (record.blank) {
      blank_lines.push_back(record.line);
      continue;
    }
    for (const Index line : blank_lines) {
      if (table.cols() > 1) fail_ragged(table, {{}, line, true}, header);
      table.add_row({""}, line);
    }
    blank_lines.clear();
    if (static_cast<Index>(record.fields.size()) != table.cols()) fail_ragged(table, record, header);
    table.add_row(std::exchange(record.fields, {}), record.line);
  }
}

Table parse_text(std::string_view text, const std::string& source, const TableOptions& options) {
  if (text.starts_with("\xEF\xBB\xBF")) text.remove_prefix(3);
  if (text.find_first_not_of(" \t\r\n") == std::string_view::npos)
    throw InputError(fmt::format("{}: the file is empty; a header and rows are required", source));
  check_text(text, source);

  Table table;
  table.source = source;
  table.missing_values = options.missing_values;
  RecordReader reader(text, source, delimiter_of(text, source, options));
  Record first;
  reader.next(first);
  if (options.header) {
    table.names = header_names(first, source);
  } else {
    for (std::size_t i = 1; i <= first.fields.size(); ++i) table.names.push_back(fmt::format("x{}", i));
    table.add_row(std::move(first.fields), first.line);
  }
  read_rows(reader, table, options.header);
  if (table.rows() == 0) throw InputError(fmt::format("{}: a header, but no rows", source));
  return table;
}

}  // namespace

Table parse_table(std::string_view bytes, const std::string& source, const TableOptions& options) {
  const char d = options.delimiter;
  require(d != '"' && d != '\n' && d != '\r', "TableOptions::delimiter", shown({&d, 1}),
          "must not be a quote or a line end");
  if (is_gzip(bytes)) return parse_text(gunzip(bytes, source), source, options);
  return parse_text(bytes, source, options);
}

Table read_table(const std::string& path, const TableOptions& options) {
  return parse_table(read_file_bytes(path), path, options);
}

}  // namespace gradflow
