// Any bytes either read as a table or are refused with InputError; a table that was read either becomes a
// data set that its own recipe encodes, or is refused with InputError.

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "gradflow/base/error.h"
#include "gradflow/data/dataset.h"
#include "gradflow/data/table.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
  using namespace gradflow;
  if (size < 2) return 0;
  const TableOptions table_options{.delimiter = (bytes[0] & 1) != 0 ? ';' : '\0',
                                   .header = (bytes[0] & 2) == 0};
  const DatasetOptions options{.target = "#1",
                               .missing = static_cast<MissingPolicy>(bytes[1] % 3),
                               .standardize = static_cast<Standardize>(bytes[1] / 3 % 3)};
  const std::string_view text(reinterpret_cast<const char*>(bytes + 2), size - 2);
  try {
    const Table table = parse_table(text, "fuzz.csv", table_options);
    const Dataset data = make_dataset(table, options);
    const NewRows rows = encode(data.recipe, table);
    if (!data.X.allFinite() || !data.y.allFinite() || !rows.X.allFinite()) std::abort();
    if (rows.X.cols() != data.X.cols() || rows.ids.size() != static_cast<std::size_t>(table.rows()))
      std::abort();
  } catch (const InputError&) {
  }
  return 0;
}
