// YAML in and out of Options.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "core/options/fields.h"
#include "core/options/yaml_node.h"

namespace monge {

/// Fills `options`, which hold their defaults, from a YAML file.
///
/// `overrides` are "key.path=value" strings, laid over the file. A list element is reached by its index
/// ("optimizer.groups.0.lr=1"). The value is taken literally, unless it starts with one of [ { " ' and is YAML.
/// The last of two overrides of one key wins; a longer path goes on top of a shorter one; otherwise order is free.
///
/// A choice that names another kind than the one held starts from that kind's defaults. When an override does so, what
/// the file says to the replaced kind no longer counts.
///
/// Throws InputError with file, line, column, the key path, what is allowed and a "did you mean" for: a file that is
/// missing, empty or no YAML map, an unknown or repeated key, a wrong type, a value out of range, a missing required
/// key, an override of a key that does not exist. Runs `check()` of every struct, innermost first, and adds the place
/// to what it throws. `options` are in no useful state after an error.
void read_yaml_file(const std::string& path, const std::vector<std::string>& overrides, Options& options);

/// The same from text; `name` stands for the file in messages.
void read_yaml_text(std::string_view text, std::string_view name, const std::vector<std::string>& overrides,
                    Options& options);

/// The same from parsed YAML: the first layer is the file, each later one is laid over those before it as an override
/// is. An error names the place in its layer.
void read_yaml_layers(std::vector<YamlNode> layers, Options& options);

/// Every key with its present value, as YAML that reads back to the same options (numbers keep every bit). Units stand
/// in comments.
std::string write_yaml(Options& options);

/// One documented key, or (type "kind") the heading of the keys of one registered kind.
struct KeyDescription {
  std::string path;           // "model.mlp.ratio"; "optimizer.groups.N.lr" in a list of maps
  std::string type;           // "integer", "number", "boolean", "text", "list of numbers", "list of texts", "map",
                              // "list of maps", "YAML", "choice", "kind"
  std::string default_value;  // as YAML; empty when the key is required; of a kind, its name
  std::string unit;
  std::string range;  // "> 0", "0 .. 1", "a | b | c"
  std::string doc;
  std::string only_for;  // "mlp kind gelu" for keys of one registered kind
};

/// All keys in reading order, those of every registered kind included; the kind held shows the values held.
std::vector<KeyDescription> describe(Options& options);

}  // namespace monge
