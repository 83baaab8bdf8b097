// One YAML scalar as a typed value. Each function throws InputError, with the place and `path`, for a wrong type and
// for a value that `field` does not allow.
#pragma once

#include <cstdint>
#include <string>

#include "core/options/fields.h"
#include "core/options/yaml_node.h"

namespace monge {

/// "1e3" counts as an integer, "1.5" does not.
std::int64_t integer_of(const YamlNode& node, const std::string& path, const Field& field);
/// Finite numbers only.
double number_of(const YamlNode& node, const std::string& path, const Field& field,
                 std::string_view expected = "a number");
bool boolean_of(const YamlNode& node, const std::string& path);
/// Any scalar but null.
std::string text_of(const YamlNode& node, const std::string& path, const Field& field);

}  // namespace monge
