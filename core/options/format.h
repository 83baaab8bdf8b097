// How values and ranges read as text: shared by the writer, the describer and error messages.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "core/options/fields.h"

namespace monge {

/// The shortest text that reads back to the same double, always with a decimal point: "4.0", "1.0e-05".
/// Throws std::invalid_argument for NaN and infinities, which options never hold.
std::string yaml_number(double value);

/// The string as a YAML scalar, quoted when it would read as something else.
std::string yaml_text(std::string_view value);

/// "[a, b]" of texts that are YAML already.
std::string yaml_list(const std::vector<std::string>& items);
std::string yaml_numbers(const std::vector<double>& values);
std::string yaml_texts(const std::vector<std::string>& values);

/// What a key allows: ">= 1", "> 0", "0 .. 1", "a | b | c"; "" when anything goes.
std::string range_text(const Field& field);

}  // namespace monge
