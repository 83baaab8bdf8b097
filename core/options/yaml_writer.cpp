#include <fmt/format.h>

#include "core/options/format.h"
#include "core/options/registry.h"
#include "core/options/yaml.h"

namespace monge {
namespace {

/// Writes the keys of one section, a line each, and those of its subsections two columns further in.
class YamlWriter : public Fields {
 public:
  explicit YamlWriter(int indent) : indent_(indent) {}

  static std::string write(Options& options, int indent) {
    YamlWriter writer(indent);
    options.fields(writer);
    return std::move(writer.out_);
  }

 protected:
  void integer(std::string_view key, std::int64_t& value, const Field& field) override {
    line(key, fmt::format("{}", value), field);
  }
  void number(std::string_view key, double& value, const Field& field) override {
    line(key, yaml_number(value), field);
  }
  void boolean(std::string_view key, bool& value, const Field& field) override {
    line(key, value ? "true" : "false", field);
  }
  void text(std::string_view key, std::string& value, const Field& field) override {
    line(key, yaml_text(value), field);
  }
  void numbers(std::string_view key, std::vector<double>& value, const Field& field) override {
    line(key, yaml_numbers(value), field);
  }
  void texts(std::string_view key, std::vector<std::string>& value, const Field& field) override {
    line(key, yaml_texts(value), field);
  }

  void nested(std::string_view key, Options& value, const Field&) override { section(key, write(value, indent_ + 2)); }

  void free_form(std::string_view key, YamlNode& value, const Field& field) override { line(key, value.str(), field); }

  void choice(std::string_view key, Choice& value, const RegistryBase&, const Field&,
              std::string_view kind_key) override {
    if (value.options == nullptr) return;
    YamlWriter inside(indent_ + 2);
    inside.line(kind_key, yaml_text(value.kind), {});
    value.options->fields(inside);
    section(key, inside.out_);
  }

  void inline_choice(Choice& value, const RegistryBase&, const Field&, std::string_view kind_key) override {
    if (value.options == nullptr) return;
    line(kind_key, yaml_text(value.kind), {});
    value.options->fields(*this);
  }

  void list(std::string_view key, std::size_t size, const Field& field, Options&&,
            const std::function<void(std::size_t)>&, const std::function<Options&(std::size_t)>& at) override {
    if (size == 0) return line(key, "[]", field);
    std::string items;
    for (std::size_t i = 0; i < size; ++i) {
      std::string item = write(at(i), indent_ + 4);
      if (item.empty()) item = fmt::format("{:{}}{{}}\n", "", indent_ + 4);
      item[static_cast<std::size_t>(indent_) + 2] = '-';
      items += item;
    }
    section(key, items);
  }

 private:
  void line(std::string_view key, std::string_view value, const Field& field) {
    out_ += fmt::format("{:{}}{}: {}", "", indent_, key, value);
    if (!field.unit.empty()) out_ += fmt::format("  # {}", field.unit);
    out_ += '\n';
  }

  void section(std::string_view key, std::string_view lines) {
    if (lines.empty()) return line(key, "{}", {});
    out_ += fmt::format("{:{}}{}:\n{}", "", indent_, key, lines);
  }

  int indent_;
  std::string out_;
};

}  // namespace

std::string write_yaml(Options& options) { return YamlWriter::write(options, 0); }

}  // namespace monge
