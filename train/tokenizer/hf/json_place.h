// JsonPlace: a value in a JSON file and the way to it, for messages such as
//   tokenizer.json: model.merges[3]: ...
#pragma once

#include <initializer_list>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>

namespace monge::train {

/// Refers to a parsed file that must live longer.
class JsonPlace {
 public:
  JsonPlace(const nlohmann::json& value, std::string file) : value_(&value), file_(std::move(file)) {}

  /// Parses a text. Throws InputError with line and column where it is not JSON, or nested too deep.
  static nlohmann::json parse(std::string_view text, const std::string& file);

  const nlohmann::json& value() const { return *value_; }
  /// "tokenizer.json: model.merges[3]".
  std::string name() const { return path_.empty() ? file_ : file_ + ": " + path_; }
  [[noreturn]] void refuse(const std::string& problem) const;

  /// A member of an object, an element of a list. `find` gives nothing for one that is not there or null.
  JsonPlace at(std::string_view key) const;
  std::optional<JsonPlace> find(std::string_view key) const;
  JsonPlace at(std::size_t index) const;

  /// What it must be; anything else is refused.
  const nlohmann::json& object() const;
  const nlohmann::json& list() const;
  const std::string& text() const;
  bool flag() const;
  std::size_t number(std::size_t max) const;
  bool flag(std::string_view key, bool otherwise) const;
  /// Refuses members with other names: who does not know a key does not know what it changes.
  void only(std::initializer_list<std::string_view> keys) const;

 private:
  JsonPlace(const nlohmann::json& value, std::string file, std::string path)
      : value_(&value), file_(std::move(file)), path_(std::move(path)) {}

  const nlohmann::json* value_;
  std::string file_, path_;
};

}  // namespace monge::train
