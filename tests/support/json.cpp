#include "support/json.h"

namespace gradflow {

nlohmann::json parse_json(const std::string& text) { return nlohmann::json::parse(text); }

}  // namespace gradflow
