#pragma once

#include <string>
#include <string_view>

namespace gradflow {

/// Text as HTML and XML show it: & < > " ' as references, control characters but line ends and tabs as
/// spaces. Every text that is not a literal of ours passes through here.
std::string escaped(std::string_view text);

}  // namespace gradflow
