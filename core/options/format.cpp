#include "core/options/format.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cctype>
#include <cmath>

#include "core/error.h"

namespace monge {
namespace {

// Words that YAML 1.1 or 1.2 readers take for a boolean, nothing, or a number.
bool is_reserved(std::string_view value) {
  static constexpr std::string_view words[] = {"true", "false", "yes", "no", "on", "off", "null", "y", "n"};
  return std::any_of(std::begin(words), std::end(words), [&](std::string_view word) {
    return std::equal(word.begin(), word.end(), value.begin(), value.end(),
                      [](char a, char b) { return a == std::tolower(static_cast<unsigned char>(b)); });
  });
}

bool is_plain(std::string_view value) {
  if (value.empty() || is_reserved(value)) return false;
  const auto first = static_cast<unsigned char>(value.front());
  if (!std::isalpha(first) && first != '_' && first != '/') return false;
  return std::all_of(value.begin(), value.end(), [](unsigned char c) {
    return std::isalnum(c) || c == '_' || c == '/' || c == '.' || c == '-' || c == '+';
  });
}

}  // namespace

std::string yaml_number(double value) {
  require(std::isfinite(value), "options hold finite numbers only, got {}", value);
  std::string out = fmt::format("{}", value);
  if (out.find('.') == std::string::npos) {
    const std::size_t exponent = out.find('e');
    out.insert(exponent == std::string::npos ? out.size() : exponent, ".0");
  }
  return out;
}

std::string yaml_text(std::string_view value) {
  if (is_plain(value)) return std::string(value);
  std::string out = "\"";
  for (const char c : value) {
    switch (c) {
      case '"': out += "\\\""; break;
      case '\\': out += "\\\\"; break;
      case '\n': out += "\\n"; break;
      case '\t': out += "\\t"; break;
      default: {
        const auto byte = static_cast<unsigned char>(c);
        if (byte < 0x20 || byte == 0x7f) {
          out += fmt::format("\\x{:02x}", byte);
        } else {
          out += c;
        }
      }
    }
  }
  return out + '"';
}

std::string yaml_list(const std::vector<std::string>& items) { return fmt::format("[{}]", fmt::join(items, ", ")); }

std::string yaml_numbers(const std::vector<double>& values) {
  std::vector<std::string> items;
  for (const double value : values) items.push_back(yaml_number(value));
  return yaml_list(items);
}

std::string yaml_texts(const std::vector<std::string>& values) {
  std::vector<std::string> items;
  for (const std::string& value : values) items.push_back(yaml_text(value));
  return yaml_list(items);
}

std::string range_text(const Field& field) {
  if (!field.choices.empty()) {
    std::vector<std::string> choices;
    for (const std::string_view choice : field.choices) choices.push_back(yaml_text(choice));
    return fmt::format("{}", fmt::join(choices, " | "));
  }
  // These limits bound nothing that a person means.
  const bool below = field.max<largest_integer, above = field.min> - largest_integer;
  if (above && below && !field.exclusive_min) return fmt::format("{} .. {}", field.min, field.max);
  if (above && below) return fmt::format("> {} and <= {}", field.min, field.max);
  if (above) return fmt::format("{} {}", field.exclusive_min ? ">" : ">=", field.min);
  if (below) return fmt::format("<= {}", field.max);
  return "";
}

}  // namespace monge
