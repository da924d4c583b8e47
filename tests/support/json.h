#pragma once

#include <nlohmann/json.hpp>
#include <string>

namespace gradflow {

/// nlohmann::json::parse(), compiled once.
nlohmann::json parse_json(const std::string& text);

}  // namespace gradflow
