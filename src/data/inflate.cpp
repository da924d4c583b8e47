#include "data/inflate.h"

#include <zlib.h>

#include <algorithm>
#include <new>

#include "gradflow/base/error.h"

namespace gradflow {
namespace {

// zlib counts in 32 bits: longer input goes in pieces.
constexpr std::size_t largest_piece = std::size_t{1} << 30;

class Inflater {
 public:
  Inflater(std::string_view bytes, int window_bits) : bytes_(bytes) {
    if (inflateInit2(&stream_, window_bits) != Z_OK) throw std::bad_alloc();
  }
  ~Inflater() { inflateEnd(&stream_); }
  Inflater(const Inflater&) = delete;
  Inflater& operator=(const Inflater&) = delete;

  /// Fills [out, out + capacity) as far as the stream goes; returns the bytes written. done() afterwards says
  /// whether the stream ended. Z_BUF_ERROR is the sign of input that ends early.
  std::size_t read(char* out, std::size_t capacity) {
    std::size_t written = 0;
    while (!done_ && written < capacity) {
      const std::size_t in = std::min(bytes_.size() - used_, largest_piece);
      const std::size_t room = std::min(capacity - written, largest_piece);
      stream_.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(bytes_.data() + used_));
      stream_.avail_in = static_cast<uInt>(in);
      stream_.next_out = reinterpret_cast<Bytef*>(out + written);
      stream_.avail_out = static_cast<uInt>(room);
      status_ = inflate(&stream_, Z_NO_FLUSH);
      used_ += in - stream_.avail_in;
      written += room - stream_.avail_out;
      done_ = status_ == Z_STREAM_END;
      if (status_ != Z_OK) break;
    }
    return written;
  }

  void restart() {
    if (inflateReset(&stream_) != Z_OK) throw std::bad_alloc();
    done_ = false;
  }

  bool done() const { return done_; }
  bool failed() const { return status_ != Z_OK && status_ != Z_STREAM_END; }
  std::string_view rest() const { return bytes_.substr(used_); }

  std::string reason() const {
    if (status_ == Z_BUF_ERROR) return "the compressed data end early";
    return stream_.msg != nullptr ? stream_.msg : "the compressed data are invalid";
  }

 private:
  std::string_view bytes_;
  z_stream stream_{};
  std::size_t used_ = 0;
  int status_ = Z_OK;
  bool done_ = false;
};

}  // namespace

bool is_gzip(std::string_view bytes) noexcept { return bytes.starts_with("\x1f\x8b"); }

std::string gunzip(std::string_view bytes, const std::string& source) {
  constexpr int gzip_window = 15 + 16;
  constexpr std::size_t chunk = 1 << 18;
  Inflater inflater(bytes, gzip_window);
  std::string text;
  std::size_t filled = 0;
  while (true) {
    // Room grows geometrically: resize() alone may move all bytes for each chunk.
    if (text.size() < filled + chunk) text.resize(std::max(filled + chunk, 2 * text.size()));
    filled += inflater.read(text.data() + filled, text.size() - filled);
    if (inflater.failed())
      throw InputError(fmt::format("{}: broken gzip data: {}", source, inflater.reason()));
    if (!inflater.done()) continue;
    if (!is_gzip(inflater.rest())) break;
    inflater.restart();
  }
  // Tapes and block devices pad with zeros; anything else is not part of a gzip file.
  if (inflater.rest().find_first_not_of('\0') != std::string_view::npos)
    throw InputError(fmt::format("{}: broken gzip data: {} bytes after the end of the compressed data",
                                 source, inflater.rest().size()));
  text.resize(filled);
  return text;
}

std::string inflate_raw(std::string_view bytes, std::size_t size, const std::string& source) {
  // Deflate stores at most 258 bytes in 2 bits. Source: zlib's technical details, "1032:1".
  constexpr std::size_t largest_ratio = 1032;
  if (size / largest_ratio > bytes.size())
    throw InputError(
        fmt::format("{}: {} compressed bytes cannot hold the declared {} bytes", source, bytes.size(), size));
  constexpr int raw_window = -15;
  Inflater inflater(bytes, raw_window);
  // One byte of room beyond `size` shows a stream that is longer than declared.
  std::string text(size + 1, '\0');
  const std::size_t written = inflater.read(text.data(), text.size());
  if (inflater.failed()) throw InputError(fmt::format("{}: {}", source, inflater.reason()));
  if (!inflater.done() || written != size)
    throw InputError(fmt::format("{}: the compressed data do not hold the declared {} bytes", source, size));
  text.resize(size);
  return text;
}

}  // namespace gradflow
