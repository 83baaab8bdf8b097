#include "train/tokenizer/hf/json_place.h"

#include <algorithm>

#include "core/error.h"

namespace monge::train {
namespace {

constexpr int deepest = 100;

std::string line_and_column(std::string_view text, std::size_t at) {
  const std::string_view before = text.substr(0, std::min(at, text.size()));
  const std::size_t line_start = before.rfind('\n') + 1;  // npos + 1 is 0
  return fmt::format("line {}, column {}", 1 + std::ranges::count(before, '\n'), before.size() - line_start + 1);
}

/// What is nested deep would use up the stack when it is written or copied.
void check_depth(std::string_view text, const std::string& file) {
  int depth = 0;
  bool quoted = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (quoted) {
      if (c == '\\') ++i;
      if (c == '"') quoted = false;
    } else if (c == '"') {
      quoted = true;
    } else if (c == '[' || c == '{') {
      if (++depth > deepest) {
        throw InputError(fmt::format("{}: {}: lists and objects are nested more than {} deep; this is no tokenizer",
                                     file, line_and_column(text, i), deepest));
      }
    } else if (c == ']' || c == '}') {
      --depth;
    }
  }
}

}  // namespace

nlohmann::json JsonPlace::parse(std::string_view text, const std::string& file) {
  check_depth(text, file);
  try {
    return nlohmann::json::parse(text);
  } catch (const nlohmann::json::parse_error& error) {
    throw InputError(fmt::format("{}: {}: no valid JSON; the file is damaged or cut off, get it anew", file,
                                 line_and_column(text, error.byte == 0 ? 0 : error.byte - 1)));
  } catch (const nlohmann::json::exception&) {
    throw InputError(fmt::format("{}: a number is too large", file));
  }
}

void JsonPlace::refuse(const std::string& problem) const { throw InputError(name() + ": " + problem); }

std::optional<JsonPlace> JsonPlace::find(std::string_view key) const {
  const auto found = object().find(key);
  if (found == object().end() || found->is_null()) return std::nullopt;
  return JsonPlace(*found, file_, path_.empty() ? std::string(key) : fmt::format("{}.{}", path_, key));
}

JsonPlace JsonPlace::at(std::string_view key) const {
  auto found = find(key);
  if (!found) refuse(fmt::format("needs a value '{}'", key));
  return std::move(*found);
}

JsonPlace JsonPlace::at(std::size_t index) const {
  return JsonPlace(list().at(index), file_, fmt::format("{}[{}]", path_, index));
}

const nlohmann::json& JsonPlace::object() const {
  if (!value_->is_object()) refuse(fmt::format("must be an object, not {}", value_->type_name()));
  return *value_;
}

const nlohmann::json& JsonPlace::list() const {
  if (!value_->is_array()) refuse(fmt::format("must be a list, not {}", value_->type_name()));
  return *value_;
}

const std::string& JsonPlace::text() const {
  if (!value_->is_string()) refuse(fmt::format("must be text, not {}", value_->type_name()));
  return value_->get_ref<const std::string&>();
}

bool JsonPlace::flag() const {
  if (!value_->is_boolean()) refuse(fmt::format("must be true or false, not {}", value_->type_name()));
  return value_->get<bool>();
}

std::size_t JsonPlace::number(std::size_t max) const {
  if (!value_->is_number_unsigned() || value_->get<std::size_t>() > max) {
    refuse(fmt::format("must be an integer; allowed: 0 .. {}", max));
  }
  return value_->get<std::size_t>();
}

bool JsonPlace::flag(std::string_view key, bool otherwise) const {
  const auto found = find(key);
  return found ? found->flag() : otherwise;
}

void JsonPlace::only(std::initializer_list<std::string_view> keys) const {
  for (const auto& [key, value] : object().items()) {
    if (std::ranges::find(keys, key) == keys.end()) {
      refuse(fmt::format("'{}' is not supported; allowed: {}", key, fmt::join(keys, ", ")));
    }
  }
}

}  // namespace monge::train
