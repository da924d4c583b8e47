#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace gradflow {

/// Whether the bytes begin as a gzip file does.
bool is_gzip(std::string_view bytes) noexcept;

/// The contents of a gzip file of one or more members, checksums verified. Throws InputError naming `source`.
std::string gunzip(std::string_view bytes, const std::string& source);

/// The contents of a raw deflate stream, which must be `size` bytes. Throws InputError naming `source`. A
/// declared size that the compressed bytes cannot hold is refused before anything is allocated.
std::string inflate_raw(std::string_view bytes, std::size_t size, const std::string& source);

}  // namespace gradflow
