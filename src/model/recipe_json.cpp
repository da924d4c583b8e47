#include "model/recipe_json.h"

#include <cmath>
#include <limits>

#include "gradflow/base/error.h"

namespace gradflow {

FieldReader::FieldReader(const nlohmann::json& object, std::string source, std::string where)
    : object_(&object), source_(std::move(source)), where_(std::move(where)) {
  if (!object.is_object())
    throw InputError(
        fmt::format("{}: damaged gradflow model: field '{}' must be an object", source_, where_));
}

void FieldReader::fail(const std::string& name, const std::string& must) const {
  throw InputError(fmt::format("{}: damaged gradflow model: field '{}{}' must be {}", source_,
                               where_.empty() ? "" : where_ + ".", name, must));
}

const nlohmann::json& FieldReader::at(const std::string& name) const {
  const auto found = object_->find(name);
  if (found == object_->end()) fail(name, "present");
  return *found;
}

FieldReader FieldReader::object(const std::string& name) const {
  return {at(name), source_, where_.empty() ? name : where_ + "." + name};
}

std::vector<FieldReader> FieldReader::objects(const std::string& name) const {
  const nlohmann::json& list = at(name);
  if (!list.is_array()) fail(name, "a list");
  std::vector<FieldReader> out;
  for (const nlohmann::json& item : list)
    out.emplace_back(item, source_, where_.empty() ? name : where_ + "." + name);
  return out;
}

std::string FieldReader::text(const std::string& name) const {
  if (!at(name).is_string()) fail(name, "a text");
  return at(name).get<std::string>();
}

std::vector<std::string> FieldReader::texts(const std::string& name) const {
  const nlohmann::json& list = at(name);
  if (!list.is_array()) fail(name, "a list of texts");
  std::vector<std::string> out;
  for (const nlohmann::json& item : list) {
    if (!item.is_string()) fail(name, "a list of texts");
    out.push_back(item.get<std::string>());
  }
  return out;
}

std::vector<double> FieldReader::numbers(const std::string& name) const {
  const nlohmann::json& list = at(name);
  if (!list.is_array()) fail(name, "a list of numbers");
  std::vector<double> out;
  for (const nlohmann::json& item : list) {
    if (!item.is_number()) fail(name, "a list of numbers");
    out.push_back(item.get<double>());
  }
  return out;
}

double FieldReader::number(const std::string& name) const {
  if (!at(name).is_number()) fail(name, "a number");
  const double value = at(name).get<double>();
  if (!std::isfinite(value)) fail(name, "finite");
  return value;
}

double FieldReader::number_or_nan(const std::string& name) const {
  return at(name).is_null() ? std::numeric_limits<double>::quiet_NaN() : number(name);
}

Index FieldReader::count(const std::string& name, Index largest) const {
  const nlohmann::json& value = at(name);
  if (!value.is_number_integer()) fail(name, "a whole number");
  if (value.is_number_unsigned() &&
      value.get<std::uint64_t>() > static_cast<std::uint64_t>(largest < 0 ? 0 : largest))
    fail(name, fmt::format("at most {}", largest));
  const auto count = value.get<std::int64_t>();
  if (count < -1 || count > largest) fail(name, fmt::format("between -1 and {}", largest));
  return count;
}

std::uint64_t FieldReader::seed(const std::string& name) const {
  if (!at(name).is_number_unsigned()) fail(name, "a whole number >= 0");
  return at(name).get<std::uint64_t>();
}

bool FieldReader::flag_or(const std::string& name, bool absent) const {
  return object_->contains(name) ? flag(name) : absent;
}

bool FieldReader::flag(const std::string& name) const {
  if (!at(name).is_boolean()) fail(name, "true or false");
  return at(name).get<bool>();
}

namespace {

// What is not given is left out: a file says no more than its reader needs.
Json options_json(const DatasetOptions& options) {
  Json json = {{"target", options.target},
               {"covariates", options.covariates},
               {"features", options.features},
               {"exclude", options.exclude},
               {"categorical", options.categorical},
               {"id", options.id},
               {"missing", static_cast<int>(options.missing)},
               {"standardize", static_cast<int>(options.standardize)}};
  if (!options.row_weights.empty()) json["row_weights"] = options.row_weights;
  if (options.copies != CopiesPolicy::once) json["copies"] = static_cast<int>(options.copies);
  return json;
}

DatasetOptions options_from(const FieldReader& fields) {
  DatasetOptions options;
  options.target = fields.text("target");
  options.covariates = fields.texts("covariates");
  options.features = fields.texts("features");
  options.exclude = fields.texts("exclude");
  options.categorical = fields.texts("categorical");
  options.id = fields.text("id");
  const Index missing = fields.count("missing", 2), standardize = fields.count("standardize", 2);
  if (missing < 0) fields.fail("missing", ">= 0");
  if (standardize < 0) fields.fail("standardize", ">= 0");
  options.missing = static_cast<MissingPolicy>(missing);
  options.standardize = static_cast<Standardize>(standardize);
  if (fields.has("row_weights")) options.row_weights = fields.text("row_weights");
  if (fields.has("copies")) options.copies = static_cast<CopiesPolicy>(fields.count("copies", 1));
  return options;
}

Json encoded_json(const std::vector<EncodedColumn>& columns) {
  Json list = Json::array();
  for (const EncodedColumn& column : columns)
    list.push_back({{"name", column.name},
                    {"source", column.source},
                    {"level", column.level},
                    {"center", column.center},
                    {"scale", column.scale}});
  return list;
}

std::vector<EncodedColumn> encoded_from(const FieldReader& fields, const std::string& name,
                                        const Recipe& recipe) {
  std::vector<EncodedColumn> columns;
  for (const FieldReader& item : fields.objects(name)) {
    EncodedColumn column;
    column.name = item.text("name");
    column.source = item.count("source", static_cast<Index>(recipe.columns.size()) - 1);
    if (column.source < 0) item.fail("source", ">= 0");
    const ColumnRecipe& source = recipe.columns[static_cast<std::size_t>(column.source)];
    column.level = item.count("level", static_cast<Index>(source.levels.size()) - 1);
    if (source.is_categorical != (column.level >= 0))
      item.fail("level", "that of a categorical column, or -1");
    column.center = item.number("center");
    column.scale = item.number("scale");
    if (!(column.scale > 0.0)) item.fail("scale", "> 0");
    columns.push_back(std::move(column));
  }
  return columns;
}

}  // namespace

Json to_json(const Recipe& recipe) {
  Json columns = Json::array();
  for (const ColumnRecipe& column : recipe.columns)
    columns.push_back({{"name", column.name},
                       {"is_covariate", column.is_covariate},
                       {"is_categorical", column.is_categorical},
                       {"levels", column.levels},
                       {"fill", column.fill},
                       {"level_fill", column.level_fill}});
  return {{"options", options_json(recipe.options)},   {"missing_values", recipe.missing_values},
          {"input_columns", recipe.input_columns},     {"columns", std::move(columns)},
          {"features", encoded_json(recipe.features)}, {"covariates", encoded_json(recipe.covariates)},
          {"target_center", recipe.target_center},     {"target_scale", recipe.target_scale}};
}

Recipe recipe_from(const FieldReader& fields) {
  Recipe recipe;
  recipe.options = options_from(fields.object("options"));
  recipe.missing_values = fields.texts("missing_values");
  recipe.input_columns = fields.texts("input_columns");
  for (const FieldReader& item : fields.objects("columns")) {
    ColumnRecipe column;
    column.name = item.text("name");
    column.is_covariate = item.flag("is_covariate");
    column.is_categorical = item.flag("is_categorical");
    column.levels = item.texts("levels");
    column.fill = item.number("fill");
    column.level_fill = item.numbers("level_fill");
    if (column.level_fill.size() != column.levels.size()) item.fail("level_fill", "as long as levels");
    recipe.columns.push_back(std::move(column));
  }
  recipe.features = encoded_from(fields, "features", recipe);
  recipe.covariates = encoded_from(fields, "covariates", recipe);
  recipe.target_center = fields.number("target_center");
  recipe.target_scale = fields.number("target_scale");
  if (!(recipe.target_scale > 0.0)) fields.fail("target_scale", "> 0");
  return recipe;
}

Json to_json(const Path& path) {
  return {{"kind", to_string(path.kind)},
          {"time", path.time},
          {"decay", path.decay},
          {"learning_rate", path.learning_rate},
          {"iterations", path.iterations}};
}

Path path_from(const FieldReader& fields) {
  Path path;
  path.kind = parse_path(fields.text("kind"));
  path.time = fields.number_or_nan("time");
  path.decay = fields.number("decay");
  path.learning_rate = fields.number("learning_rate");
  path.iterations = static_cast<int>(fields.count("iterations", 1 << 20));
  return path;
}

}  // namespace gradflow
