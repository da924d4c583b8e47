#pragma once

#include <string>

namespace gradflow {

/// All bytes of a file (or pipe). Throws FileError "cannot read 'PATH': REASON".
std::string read_file_bytes(const std::string& path);

}  // namespace gradflow
