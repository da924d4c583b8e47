#include "gradflow/data/file_stamp.h"

#include <sys/stat.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cmath>
#include <cstring>

#include "gradflow/base/error.h"

namespace gradflow {
namespace {

constexpr std::size_t block_bytes = 16;
constexpr std::uint64_t c1 = 0x87c37b91114253d5, c2 = 0x4cf5ad432745937f;  // MurmurHash3's constants
constexpr std::uint64_t nan_bits = 0x7ff8000000000000;

// False when there is nothing at the path, with errno set.
bool read_stamp(const std::string& path, FileStamp& stamp) {
  struct stat status {};
  if (stat(path.c_str(), &status) != 0) return false;
  stamp = {.path = path, .regular = S_ISREG(status.st_mode)};
  if (!stamp.regular) return true;
  stamp.size = static_cast<std::uint64_t>(status.st_size);
  stamp.modified_ns = std::int64_t{status.st_mtim.tv_sec} * 1'000'000'000 + status.st_mtim.tv_nsec;
  stamp.inode = status.st_ino;
  return true;
}

std::uint64_t load(const unsigned char* bytes) {
  std::uint64_t value = 0;
  for (int i = 7; i >= 0; --i) value = value << 8 | bytes[i];
  return value;
}

void store(std::uint64_t value, char* bytes) {
  for (int i = 0; i < 8; ++i) bytes[i] = static_cast<char>(static_cast<unsigned char>(value >> 8 * i));
}

std::uint64_t bits_of(double value) {
  return std::isnan(value) ? nan_bits : std::bit_cast<std::uint64_t>(value);
}

std::uint64_t mix_k1(std::uint64_t k1) { return std::rotl(k1 * c1, 31) * c2; }
std::uint64_t mix_k2(std::uint64_t k2) { return std::rotl(k2 * c2, 33) * c1; }

void mix_block(const unsigned char* block, std::uint64_t& h1, std::uint64_t& h2) {
  h1 ^= mix_k1(load(block));
  h1 = (std::rotl(h1, 27) + h2) * 5 + 0x52dce729;
  h2 ^= mix_k2(load(block + 8));
  h2 = (std::rotl(h2, 31) + h1) * 5 + 0x38495ab5;
}

std::uint64_t final_mix(std::uint64_t k) {
  k = (k ^ k >> 33) * 0xff51afd7ed558ccd;
  k = (k ^ k >> 33) * 0xc4ceb9fe1a85ec53;
  return k ^ k >> 33;
}

}  // namespace

FileStamp stamp_file(const std::string& path) {
  FileStamp stamp;
  if (!read_stamp(path, stamp))
    throw FileError(fmt::format("cannot read '{}': {}", path, std::strerror(errno)));
  return stamp;
}

bool unchanged(const FileStamp& stamp) {
  if (!stamp.regular) return true;
  FileStamp now;
  return read_stamp(stamp.path, now) && now.regular && now.size == stamp.size &&
         now.modified_ns == stamp.modified_ns && now.inode == stamp.inode;
}

void Fingerprint::add(std::string_view bytes) {
  while (!bytes.empty()) {
    const std::size_t waiting = length_ % block_bytes;
    const std::size_t count = std::min(bytes.size(), block_bytes - waiting);
    std::memcpy(block_.data() + waiting, bytes.data(), count);
    if (waiting + count == block_bytes) mix_block(block_.data(), h1_, h2_);
    length_ += count;
    bytes.remove_prefix(count);
  }
}

void Fingerprint::add(double value) { add(&value, 1); }

void Fingerprint::add(std::int64_t value) {
  std::array<char, 8> bytes{};
  store(static_cast<std::uint64_t>(value), bytes.data());
  add(std::string_view(bytes.data(), bytes.size()));
}

void Fingerprint::add(const double* values, std::size_t count) {
  constexpr std::size_t at_once = 512;
  std::array<char, 8 * at_once> bytes;
  while (count > 0) {
    const std::size_t part = std::min(count, at_once);
    for (std::size_t i = 0; i < part; ++i) store(bits_of(values[i]), bytes.data() + 8 * i);
    add(std::string_view(bytes.data(), 8 * part));
    values += part;
    count -= part;
  }
}

std::string Fingerprint::hex() const {
  // The incomplete block counts as filled up with zeros, but a zero half of it is not mixed in (k = 0 adds
  // 0).
  std::array<unsigned char, block_bytes> tail{};
  std::copy_n(block_.begin(), length_ % block_bytes, tail.begin());
  std::uint64_t h1 = h1_ ^ mix_k1(load(tail.data()));
  std::uint64_t h2 = h2_ ^ mix_k2(load(tail.data() + 8));
  h1 ^= length_;
  h2 ^= length_;
  h1 += h2;
  h2 += h1;
  h1 = final_mix(h1);
  h2 = final_mix(h2);
  h1 += h2;
  h2 += h1;
  return fmt::format("{:016x}{:016x}", h1, h2);
}

}  // namespace gradflow
