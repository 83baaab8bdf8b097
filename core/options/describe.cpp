#include <fmt/format.h>

#include "core/options/format.h"
#include "core/options/registry.h"
#include "core/options/yaml.h"

namespace monge {
namespace {

class Describer : public Fields {
 public:
  Describer(std::vector<KeyDescription>& out, std::string path, std::string only_for)
      : out_(out), path_(std::move(path)), only_for_(std::move(only_for)) {}

 protected:
  void integer(std::string_view key, std::int64_t& value, const Field& field) override {
    row(key, "integer", fmt::format("{}", value), field);
  }
  void number(std::string_view key, double& value, const Field& field) override {
    row(key, "number", yaml_number(value), field);
  }
  void boolean(std::string_view key, bool& value, const Field& field) override {
    row(key, "boolean", value ? "true" : "false", field);
  }
  void text(std::string_view key, std::string& value, const Field& field) override {
    row(key, "text", yaml_text(value), field);
  }
  void numbers(std::string_view key, std::vector<double>& value, const Field& field) override {
    row(key, "list of numbers", yaml_numbers(value), field);
  }
  void texts(std::string_view key, std::vector<std::string>& value, const Field& field) override {
    row(key, "list of texts", yaml_texts(value), field);
  }

  void nested(std::string_view key, Options& value, const Field& field) override {
    row(key, "map", "", field);
    describe_into(path_of(key), value, only_for_);
  }

  void free_form(std::string_view key, YamlNode&, const Field& field) override { row(key, "YAML", "null", field); }

  void list(std::string_view key, std::size_t, const Field& field, Options&& prototype,
            const std::function<void(std::size_t)>&, const std::function<Options&(std::size_t)>&) override {
    row(key, "list of maps", "[]", field);
    describe_into(path_of(key) + ".N", prototype, only_for_);
  }

  void choice(std::string_view key, Choice& value, const RegistryBase& registry, const Field& field,
              std::string_view kind_key) override {
    choice_row(key, value, registry, field);
    kinds(path_of(key), value, registry, kind_key);
  }

  void inline_choice(Choice& value, const RegistryBase& registry, const Field& field,
                     std::string_view kind_key) override {
    choice_row(kind_key, value, registry, field);
    kinds(path_, value, registry, kind_key);
  }

 private:
  std::string path_of(std::string_view key) const {
    return path_.empty() ? std::string(key) : fmt::format("{}.{}", path_, key);
  }

  void row(std::string_view key, std::string_view type, std::string default_value, const Field& field) {
    out_.push_back({.path = path_of(key),
                    .type = std::string(type),
                    .default_value = field.required ? "" : std::move(default_value),
                    .unit = std::string(field.unit),
                    .range = range_text(field),
                    .doc = std::string(field.doc),
                    .only_for = only_for_});
  }

  void choice_row(std::string_view key, const Choice& value, const RegistryBase& registry, const Field& field) {
    row(key, "choice", value.kind, field);
    out_.back().range = fmt::format("{}", fmt::join(registry.names(), " | "));
  }

  /// Each registered kind under its own heading; the kind held shows the values held.
  void kinds(const std::string& path, Choice& value, const RegistryBase& registry, std::string_view kind_key) {
    for (const std::string& name : registry.names()) {
      std::string only_for = fmt::format("{} {} {}", registry.what(), kind_key, name);
      if (!only_for_.empty()) only_for = fmt::format("{}, {}", only_for_, only_for);
      KeyDescription& heading = out_.emplace_back();
      heading.path = path;
      heading.type = "kind";
      heading.default_value = name;
      heading.doc = registry.doc(name);
      heading.only_for = only_for;
      describe_into(path, name == value.kind ? *value.options : *registry.defaults(name), only_for);
    }
  }

  void describe_into(const std::string& path, Options& options, const std::string& only_for) {
    Describer inside(out_, path, only_for);
    options.fields(inside);
  }

  std::vector<KeyDescription>& out_;
  std::string path_;
  std::string only_for_;
};

}  // namespace

std::vector<KeyDescription> describe(Options& options) {
  std::vector<KeyDescription> out;
  Describer describer(out, "", "");
  options.fields(describer);
  return out;
}

}  // namespace monge
