#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "gradflow/data/dataset.h"
#include "gradflow/inference/path.h"

namespace gradflow {

using Json = nlohmann::ordered_json;  ///< members in the order written

/// Reads fields of a model file's JSON. Every access throws InputError "SOURCE: damaged gradflow model: FIELD
/// ..." when the field is absent or of another type.
class FieldReader {
 public:
  FieldReader(const nlohmann::json& object, std::string source, std::string where = "");

  FieldReader object(const std::string& name) const;
  std::vector<FieldReader> objects(const std::string& name) const;
  std::string text(const std::string& name) const;
  std::vector<std::string> texts(const std::string& name) const;
  std::vector<double> numbers(const std::string& name) const;
  double number(const std::string& name) const;  ///< finite
  bool has(const std::string& name) const { return object_->contains(name); }
  double number_or_nan(const std::string& name) const;        ///< null is NaN
  Index count(const std::string& name, Index largest) const;  ///< -1 <= value <= largest
  std::uint64_t seed(const std::string& name) const;
  bool flag(const std::string& name) const;
  bool flag_or(const std::string& name, bool absent) const;  ///< `absent` where there is no such field
  [[noreturn]] void fail(const std::string& name, const std::string& must) const;

 private:
  const nlohmann::json& at(const std::string& name) const;

  const nlohmann::json* object_;
  std::string source_;
  std::string where_;
};

nlohmann::ordered_json to_json(const Recipe& recipe);
Recipe recipe_from(const FieldReader& fields);
nlohmann::ordered_json to_json(const Path& path);
Path path_from(const FieldReader& fields);

}  // namespace gradflow
