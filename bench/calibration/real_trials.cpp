#include "real_trials.h"

namespace gradflow::calibration {

std::vector<RealCase> available_real_cases(Index rows) {
  std::vector<RealCase> cases{{{"yacht", "yacht", 20, rows}, 20, 10, 20},
                              {{"boston", "boston", 20, rows}, 20, 6, 20},
                              {{"wine-red", "wine-red", 20, rows, study::Copies::drop_from_table}, 10, 2, 5},
                              {{"kin8nm", "kin8nm", 20, rows}, 10, 2, 5},
                              {{"naval", "naval", 20, rows}, 10, 2, 5},
                              {{"protein", "protein", 5, rows}, 5, 2, 5}};
  std::erase_if(cases, [](const RealCase& real) {
    const bool absent = !study::available(real.study_case.folder);
    if (absent)
      fmt::print("{}: skipped, {} is absent\n", real.study_case.name,
                 study::data_folder(real.study_case.folder));
    return absent;
  });
  return cases;
}

Trial real_rows(const study::RealData& data, const study::Case& study_case, int split) {
  study::Rows rows = study::rows_of_split(data, study_case, split);
  if (static_cast<Index>(rows.test.size()) > study_case.training_rows) {
    const auto order = RandomStream(static_cast<std::uint64_t>(split), "test rows of the study")
                           .permutation(static_cast<Index>(rows.test.size()));
    std::vector<Index> sample;
    for (std::size_t i = 0; i < static_cast<std::size_t>(study_case.training_rows); ++i)
      sample.push_back(rows.test[static_cast<std::size_t>(order[i])]);
    rows.test = std::move(sample);
  }
  return {Matrix(data.X(rows.train, Eigen::all)), Matrix(data.X(rows.test, Eigen::all)),
          Vector(data.y(rows.train)), Vector(data.y(rows.test))};
}

}  // namespace gradflow::calibration
