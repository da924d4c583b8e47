#include "report/detail_json.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <set>

namespace gradflow {
namespace {

// Nine digits: enough to draw, half the bytes.
Json drawn(double value) {
  return std::isfinite(value) ? Json(std::strtod(fmt::format("{:.9g}", value).c_str(), nullptr))
                              : Json(nullptr);
}

Json drawn(const Vector& values) {
  Json list = Json::array();
  for (const double value : values) list.push_back(drawn(value));
  return list;
}

Json drawn(const Vector& values, const std::vector<Index>& rows) {
  Json list = Json::array();
  for (const Index row : rows) list.push_back(drawn(values(row)));
  return list;
}

std::vector<Index> rows_listed(const RunDetail& detail) {
  const Index n = detail.rows.observed.size();
  std::set<Index> rows(detail.largest_residuals.begin(), detail.largest_residuals.end());
  const Index listed = std::min(n, most_rows_in_document);
  for (Index i = 0; i < listed; ++i) rows.insert(i * n / listed);
  return {rows.begin(), rows.end()};
}

Json curves_json(const TrainingCurves& curves) {
  return {{"time", drawn(curves.time)},
          {"expected_rmse", drawn(curves.expected_rmse)},
          {"leave_one_out_rmse", drawn(curves.loo_rmse)},
          {"training_rmse", drawn(curves.training_rmse)},
          {"effective_dof", drawn(curves.effective_dof)}};
}

Json profiles_json(const RunDetail& detail) {
  Json curves = Json::array();
  for (const LikelihoodProfile& profile : detail.profiles)
    curves.push_back(
        {{"rule", profile.name}, {"time", drawn(profile.time)}, {"excess", drawn(profile.excess)}});
  return {{"threshold", number(detail.profile_threshold)}, {"curves", std::move(curves)}};
}

Json directions_json(const Directions& directions) {
  return {{"reason", directions.reason},
          {"eigenvalue", drawn(directions.eigenvalue)},
          {"signal", drawn(directions.signal)},
          {"residual", drawn(directions.residual)},
          {"spectral_loss", drawn(directions.loss)}};
}

Json rows_json(const RunDetail& detail) {
  const RowFits& rows = detail.rows;
  const std::vector<Index> listed = rows_listed(detail);
  Json ids = Json::array();
  for (const Index row : listed)
    ids.push_back(static_cast<std::size_t>(row) < rows.ids.size() ? rows.ids[static_cast<std::size_t>(row)]
                                                                  : std::to_string(row + 1));
  return {{"of", rows.observed.size()},
          {"reason", rows.reason},
          {"id", std::move(ids)},
          {"observed", drawn(rows.observed, listed)},
          {"fitted", drawn(rows.fitted, listed)},
          {"lower", drawn(rows.lower, listed)},
          {"upper", drawn(rows.upper, listed)},
          {"left_out", drawn(rows.left_out, listed)},
          {"left_out_lower", drawn(rows.left_out_lower, listed)},
          {"left_out_upper", drawn(rows.left_out_upper, listed)},
          {"standardised", drawn(rows.standardised, listed)}};
}

Json coverage_json(const std::vector<CoverageCount>& coverage) {
  Json list = Json::array();
  for (const CoverageCount& count : coverage)
    list.push_back({{"nominal", number(count.nominal)},
                    {"inside", count.inside},
                    {"rows", count.rows},
                    {"interval", interval_json(count.interval)}});
  return list;
}

}  // namespace

void add_detail(Json& json, const RunDetail& detail) {
  json["curves"] = curves_json(detail.curves);
  json["profiles"] = profiles_json(detail);
  json["directions"] = directions_json(detail.directions);
  json["rows"] = rows_json(detail);
  json["coverage"] = coverage_json(detail.coverage);
  // Places in the lists of "rows".
  const std::vector<Index> listed = rows_listed(detail);
  json["largest_residuals"] = Json::array();
  for (const Index row : detail.largest_residuals)
    json["largest_residuals"].push_back(std::ranges::lower_bound(listed, row) - listed.begin());
}

}  // namespace gradflow
