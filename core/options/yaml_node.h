// YamlNode: a parsed piece of YAML that remembers where it was written. Keeps yaml-cpp inside one source file.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace monge {

/// Where something was written: a place in a file, or an override on the command line.
struct Location {
  std::string source;  // file name, or "override 'a.b=1'"
  int line = 0;        // from 1; 0 for an override
  int column = 0;
  bool laid_over = false;  // it replaces what a file says: an override, or a later layer (read_yaml_layers)

  bool is_override() const { return line == 0; }
  std::string str() const;
};

struct YamlEntry;

struct YamlNode {
  enum class Kind { null, scalar, list, map };

  Kind kind = Kind::null;
  Location place;
  std::string text;                // of a scalar
  bool quoted = false;             // a quoted scalar is text, whatever it looks like
  std::vector<YamlNode> items;     // of a list
  std::vector<YamlEntry> entries;  // of a map, in order, without repeated keys

  /// The entry and the value of `key`; null when this is no map or lacks it.
  const YamlEntry* find_entry(std::string_view key) const;
  const YamlNode* find(std::string_view key) const;
  /// Values in this tree, itself included.
  std::size_t count() const;
  /// What it is, for messages: "'abc'", "a list", "nothing".
  std::string found() const;
  /// As YAML on one line: "{lr: 0.1, betas: [0.9, 0.95]}".
  std::string str() const;
};

struct YamlEntry {
  std::string key;
  Location place;
  YamlNode value;
};

/// Throws InputError for `path` at `place`: "file:3:5: model.layers: <problem>".
[[noreturn]] void fail_at(const Location& place, const std::string& path, const std::string& problem);

/// Parses one document. Throws InputError for bad syntax, several documents, repeated keys, keys that are no names,
/// and aliases that lead in a circle or multiply the document beyond reason.
YamlNode parse_yaml(std::string_view text, std::string_view name);
/// The same from a file; also throws for one that cannot be read.
YamlNode parse_yaml_file(const std::string& path);

/// An override "a.b.c=value" as the map {a: {b: {c: value}}}. The value is taken literally, unless it starts with one
/// of [ { " ' and is therefore YAML. Throws InputError when it is not of this form.
struct YamlOverride {
  explicit YamlOverride(const std::string& text);

  YamlNode root;
  std::size_t depth = 0;  // keys in the path
};

}  // namespace monge
