// Any bytes either read as a network of layers, as text or as JSON, or are refused with InputError; what was
// read prints to what reads back to the same.

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>

#include "gradflow/base/error.h"
#include "gradflow/network/layered_architecture.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
  using namespace gradflow;
  if (size < 1) return 0;
  const std::string text(reinterpret_cast<const char*>(bytes), size);
  try {
    const LayeredArchitecture network =
        text.front() == '{' ? layered_architecture_from_json(text) : parse_layered_architecture(text);
    if (parse_layered_architecture(to_string(network)) != network) std::abort();
    if (layered_architecture_from_json(to_json(network)) != network) std::abort();
  } catch (const InputError&) {
  }
  return 0;
}
