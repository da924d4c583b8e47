#include <zlib.h>

#include <algorithm>
#include <optional>
#include <utility>

#include "data/file_bytes.h"
#include "data/inflate.h"
#include "data/scalar_type.h"
#include "data/text.h"
#include "gradflow/base/error.h"
#include "gradflow/data/array_file.h"

// Format: PKWARE APPNOTE 6.3, sections 4.3 (records), 4.4 (fields) and 4.5.3 (ZIP64).

namespace gradflow {
namespace {

constexpr std::uint64_t in_zip64_16 = 0xFFFF, in_zip64_32 = 0xFFFFFFFF;

struct Entry {
  std::string name;
  std::uint64_t flags = 0, method = 0, checksum = 0;
  std::uint64_t compressed_size = 0, size = 0;
  std::uint64_t offset = 0;  // of its local header
};

struct Directory {
  std::uint64_t entries = 0, size = 0, offset = 0;
};

class Archive {
 public:
  Archive(std::string_view bytes, const std::string& source) : bytes_(bytes), source_(source) {}

  std::vector<Entry> entries() const {
    const Directory directory = find_directory();
    constexpr std::size_t shortest_entry = 46;
    if (directory.entries > bytes_.size() / shortest_entry)
      fail("the archive lists more members than it can hold");
    std::vector<Entry> result;
    std::uint64_t at = directory.offset;
    for (std::uint64_t i = 0; i < directory.entries; ++i) result.push_back(read_entry(at));
    return result;
  }

  std::string contents(const Entry& entry) const {
    const std::string member = fmt::format("{}, member {}", source_, shown(entry.name));
    if ((entry.flags & 1) != 0) throw InputError(fmt::format("{}: encrypted members cannot be read", member));
    if (field(entry.offset, 4) != 0x04034b50) fail("a member's header is invalid");
    const std::uint64_t start = entry.offset + 30 + field(entry.offset + 26, 2) + field(entry.offset + 28, 2);
    const std::string_view data = slice(start, entry.compressed_size);
    std::string result;
    constexpr std::uint64_t stored = 0, deflated = 8;
    if (entry.method == stored) {
      if (entry.size != entry.compressed_size)
        throw InputError(fmt::format("{}: its sizes disagree", member));
      result = data;
    } else if (entry.method == deflated) {
      result = inflate_raw(data, entry.size, member);
    } else {
      throw InputError(
          fmt::format("{}: compression method {} is not supported; save with numpy.savez or "
                      "numpy.savez_compressed",
                      member, entry.method));
    }
    const auto checksum = crc32_z(0, reinterpret_cast<const Bytef*>(result.data()), result.size());
    if (checksum != entry.checksum) throw InputError(fmt::format("{}: its checksum does not match", member));
    return result;
  }

 private:
  [[noreturn]] void fail(std::string_view reason) const {
    throw InputError(fmt::format("{}: not a usable NPZ file: {}", source_, reason));
  }

  std::string_view slice(std::uint64_t offset, std::uint64_t length) const {
    if (offset > bytes_.size() || length > bytes_.size() - offset)
      fail("it is truncated or its offsets are wrong");
    return bytes_.substr(offset, length);
  }

  std::uint64_t field(std::uint64_t offset, std::size_t width) const {
    return little_endian(slice(offset, width), width);
  }

  // The end record is the last thing in the file but a comment, whose length it states.
  std::uint64_t find_end_record() const {
    constexpr std::size_t record = 22, longest_comment = 0xFFFF;
    if (bytes_.size() >= record) {
      const std::size_t lowest = bytes_.size() - record - std::min(bytes_.size() - record, longest_comment);
      for (std::size_t at = bytes_.size() - record + 1; at-- > lowest;)
        if (field(at, 4) == 0x06054b50 && at + record + field(at + 20, 2) == bytes_.size()) return at;
    }
    fail(bytes_.starts_with("PK") ? "it is truncated" : "it is not a ZIP archive");
  }

  Directory find_directory() const {
    const std::uint64_t end = find_end_record();
    const Directory directory{field(end + 10, 2), field(end + 12, 4), field(end + 16, 4)};
    if (directory.entries != in_zip64_16 && directory.size != in_zip64_32 && directory.offset != in_zip64_32)
      return directory;
    constexpr std::uint64_t locator = 20;
    if (end < locator || field(end - locator, 4) != 0x07064b50) return directory;
    const std::uint64_t end64 = field(end - locator + 8, 8);
    if (field(end64, 4) != 0x06064b50) fail("its ZIP64 end record is invalid");
    return {field(end64 + 32, 8), field(end64 + 40, 8), field(end64 + 48, 8)};
  }

  // Reads the directory entry at `at`, which moves behind it.
  Entry read_entry(std::uint64_t& at) const {
    if (field(at, 4) != 0x02014b50) fail("its directory is invalid");
    Entry entry;
    entry.flags = field(at + 8, 2);
    entry.method = field(at + 10, 2);
    entry.checksum = field(at + 16, 4);
    entry.compressed_size = field(at + 20, 4);
    entry.size = field(at + 24, 4);
    const std::uint64_t name = field(at + 28, 2), extra = field(at + 30, 2), comment = field(at + 32, 2);
    entry.offset = field(at + 42, 4);
    entry.name = slice(at + 46, name);
    read_zip64(slice(at + 46 + name, extra), entry);
    at += 46 + name + extra + comment;
    return entry;
  }

  // Extra field 0x0001 holds, in this order, those of the three that do not fit 32 bits.
  void read_zip64(std::string_view extra, Entry& entry) const {
    while (extra.size() >= 4) {
      const std::uint64_t id = little_endian(extra, 2), length = little_endian(extra.substr(2), 2);
      if (length > extra.size() - 4) fail("a member's extra field is invalid");
      std::string_view values = extra.substr(4, length);
      extra.remove_prefix(4 + length);
      if (id != 1) continue;
      for (std::uint64_t* value : {&entry.size, &entry.compressed_size, &entry.offset}) {
        if (*value != in_zip64_32) continue;
        if (values.size() < 8) fail("a member's ZIP64 field is invalid");
        *value = little_endian(values, 8);
        values.remove_prefix(8);
      }
    }
  }

  std::string_view bytes_;
  const std::string& source_;
};

}  // namespace

std::map<std::string, Array> parse_npz(std::string_view bytes, const std::string& source) {
  const Archive archive(bytes, source);
  std::map<std::string, Array> arrays;
  for (const Entry& entry : archive.entries()) {
    constexpr std::string_view suffix = ".npy";
    if (!entry.name.ends_with(suffix)) continue;
    const std::string name = entry.name.substr(0, entry.name.size() - suffix.size());
    Array array = parse_npy(archive.contents(entry), fmt::format("{}, array {}", source, shown(name)));
    if (!arrays.emplace(name, std::move(array)).second)
      throw InputError(fmt::format("{}: two arrays are named {}", source, shown(name)));
  }
  if (arrays.empty()) throw InputError(fmt::format("{}: the archive holds no arrays", source));
  return arrays;
}

std::map<std::string, Array> read_npz(const std::string& path) {
  return parse_npz(read_file_bytes(path), path);
}

}  // namespace gradflow
