#include "core/options/yaml_scalar.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <optional>

#include "core/options/format.h"
#include "core/options/suggest.h"

namespace monge {
namespace {

[[noreturn]] void wrong_type(const YamlNode& node, const std::string& path, std::string_view expected) {
  fail_at(node.place, path, fmt::format("expected {}, got {}", expected, node.found()));
}

/// The whole of a plain scalar as a T; nothing when it is not one or does not fit.
template <class T>
std::optional<T> parse(const YamlNode& node) {
  if (node.kind != YamlNode::Kind::scalar || node.quoted) return std::nullopt;
  const char* begin = node.text.data();
  const char* end = begin + node.text.size();
  if (end - begin > 1 && *begin == '+' && begin[1] != '-') ++begin;  // from_chars knows no plus sign
  T value{};
  const auto [rest, error] = std::from_chars(begin, end, value);
  if (error != std::errc{} || rest != end) return std::nullopt;
  return value;
}

void check_range(double value, const YamlNode& node, const std::string& path, const Field& field) {
  const bool low = field.exclusive_min ? value <= field.min : value < field.min;
  if (!low && value <= field.max) return;
  const std::string unit = field.unit.empty() ? "" : fmt::format(" {}", field.unit);
  const bool beyond_reason = value > field.max && field.max >= largest_integer;  // a limit that range_text leaves out
  const std::string allowed = beyond_reason ? fmt::format("<= {}", field.max) : range_text(field);
  fail_at(node.place, path, fmt::format("{} is out of range; allowed: {}{}", node.text, allowed, unit));
}

}  // namespace

std::int64_t integer_of(const YamlNode& node, const std::string& path, const Field& field) {
  std::optional<std::int64_t> value = parse<std::int64_t>(node);
  if (!value) {
    // Beyond 2^53 a double no longer tells neighbouring integers apart.
    const std::optional<double> real = parse<double>(node);
    const bool whole = real && std::trunc(*real) == *real;
    if (whole && std::abs(*real) <= 0x1p53) value = static_cast<std::int64_t>(*real);
    if (whole && !value) check_range(*real, node, path, field);
  }
  if (!value) wrong_type(node, path, "an integer");
  check_range(static_cast<double>(*value), node, path, field);
  return *value;
}

double number_of(const YamlNode& node, const std::string& path, const Field& field, std::string_view expected) {
  const std::optional<double> value = parse<double>(node);
  if (!value) wrong_type(node, path, expected);
  if (!std::isfinite(*value)) wrong_type(node, path, "a finite number");
  check_range(*value, node, path, field);
  return *value;
}

bool boolean_of(const YamlNode& node, const std::string& path) {
  if (node.kind == YamlNode::Kind::scalar && !node.quoted) {
    if (node.text == "true") return true;
    if (node.text == "false") return false;
  }
  wrong_type(node, path, "true or false");
}

std::string text_of(const YamlNode& node, const std::string& path, const Field& field) {
  if (node.kind != YamlNode::Kind::scalar) wrong_type(node, path, "text");
  const std::vector<std::string> choices(field.choices.begin(), field.choices.end());
  if (!choices.empty() && std::find(choices.begin(), choices.end(), node.text) == choices.end()) {
    fail_at(node.place, path,
            fmt::format("{} is not a choice; allowed: {}{}", node.found(), range_text(field),
                        did_you_mean(node.text, choices)));
  }
  return node.text;
}

}  // namespace monge
