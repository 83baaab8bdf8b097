// Options: structs that are read from YAML, written back and documented by one function.
//
//   struct MlpOptions : Options {
//     double ratio = 4.0;
//     void fields(Fields& f) override { f("ratio", ratio, {.doc = "hidden width", .unit = "x width", .min = 1.0}); }
//   };
//
// `fields` names every key once; what visits it decides what happens: a reader fills the members and refuses unknown
// keys, a writer emits the resolved YAML, a describer lists key, type, default, unit and range for --help and docs.
#pragma once

#include <algorithm>
#include <concepts>
#include <cstdint>
#include <functional>
#include <limits>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace monge {

class Fields;
struct YamlNode;

struct Options {
  virtual ~Options() = default;
  virtual void fields(Fields& f) = 0;
  /// Checks what one range cannot say (for example heads dividing width); throws InputError that names the keys, or
  /// KeyError at one of them.
  virtual void check() const {}
};

/// The most that an integer may be unless its key says otherwise: products of a few such numbers can be counted.
inline constexpr double largest_integer = 1e9;
/// For numbers that only name something, like seeds.
inline constexpr double any_integer = 0x1p63;

/// What is said of one key, besides its name and member.
struct Field {
  std::string_view doc = {};
  std::string_view unit = {};
  double min = -std::numeric_limits<double>::infinity();
  double max = std::numeric_limits<double>::infinity();
  bool exclusive_min = false;                  // the value must be greater than min, not equal
  std::vector<std::string_view> choices = {};  // legal values of a string; empty: any
  bool required = false;                       // the key has no usable default
  bool section = false;                        // a choice that stands for a section: nothing is its default kind
};

class RegistryBase;

/// A named member of a registry with its options: in YAML either `mlp: gelu` or `mlp: {kind: gelu, ratio: 4}`.
/// The options of the registered kind are its keys beside the kind key. Copies share them.
struct Choice {
  std::string kind;
  std::shared_ptr<Options> options;  // of the type that the registry holds for `kind`
};

/// Visits the keys of an Options struct.
class Fields {
 public:
  virtual ~Fields() = default;

  template <std::signed_integral T>
  requires(!std::same_as<T, bool>) void operator()(std::string_view key, T& value, const Field& field) {
    std::int64_t wide = value;
    Field bounded = field;
    bounded.min = std::max(field.min, static_cast<double>(std::numeric_limits<T>::min()));
    if (bounded.max == std::numeric_limits<double>::infinity()) bounded.max = largest_integer;
    bounded.max = std::min(bounded.max, static_cast<double>(std::numeric_limits<T>::max()));
    integer(key, wide, bounded);
    value = static_cast<T>(wide);
  }
  void operator()(std::string_view key, bool& value, const Field& field) { boolean(key, value, field); }
  void operator()(std::string_view key, double& value, const Field& field) { number(key, value, field); }
  void operator()(std::string_view key, std::string& value, const Field& field) { text(key, value, field); }
  /// A list of numbers; YAML may give one number alone.
  void operator()(std::string_view key, std::vector<double>& value, const Field& field) { numbers(key, value, field); }
  /// A list of strings; YAML may give one string alone.
  void operator()(std::string_view key, std::vector<std::string>& value, const Field& field) {
    texts(key, value, field);
  }
  /// A nested struct: a map of its own under `key`.
  void operator()(std::string_view key, Options& value, const Field& field) { nested(key, value, field); }
  /// A choice from a registry. `kind_key` names the key that selects (`kind`, or `name` for optimizers).
  void operator()(std::string_view key, Choice& value, const RegistryBase& registry, const Field& field,
                  std::string_view kind_key = "kind") {
    choice(key, value, registry, field, kind_key);
  }
  /// A list of maps: each element is made by `T{}` and visited.
  template <std::derived_from<Options> T>
  void operator()(std::string_view key, std::vector<T>& value, const Field& field) {
    list(
        key, value.size(), field, T{}, [&](std::size_t n) { value.resize(n); },
        [&](std::size_t i) -> Options& { return value[i]; });
  }
  /// YAML of any form, for its owner to read.
  void operator()(std::string_view key, YamlNode& value, const Field& field) { free_form(key, value, field); }
  /// The keys of a registered kind, at this level: how `data: {kind: text, path: ...}` and
  /// `optimizer: {name: adamw, betas: ..., clip_norm: ...}` mix the kind's keys with keys of the section.
  void operator()(Choice& value, const RegistryBase& registry, const Field& field, std::string_view kind_key) {
    inline_choice(value, registry, field, kind_key);
  }

 protected:
  virtual void integer(std::string_view key, std::int64_t& value, const Field& field) = 0;
  virtual void number(std::string_view key, double& value, const Field& field) = 0;
  virtual void boolean(std::string_view key, bool& value, const Field& field) = 0;
  virtual void text(std::string_view key, std::string& value, const Field& field) = 0;
  virtual void numbers(std::string_view key, std::vector<double>& value, const Field& field) = 0;
  virtual void texts(std::string_view key, std::vector<std::string>& value, const Field& field) = 0;
  virtual void nested(std::string_view key, Options& value, const Field& field) = 0;
  virtual void free_form(std::string_view key, YamlNode& value, const Field& field) = 0;
  virtual void choice(std::string_view key, Choice& value, const RegistryBase& registry, const Field& field,
                      std::string_view kind_key) = 0;
  virtual void inline_choice(Choice& value, const RegistryBase& registry, const Field& field,
                             std::string_view kind_key) = 0;
  /// `size` elements now; `prototype` documents one; `resize` and `at` reach them.
  virtual void list(std::string_view key, std::size_t size, const Field& field, Options&& prototype,
                    const std::function<void(std::size_t)>& resize, const std::function<Options&(std::size_t)>& at) = 0;
};

}  // namespace monge
