// docs/config.md from the schema.
#include <fmt/format.h>

#include <algorithm>
#include <cctype>

#include "core/options/yaml.h"
#include "train/config/config.h"

namespace monge::train {
namespace {

/// The keys of one map, or of one registered kind.
struct Section {
  std::string path;
  std::string only_for;
  std::string heading;
  std::string doc;
  std::string rows;
};

std::string escape(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c == '|') out += '\\';
    out += c;
  }
  return out;
}

std::string code(std::string_view text) { return text.empty() ? "" : fmt::format("`{}`", escape(text)); }

/// With a capital letter and a full stop.
std::string sentence(std::string text) {
  if (text.empty()) return text;
  text.front() = static_cast<char>(std::toupper(static_cast<unsigned char>(text.front())));
  return text + ".";
}

std::string row_of(const KeyDescription& key) {
  const bool is_map = key.type == "map";
  const std::string default_value = is_map ? "" : key.default_value.empty() ? "required" : code(key.default_value);
  return fmt::format("| {} | {} | {} | {} | {} | {} |\n", code(key.path), key.type, default_value, escape(key.unit),
                     escape(key.range), escape(key.doc));
}

class Reference {
 public:
  Reference() { sections_.push_back({"", "", "## Top level", "", ""}); }

  void add(const KeyDescription& key) {
    if (key.type == "kind") {
      open(key.path, key.only_for, fmt::format("### `{}`: {}", key.path, key.only_for), key.doc);
      return;
    }
    const std::size_t dot = key.path.rfind('.');
    section(dot == std::string::npos ? "" : key.path.substr(0, dot), key.only_for).rows += row_of(key);
    if (key.type == "map") open(key.path, key.only_for, fmt::format("## `{}`", key.path), key.doc);
    if (key.type == "list of maps") {
      open(key.path + ".N", key.only_for, fmt::format("### `{}.N`", key.path), key.doc + "; N counts from 0");
    }
  }

  std::string markdown() const {
    std::string out;
    for (const Section& s : sections_) {
      out += fmt::format("\n{}\n\n", s.heading);
      if (!s.doc.empty()) out += fmt::format("{}\n\n", sentence(s.doc));
      if (s.rows.empty()) {
        out += "No keys of its own.\n";
      } else {
        out += "| key | type | default | unit | allowed | meaning |\n|---|---|---|---|---|---|\n" + s.rows;
      }
    }
    return out;
  }

 private:
  void open(const std::string& path, const std::string& only_for, std::string heading, std::string doc) {
    sections_.push_back({path, only_for, std::move(heading), std::move(doc), ""});
  }

  Section& section(const std::string& path, const std::string& only_for) {
    return *std::find_if(sections_.begin(), sections_.end(),
                         [&](const Section& s) { return s.path == path && s.only_for == only_for; });
  }

  std::vector<Section> sections_;
};

constexpr std::string_view introduction = R"(# Configuration

Every key that a YAML file or an override `key.path=value` can set. Only `data` is required. An unknown key, a wrong
type or a value out of range is an error that names file, line, column and what is allowed.

```
monge train configs/quickstart.yaml model.layers=2 model.mlp=swiglu optimizer.schedule.warmup=50
```

- The value of an override is taken literally, unless it starts with one of `[ { " '` and is YAML: `data.path=[a, b]`.
- An element of a list is reached by its index, from 0: `optimizer.groups.0.weight_decay=0`.
- The last of two overrides of one key wins; a longer path goes on top of a shorter one; otherwise their order is free.
- A choice is a name (`mlp: gelu`) or a map (`mlp: {kind: gelu, ratio: 4}`) with the keys of that kind. The key that
  chooses is `kind`, but `name` in `optimizer` and `update` in `optimizer.attention`. An override
  that selects another kind leaves what the file said to the old one behind.

The run's folder keeps the resolved configuration, defaults included, as `config.yaml`.

This page is made from the source and checked by a test: `MONGE_UPDATE_DOCS=1 ctest -R config_reference` rewrites it.
)";

}  // namespace

std::string config_reference_markdown() {
  Config config;
  Reference reference;
  for (const KeyDescription& key : describe(config)) reference.add(key);
  return std::string(introduction) + reference.markdown();
}

}  // namespace monge::train
