// JSON text in and out, through nlohmann-json. Its parser and its writer are compiled in one file, since they cost each
// file that calls them seconds; <nlohmann/json.hpp> is for files that build or look into a value.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

namespace monge {

/// Objects keep their keys in the order in which they were given.
using Json = nlohmann::ordered_json;

/// The value that the text describes; one that `is_discarded()` where the text is not JSON.
Json parse_json(std::string_view text);

/// On one line, or with `indent` spaces for each level. A byte of a text that is not UTF-8, as a file name may hold,
/// becomes one of the last private characters of Unicode, U+10FF80 and on, and the byte again in parse_json.
std::string json_text(const Json& value, int indent = -1);

}  // namespace monge
