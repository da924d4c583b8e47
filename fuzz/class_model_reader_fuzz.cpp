#include <cstddef>
#include <cstdint>
#include <string_view>

#include "gradflow/base/error.h"
#include "gradflow/model/class_model.h"

// Any bytes give a model or an InputError, and nothing else.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  try {
    (void)gradflow::ClassModel::parse({reinterpret_cast<const char*>(data), size}, "fuzz");
  } catch (const gradflow::InputError&) {
  }
  return 0;
}
