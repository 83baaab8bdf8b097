#include "tools/program/key_help.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <utility>
#include <vector>

#include "core/error.h"
#include "core/options/yaml.h"
#include "train/console/progress.h"

namespace monge::tools {
namespace {

using Keys = std::vector<KeyDescription>;

/// The map that a key stands in: "model" of "model.width", "" of "model".
std::string section_of(const std::string& path) {
  const std::size_t dot = path.rfind('.');
  return dot == std::string::npos ? "" : path.substr(0, dot);
}

/// "optimizer.chain.ema" of "optimizer.chain.N.ema": a topic names no element of a list.
std::string topic_of(std::string path) {
  for (std::size_t at; (at = path.find(".N.")) != std::string::npos;) path.erase(at, 2);
  return path.ends_with(".N") ? path.substr(0, path.size() - 2) : path;
}

/// A line that is indented by `indent`, and more where it goes on.
std::string line(std::size_t indent, const std::string& text) {
  return train::wrapped(std::string(indent, ' ') + text, indent + 4) + "\n";
}

std::string key_text(const KeyDescription& key) {
  std::string text = fmt::format("  {} ({})", key.path, key.type);
  if (!key.default_value.empty()) text += fmt::format(" = {}", key.default_value);
  if (!key.unit.empty()) text += fmt::format(" [{}]", key.unit);
  return text + "\n" + line(6, key.doc + (key.range.empty() ? "" : "; " + key.range));
}

/// Whether there are keys or kinds below a key.
bool has_more(const Keys& keys, const KeyDescription& key) {
  const std::string inside = key.path + (key.type == "list of maps" ? ".N" : "");
  return std::ranges::any_of(keys, [&](const KeyDescription& other) {
    return other.type == "kind" ? other.path == inside : section_of(other.path) == inside;
  });
}

/// The keys of the map at `path`, of a kind where `only_for` names one, and the kinds that can be chosen there.
std::string section_text(const Keys& keys, const std::string& path, const std::string& only_for) {
  std::string text, kinds, only_kind;
  std::size_t count = 0;
  for (const KeyDescription& key : keys) {
    const bool kind = key.type == "kind";
    if (kind && key.path == path && (only_for.empty() || key.only_for.starts_with(only_for + ", "))) {
      const std::string inner = only_for.empty() ? key.only_for : key.only_for.substr(only_for.size() + 2);
      if (inner.find(", ") != std::string::npos) continue;  // of a choice further inside
      kinds += line(2, fmt::format("{}.{}: {}", topic_of(path), key.default_value, key.doc));
      only_kind = key.only_for;
      ++count;
    } else if (!kind && section_of(key.path) == path && key.only_for == only_for) {
      text += key_text(key);
      if (has_more(keys, key)) text += line(6, fmt::format("--help {} says more", topic_of(key.path)));
    }
  }
  if (count == 1) return text + kinds + section_text(keys, path, only_kind);
  if (count > 1) text += "Kinds, each with --help of its own:\n" + kinds;
  return text;
}

/// What is known of a topic; empty where it is none.
std::string topic_text(const Keys& keys, const std::string& topic) {
  for (const KeyDescription& key : keys) {  // "optimizer.muon", "muon"
    if (key.type != "kind" || (topic != key.default_value && topic != topic_of(key.path) + "." + key.default_value))
      continue;
    const std::string text = section_text(keys, key.path, key.only_for);
    return line(0, fmt::format("{}.{}: {}", topic_of(key.path), key.default_value, key.doc)) +
           (text.empty() ? "  no keys of its own\n" : text);
  }
  for (const KeyDescription& key : keys) {
    if (key.type == "kind" || topic_of(key.path) != topic) continue;
    // The keys of a list's elements are those of "groups.N".
    const std::string inside = key.type == "list of maps" ? topic + ".N" : topic;
    return key_text(key) + section_text(keys, inside, key.only_for);
  }
  return "";
}

std::string overview(const Keys& keys, const std::string& whose) {
  std::string text = line(
      0,
      fmt::format("Keys of {}; --help SECTION shows those of a section, --help SECTION.KIND those of a kind:", whose));
  for (const KeyDescription& key : keys) {
    if (key.type != "kind" && section_of(key.path).empty()) text += key_text(key);
  }
  return text;
}

/// What was asked for, or nothing: then the whole help is shown. Throws InputError for a word that is no topic and
/// could be neither a file nor an override.
std::string answer(const Keys& keys, const std::string& topic) {
  if (topic.empty()) return "";
  const std::string text = topic_text(keys, topic);
  if (!text.empty() || topic.find('=') != std::string::npos || std::filesystem::exists(topic)) return text;
  std::string sections;
  for (const KeyDescription& key : keys) {
    if (key.type != "kind" && section_of(key.path).empty()) {
      sections += fmt::format("{}{}", sections.empty() ? "" : ", ", key.path);
    }
  }
  throw InputError(
      fmt::format("--help: there is no key or kind '{}'; sections: {}; --help SECTION names the keys and "
                  "kinds of one",
                  topic, sections));
}

}  // namespace

void add_key_help(Command& command, const std::string& whose, std::function<std::unique_ptr<Options>()> options,
                  std::function<std::string()> topic) {
  command.footer([whose, options] { return overview(describe(*options()), whose); });
  command.help_on([options, topic = std::move(topic)] { return answer(describe(*options()), topic()); });
}

}  // namespace monge::tools
