// Reads options in layers: the file first, then each override as a small map of its own. Options hold their defaults
// until a layer says otherwise, so one pass over the fields handles defaults, file and command line alike.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <utility>

#include "core/error.h"
#include "core/options/registry.h"
#include "core/options/suggest.h"
#include "core/options/yaml.h"
#include "core/options/yaml_node.h"
#include "core/options/yaml_scalar.h"

namespace monge {
namespace {

/// The same place of the schema in the file and in each override; the last one counts.
using Layers = std::vector<const YamlNode*>;

/// Reads the keys of one section.
class Reader : public Fields {
 public:
  /// Fills `options` from the maps `layers`, found under `path`. `kind_key` is a legal key that the caller has read.
  /// `parent` is the place to name when no layer has the section. A section is `judged` (required keys, check()) unless
  /// it belongs to a kind that an override replaces.
  static void read(Options& options, const std::string& path, const Location& parent, const Layers& layers, bool judged,
                   std::string_view kind_key = "") {
    for (const YamlNode* layer : layers) {
      // A section whose keys are all commented out is null: it keeps its defaults.
      if (layer->kind == YamlNode::Kind::map || layer->kind == YamlNode::Kind::null) continue;
      fail_at(layer->place, path,
              fmt::format("expected a map, got {}; its keys: {}", layer->found(), keys_of(options)));
    }
    Reader reader(path, layers.empty() ? parent : layers.front()->place, layers, judged);
    if (!kind_key.empty()) reader.know(kind_key);
    options.fields(reader);
    reader.refuse_unknown_keys();
    reader.check(options);
  }

 protected:
  void integer(std::string_view key, std::int64_t& value, const Field& field) override {
    for (const YamlNode* node : given(key, field)) value = integer_of(*node, path_of(key), field);
  }
  void number(std::string_view key, double& value, const Field& field) override {
    for (const YamlNode* node : given(key, field)) value = number_of(*node, path_of(key), field);
  }
  void boolean(std::string_view key, bool& value, const Field& field) override {
    for (const YamlNode* node : given(key, field)) value = boolean_of(*node, path_of(key));
  }
  void text(std::string_view key, std::string& value, const Field& field) override {
    for (const YamlNode* node : given(key, field)) value = text_of(*node, path_of(key), field);
  }

  void numbers(std::string_view key, std::vector<double>& value, const Field& field) override {
    for (const YamlNode* node : given(key, field)) {
      if (node->kind == YamlNode::Kind::scalar) {
        value = {number_of(*node, path_of(key), field, "a number or a list of them like [1, 2]")};
        continue;
      }
      elements(
          key, *node, "a number or a list of numbers", value.size(), [&](std::size_t n) { value.assign(n, 0.0); },
          [&](std::size_t i, const YamlNode& item, const std::string& path) {
            value[i] = number_of(item, path, field);
          });
    }
  }

  void texts(std::string_view key, std::vector<std::string>& value, const Field& field) override {
    for (const YamlNode* node : given(key, field)) {
      if (node->kind == YamlNode::Kind::scalar) {
        value = {text_of(*node, path_of(key), field)};
        continue;
      }
      elements(
          key, *node, "text or a list of texts", value.size(), [&](std::size_t n) { value.assign(n, ""); },
          [&](std::size_t i, const YamlNode& item, const std::string& path) { value[i] = text_of(item, path, field); });
    }
  }

  void nested(std::string_view key, Options& value, const Field& field) override {
    read(value, path_of(key), place_, given(key, field), judged_);
  }

  void free_form(std::string_view key, YamlNode& value, const Field& field) override {
    for (const YamlNode* node : given(key, field)) put(*node, value);
  }

  void list(std::string_view key, std::size_t size, const Field& field, Options&&,
            const std::function<void(std::size_t)>& resize, const std::function<Options&(std::size_t)>& at) override {
    std::vector<Layers> layers(size);
    for (const YamlNode* node : given(key, field)) {
      elements(
          key, *node, "a list of maps", layers.size(),
          [&](std::size_t n) {
            resize(0);  // a new list starts from the defaults of an element, not from the elements held
            resize(n);
            layers.assign(n, {});
          },
          [&](std::size_t i, const YamlNode& item, const std::string&) { layers[i].push_back(&item); });
    }
    for (std::size_t i = 0; i < layers.size(); ++i) {
      read(at(i), fmt::format("{}.{}", path_of(key), i), place_, layers[i], judged_);
    }
  }

  void choice(std::string_view key, Choice& value, const RegistryBase& registry, const Field& field,
              std::string_view kind_key) override {
    const std::string path = path_of(key);
    const std::vector<std::string> names = registry.names();
    const Field named = with_choices(field, names);
    Layers layers = given(key, named);
    if (field.section) std::erase_if(layers, [](const YamlNode* layer) { return layer->kind == YamlNode::Kind::null; });
    std::vector<Naming> namings;
    for (const YamlNode* layer : layers) {
      const bool is_map = layer->kind == YamlNode::Kind::map;
      namings.push_back(
          {layer->place, is_map ? layer->find(kind_key) : layer, is_map ? fmt::format("{}.{}", path, kind_key) : path});
    }
    const std::vector<std::string> kinds = select(value, registry, namings);
    Layers chosen;
    for (std::size_t i = 0; i < layers.size(); ++i) {
      if (layers[i]->kind != YamlNode::Kind::map) continue;  // `mlp: gelu` has named its kind and says no more
      if (kinds[i] == value.kind) {
        chosen.push_back(layers[i]);
      } else {
        read(*registry.defaults(kinds[i]), path, place_, {layers[i]}, false, kind_key);
      }
    }
    if (value.options != nullptr) {
      read(*value.options, path, place_, chosen, judged_, kind_key);
    } else if (!layers.empty() && judged_) {
      fail_at(layers.front()->place, fmt::format("{}.{}", path, kind_key), missing(named));
    }
  }

  void inline_choice(Choice& value, const RegistryBase& registry, const Field& field,
                     std::string_view kind_key) override {
    know(kind_key);
    const std::vector<std::string> names = registry.names();
    const Field named = with_choices(field, names);
    std::vector<Naming> namings;
    for (const Section* section : sections_) {
      namings.push_back({section->map->place, section->map->find(kind_key), path_of(kind_key)});
    }
    const std::vector<std::string> kinds = select(value, registry, namings);
    if (value.kind.empty()) {
      if (field.required && judged_) fail_at(place_, path_of(kind_key), missing(named));
      return;
    }
    const std::vector<Section*> all = sections_;
    std::vector<Section*> chosen;
    for (std::size_t i = 0; i < all.size(); ++i) {
      if (kinds[i] == value.kind) {
        chosen.push_back(all[i]);
      } else {
        sections_ = {all[i]};
        const bool judged = std::exchange(judged_, false);
        registry.defaults(kinds[i])->fields(*this);
        judged_ = judged;
      }
    }
    sections_ = chosen;
    value.options->fields(*this);
    to_check_.push_back(value.options.get());
    sections_ = all;
  }

 private:
  /// One layer's map of this section, and the keys that the schema has for it.
  struct Section {
    const YamlNode* map;
    std::vector<std::string> known;
  };

  /// How one layer names the kind of a choice.
  struct Naming {
    Location place;        // of the layer
    const YamlNode* kind;  // null when it does not say
    std::string path;      // of `kind`
  };

  Reader(std::string path, Location place, const Layers& layers, bool judged)
      : path_(std::move(path)), place_(std::move(place)), judged_(judged) {
    storage_.reserve(layers.size());
    for (const YamlNode* layer : layers) sections_.push_back(&storage_.emplace_back(Section{layer, {}}));
  }

  std::string path_of(std::string_view key) const {
    return path_.empty() ? std::string(key) : fmt::format("{}.{}", path_, key);
  }

  static std::string list_of(const std::vector<std::string>& words) {
    return words.empty() ? "none" : fmt::format("{}", fmt::join(words, ", "));
  }

  /// What would be known if an empty map were read.
  static std::string keys_of(Options& options) {
    const YamlNode nothing;
    Reader reader("", nothing.place, {&nothing}, false);
    options.fields(reader);
    return list_of(reader.storage_.front().known);
  }

  void know(std::string_view key) {
    for (Section* section : sections_) section->known.emplace_back(key);
  }

  /// What each layer says of `key`.
  Layers given(std::string_view key, const Field& field) {
    know(key);
    Layers found;
    for (const Section* section : sections_) {
      if (const YamlNode* node = section->map->find(key)) found.push_back(node);
    }
    if (found.empty() && field.required && judged_ && missing_.empty()) {
      missing_ = path_of(key);
      missing_problem_ = missing(field);
    }
    return found;
  }

  /// `names` outlive the field.
  static Field with_choices(Field field, const std::vector<std::string>& names) {
    field.choices.assign(names.begin(), names.end());
    return field;
  }

  static std::string missing(const Field& field) {
    std::string out = "this key is required and missing";
    if (!field.doc.empty()) out += fmt::format(" ({})", field.doc);
    if (!field.choices.empty()) out += fmt::format("; allowed: {}", fmt::join(field.choices, ", "));
    return out;
  }

  /// Visits the elements that `node` gives: all of them in a list, some of them when an override reaches one by its
  /// index.
  void elements(std::string_view key, const YamlNode& node, std::string_view expected, std::size_t size,
                const std::function<void(std::size_t)>& replace,
                const std::function<void(std::size_t, const YamlNode&, const std::string&)>& element) const {
    const std::string path = path_of(key);
    if (node.kind == YamlNode::Kind::list) {
      replace(node.items.size());
      for (std::size_t i = 0; i < node.items.size(); ++i) element(i, node.items[i], fmt::format("{}.{}", path, i));
      return;
    }
    if (node.kind != YamlNode::Kind::map || !node.place.laid_over) {
      fail_at(node.place, path, fmt::format("expected {}, got {}", expected, node.found()));
    }
    for (const YamlEntry& entry : node.entries) {
      std::size_t index = 0;
      const char* end = entry.key.data() + entry.key.size();
      const auto [rest, error] = std::from_chars(entry.key.data(), end, index);
      if (error != std::errc{} || rest != end || index >= size) {
        fail_at(node.place, path,
                fmt::format("'{}' is no index of this list; its length is {}, the first index 0", entry.key, size));
      }
      element(index, entry.value, fmt::format("{}.{}", path, entry.key));
    }
  }

  /// Makes `value` the kind that the last layer names, with that kind's defaults if it held another. Returns the kind
  /// of each layer: the one it names, else the one held before (the file) or chosen now (an override).
  static std::vector<std::string> select(Choice& value, const RegistryBase& registry,
                                         const std::vector<Naming>& layers) {
    std::string chosen = value.kind;
    for (const Naming& layer : layers) {
      if (layer.kind != nullptr) chosen = registered(layer, registry);
    }
    std::vector<std::string> kinds;
    for (const Naming& layer : layers) {
      const bool follows = layer.place.laid_over || value.kind.empty();
      kinds.push_back(layer.kind != nullptr ? layer.kind->text : follows ? chosen : value.kind);
    }
    if (chosen != value.kind) value = registry.choose(chosen);
    return kinds;
  }

  static const std::string& registered(const Naming& layer, const RegistryBase& registry) {
    const YamlNode& kind = *layer.kind;
    const std::vector<std::string> names = registry.names();
    if (kind.kind != YamlNode::Kind::scalar) {
      fail_at(kind.place, layer.path,
              fmt::format("expected the name of a kind of {}, got {}; allowed: {}", registry.what(), kind.found(),
                          fmt::join(names, ", ")));
    }
    if (!registry.has(kind.text)) {
      fail_at(kind.place, layer.path,
              fmt::format("unknown {} '{}'; allowed: {}{}", registry.what(), kind.text, fmt::join(names, ", "),
                          did_you_mean(kind.text, names)));
    }
    return kind.text;
  }

  /// Lays a free-form value over the one held: an override of a key inside a map leaves the other keys.
  static void put(const YamlNode& node, YamlNode& value) {
    const bool within = node.place.laid_over && node.kind == YamlNode::Kind::map && value.kind == node.kind;
    if (!within) {
      value = node;
      return;
    }
    for (const YamlEntry& entry : node.entries) {
      const auto held = std::ranges::find(value.entries, entry.key, &YamlEntry::key);
      if (held == value.entries.end()) {
        value.entries.push_back(entry);
      } else {
        put(entry.value, held->value);
      }
    }
  }

  void refuse_unknown_keys() const {
    for (const Section& section : storage_) {
      for (const YamlEntry& entry : section.map->entries) {
        if (std::find(section.known.begin(), section.known.end(), entry.key) != section.known.end()) continue;
        fail_at(entry.place, path_of(entry.key),
                fmt::format("unknown key; allowed: {}{}", list_of(section.known),
                            did_you_mean_key(entry.key, section.known)));
      }
    }
  }

  /// Where the last layer has a key of this section ("mlp.ratio"), or as much of its path as is there.
  Location place_of(std::string_view key) const {
    Location place = place_;
    std::size_t deepest = 0;
    for (const Section& section : storage_) {
      const YamlNode* node = section.map;
      std::size_t begin = 0, depth = 0;
      while (begin < key.size()) {
        const std::size_t end = std::min(key.find('.', begin), key.size());
        const YamlEntry* entry = node->find_entry(key.substr(begin, end - begin));
        if (entry == nullptr) break;
        node = &entry->value;
        begin = end + 1;
        if (++depth >= deepest) {
          deepest = depth;
          place = entry->place;
        }
      }
    }
    return place;
  }

  /// The last override that the message speaks of ("model.heads (3) must divide ..."), else the section.
  Location place_of_problem(std::string_view message) const {
    Location place = place_;
    for (const Section& section : storage_) {
      for (const YamlEntry& entry : section.map->entries) {
        if (entry.place.laid_over && message.find(path_of(entry.key)) != std::string_view::npos) place = entry.place;
      }
    }
    return place;
  }

  void check(const Options& options) {
    if (!judged_) return;
    if (!missing_.empty()) fail_at(place_, missing_, missing_problem_);
    to_check_.push_back(&options);
    for (const Options* checked : to_check_) {
      try {
        checked->check();
      } catch (const KeyError& error) {
        fail_at(place_of(error.key()), path_of(error.key()), error.what());
      } catch (const InputError& error) {
        fail_at(place_of_problem(error.what()), path_, error.what());
      }
    }
  }

  std::string path_;
  Location place_;
  bool judged_;
  std::vector<Section> storage_;
  std::vector<Section*> sections_;  // those that the fields now visited belong to
  std::string missing_;             // the first required key that no layer gives
  std::string missing_problem_;
  std::vector<const Options*> to_check_;  // the section's, those of its inline choices first
};

void lay_over(YamlNode& node) {
  node.place.laid_over = true;
  for (YamlNode& item : node.items) lay_over(item);
  for (YamlEntry& entry : node.entries) {
    entry.place.laid_over = true;
    lay_over(entry.value);
  }
}

void read(const YamlNode& file, const std::vector<std::string>& overrides, Options& options) {
  std::vector<YamlOverride> parsed(overrides.begin(), overrides.end());
  std::stable_sort(parsed.begin(), parsed.end(),
                   [](const YamlOverride& a, const YamlOverride& b) { return a.depth < b.depth; });
  std::vector<YamlNode> layers{file};
  for (YamlOverride& override : parsed) layers.push_back(std::move(override.root));
  read_yaml_layers(std::move(layers), options);
}

}  // namespace

void read_yaml_file(const std::string& path, const std::vector<std::string>& overrides, Options& options) {
  read(parse_yaml_file(path), overrides, options);
}

void read_yaml_text(std::string_view text, std::string_view name, const std::vector<std::string>& overrides,
                    Options& options) {
  read(parse_yaml(text, name), overrides, options);
}

void read_yaml_layers(std::vector<YamlNode> layers, Options& options) {
  const YamlNode& file = layers.at(0);
  if (file.kind == YamlNode::Kind::null) throw InputError(fmt::format("{}: the file is empty", file.place.source));
  std::for_each(layers.begin() + 1, layers.end(), lay_over);
  Layers all;
  for (const YamlNode& layer : layers) all.push_back(&layer);
  Reader::read(options, "", file.place, all, true);
}

}  // namespace monge
