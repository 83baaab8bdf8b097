#include "core/options/yaml_node.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <optional>
#include <sstream>

#include "core/error.h"
#include "core/options/format.h"

namespace monge {
namespace {

YamlNode make_node(YamlNode::Kind kind, const Location& place) {
  YamlNode node;
  node.kind = kind;
  node.place = place;
  return node;
}

// An enum in later versions of yaml-cpp, an enum inside a struct in earlier ones.
using Style = decltype(YAML::EmitterStyle::Default);

/// Builds the tree from the parser's events; an alias becomes a copy of what it stands for.
class Builder : public YAML::EventHandler {
 public:
  /// The document stands at `origin`, under the key path `path`.
  Builder(Location origin, std::string path)
      : origin_(std::move(origin)), path_(std::move(path)), root_(make_node(YamlNode::Kind::null, origin_)) {}

  YamlNode take() { return std::move(root_); }

  /// Nodes of an override all stand at its origin.
  Location place(const YAML::Mark& mark) const {
    if (origin_.is_override() || mark.is_null()) return origin_;
    return {origin_.source, mark.line + 1, mark.column + 1};
  }

  void OnDocumentStart(const YAML::Mark& mark) override {
    if (started_) fail_at(place(mark), "", "a second document, or stray text, starts here; expected one document");
    started_ = true;
  }
  void OnDocumentEnd() override {}

  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    add(make_node(YamlNode::Kind::null, place(mark)), anchor);
  }
  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                const std::string& value) override {
    YamlNode node = make_node(YamlNode::Kind::scalar, place(mark));
    node.text = value;
    node.quoted = tag == "!";
    if (!node.quoted && (value == "~" || value == "null")) node = make_node(YamlNode::Kind::null, node.place);
    add(std::move(node), anchor);
  }
  void OnAlias(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    const auto found = anchors_.find(anchor);
    if (found == anchors_.end()) fail_at(place(mark), path(), "an alias to what contains it");
    // Aliases of aliases can double the document with each line.
    constexpr std::size_t most = 100'000;
    copied_ += found->second.count();
    if (copied_ > most) fail_at(place(mark), path(), fmt::format("aliases stand for more than {} values", most));
    add(found->second, 0);
  }
  void OnSequenceStart(const YAML::Mark& mark, const std::string&, YAML::anchor_t anchor, Style) override {
    open_.push_back({make_node(YamlNode::Kind::list, place(mark)), anchor, {}});
  }
  void OnMapStart(const YAML::Mark& mark, const std::string&, YAML::anchor_t anchor, Style) override {
    open_.push_back({make_node(YamlNode::Kind::map, place(mark)), anchor, {}});
  }
  void OnSequenceEnd() override { close(); }
  void OnMapEnd() override { close(); }

 private:
  /// A list or map whose end has not come yet.
  struct Open {
    YamlNode node;
    YAML::anchor_t anchor;
    std::optional<YamlEntry> entry;  // of a map: key without value
  };

  void close() {
    Open done = std::move(open_.back());
    open_.pop_back();
    merge(done.node);
    add(std::move(done.node), done.anchor);
  }

  /// `<<: *base` or `<<: [*a, *b]`: the keys of those maps, but for the ones that stand here; of several the first.
  void merge(YamlNode& map) const {
    const auto at = std::ranges::find(map.entries, "<<", &YamlEntry::key);
    if (at == map.entries.end()) return;
    YamlNode merged = std::move(at->value);
    map.entries.erase(at);
    if (merged.kind != YamlNode::Kind::list) {
      YamlNode list = make_node(YamlNode::Kind::list, merged.place);
      list.items.push_back(std::move(merged));
      merged = std::move(list);
    }
    for (YamlNode& from : merged.items) {
      if (from.kind != YamlNode::Kind::map) {
        fail_at(from.place, path(), fmt::format("<< takes a map, or a list of maps, got {}", from.found()));
      }
      for (YamlEntry& entry : from.entries) {
        if (map.find_entry(entry.key) == nullptr) map.entries.push_back(std::move(entry));
      }
    }
  }

  void add(YamlNode node, YAML::anchor_t anchor) {
    if (anchor != 0) anchors_[anchor] = node;
    if (open_.empty()) {
      root_ = std::move(node);
      return;
    }
    Open& parent = open_.back();
    if (parent.node.kind == YamlNode::Kind::list) {
      parent.node.items.push_back(std::move(node));
    } else if (!parent.entry) {
      add_key(parent, node);
    } else {
      parent.entry->value = std::move(node);
      parent.node.entries.push_back(std::move(*parent.entry));
      parent.entry.reset();
    }
  }

  void add_key(Open& parent, const YamlNode& key) {
    if (key.kind != YamlNode::Kind::scalar) fail_at(key.place, path(), "a key must be a name");
    const YamlEntry* first = parent.node.find_entry(key.text);
    parent.entry = YamlEntry{key.text, key.place, {}};
    if (first == nullptr) return;
    fail_at(key.place, path(), fmt::format("duplicate key; it was first given at {}", first->place.str()));
  }

  /// Keys and indices from the root to where the parser is.
  std::string path() const {
    std::vector<std::string> keys;
    if (!path_.empty()) keys.push_back(path_);
    for (const Open& open : open_) {
      if (open.node.kind == YamlNode::Kind::list) keys.push_back(std::to_string(open.node.items.size()));
      if (open.entry) keys.push_back(open.entry->key);
    }
    return fmt::format("{}", fmt::join(keys, "."));
  }

  Location origin_;
  std::string path_;
  YamlNode root_;
  bool started_ = false;
  std::vector<Open> open_;
  std::map<YAML::anchor_t, YamlNode> anchors_;
  std::size_t copied_ = 0;  // values that stand for aliases
};

YamlNode parse(std::string_view text, const Location& origin, const std::string& path) {
  Builder builder(origin, path);
  try {
    std::istringstream stream{std::string(text)};
    YAML::Parser parser(stream);
    // The second call finds what follows the document: nothing, or an error.
    if (parser.HandleNextDocument(builder)) parser.HandleNextDocument(builder);
    return builder.take();
  } catch (const YAML::Exception& error) {
    const bool has_tab = text.find("\n\t") != std::string_view::npos;
    fail_at(builder.place(error.mark), path,
            fmt::format("not valid YAML: {}{}", error.msg, has_tab ? " (indent with spaces, not with tabs)" : ""));
  }
}

std::string_view trim(std::string_view text) {
  constexpr std::string_view blank = " \t\n";
  const std::size_t first = text.find_first_not_of(blank);
  if (first == std::string_view::npos) return "";
  return text.substr(first, text.find_last_not_of(blank) - first + 1);
}

}  // namespace

std::string Location::str() const { return is_override() ? source : fmt::format("{}:{}:{}", source, line, column); }

const YamlEntry* YamlNode::find_entry(std::string_view key) const {
  const auto found = std::find_if(entries.begin(), entries.end(), [&](const YamlEntry& e) { return e.key == key; });
  return found == entries.end() ? nullptr : &*found;
}

const YamlNode* YamlNode::find(std::string_view key) const {
  const YamlEntry* entry = find_entry(key);
  return entry == nullptr ? nullptr : &entry->value;
}

std::size_t YamlNode::count() const {
  std::size_t sum = 1;
  for (const YamlNode& item : items) sum += item.count();
  for (const YamlEntry& entry : entries) sum += entry.value.count();
  return sum;
}

std::string YamlNode::found() const {
  switch (kind) {
    case Kind::null: return "nothing";
    case Kind::scalar: return quoted ? fmt::format("the text \"{}\"", text) : fmt::format("'{}'", text);
    case Kind::list: return "a list";
    case Kind::map: return "a map";
  }
  return "?";
}

std::string YamlNode::str() const {
  std::vector<std::string> parts;
  switch (kind) {
    case Kind::null: return "null";
    case Kind::scalar:  // what was written without quotes can be so again, but for what ends a value on one line
      return quoted || text.find_first_of(",[]{}") != std::string::npos ? yaml_text(text) : text;
    case Kind::list:
      for (const YamlNode& item : items) parts.push_back(item.str());
      return yaml_list(parts);
    case Kind::map:
      for (const YamlEntry& entry : entries) {
        parts.push_back(fmt::format("{}: {}", yaml_text(entry.key), entry.value.str()));
      }
      return fmt::format("{{{}}}", fmt::join(parts, ", "));
  }
  return "";
}

void fail_at(const Location& place, const std::string& path, const std::string& problem) {
  if (path.empty()) throw InputError(fmt::format("{}: {}", place.str(), problem));
  throw InputError(fmt::format("{}: {}: {}", place.str(), path, problem));
}

YamlNode parse_yaml(std::string_view text, std::string_view name) {
  return parse(text, {.source = std::string(name), .line = 1, .column = 1}, "");
}

YamlNode parse_yaml_file(const std::string& path) {
  std::error_code ignored;  // what is wrong with the path shows when it is opened
  if (std::filesystem::is_directory(path, ignored)) {
    const std::filesystem::path inside = std::filesystem::path(path) / "config.yaml";  // of a run
    const bool is_run = std::filesystem::exists(inside, ignored);
    throw InputError(fmt::format("{}: this is a directory; expected a YAML file{}", path,
                                 is_run ? fmt::format(", such as {}", inside.string()) : ""));
  }
  std::ifstream file(path, std::ios::binary);
  if (!file) throw InputError(fmt::format("{}: cannot be opened: {}", path, std::strerror(errno)));
  return parse_yaml(std::string(std::istreambuf_iterator<char>(file), {}), path);
}

YamlOverride::YamlOverride(const std::string& text) {
  const Location place{.source = fmt::format("override '{}'", text), .laid_over = true};
  constexpr std::string_view form = "write key.path=value, for example train.steps=100";
  const std::size_t equals = text.find('=');
  if (equals == std::string::npos) fail_at(place, "", fmt::format("there is no '='; {}", form));

  const std::string path(trim(std::string_view(text).substr(0, equals)));
  const std::string_view value = trim(std::string_view(text).substr(equals + 1));
  if (value.empty()) fail_at(place, path, fmt::format("there is no value; {} (empty text: {}='')", form, path));

  const bool is_yaml = std::string_view("[{\"'").find(value.front()) != std::string_view::npos;
  if (is_yaml) {
    root = parse(value, place, path);
  } else {
    root = make_node(YamlNode::Kind::scalar, place);
    root.text = value;
  }

  // Wrap the value from the last key of the path to the first.
  for (std::size_t end = path.size();;) {
    ++depth;
    const std::size_t dot = end == 0 ? std::string::npos : path.rfind('.', end - 1);
    const std::size_t begin = dot == std::string::npos ? 0 : dot + 1;
    if (begin == end) fail_at(place, "", fmt::format("a key of the path is empty; {}", form));
    YamlNode parent = make_node(YamlNode::Kind::map, place);
    parent.entries.push_back({path.substr(begin, end - begin), place, std::move(root)});
    root = std::move(parent);
    if (dot == std::string::npos) break;
    end = dot;
  }
}

}  // namespace monge
