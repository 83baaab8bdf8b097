// Registry: maps a name used in YAML to a factory and to the options it takes.
//
//   Registry<Mlp, std::int64_t>& mlps();                        // who has one declares it
//   mlps().add<MyOptions>("mine", "what it is", [](const MyOptions& o, std::int64_t width) {
//     return std::make_unique<MyMlp>(o, width);
//   });
//
// Adding is done at start-up from one thread; looking up is thread-safe after that.
#pragma once

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "core/error.h"
#include "core/options/fields.h"

namespace monge {

/// What readers and writers of options need to know of a registry.
class RegistryBase {
 public:
  explicit RegistryBase(std::string what) : what_(std::move(what)) {}
  virtual ~RegistryBase() = default;
  RegistryBase(const RegistryBase&) = delete;
  RegistryBase& operator=(const RegistryBase&) = delete;

  /// What the registry holds, for messages: "mlp", "dataset".
  const std::string& what() const { return what_; }
  virtual std::vector<std::string> names() const = 0;
  virtual bool has(const std::string& name) const = 0;
  /// One sentence about a registered name.
  virtual const std::string& doc(const std::string& name) const = 0;
  /// Options of `name` with their defaults. Throws InputError with the legal names.
  virtual std::unique_ptr<Options> defaults(const std::string& name) const = 0;
  /// The choice of `name` with its default options.
  Choice choose(const std::string& name) const { return {name, defaults(name)}; }

  /// All that has been registered by now is Monge's own; the rest will be the program's.
  void end_built_in() { built_in_ = false; }
  /// What programs have registered, in any registry: "mlp 'mine'".
  static const std::vector<std::string>& own_kinds() { return own(); }

 protected:
  /// Throws InputError when a name was registered twice.
  void check_names() const {
    if (twice_.empty()) return;
    throw InputError(
        fmt::format("this program registers {} '{}', a name that is taken; give it another", what_, twice_));
  }
  void note(const std::string& name, bool taken) {
    if (taken) twice_ = name;
    if (!built_in_) own().push_back(fmt::format("{} '{}'", what_, name));
  }
  [[noreturn]] void unknown(const std::string& name) const {
    throw InputError(fmt::format("unknown {} '{}'; allowed: {}", what_, name, fmt::join(names(), ", ")));
  }

 private:
  static std::vector<std::string>& own() {
    static std::vector<std::string> kinds;
    return kinds;
  }

  std::string what_;
  std::string twice_;  // a name that was registered twice; empty: none
  bool built_in_ = true;
};

/// A registry that has just been filled with the kinds of Monge.
template <std::derived_from<RegistryBase> R>
R* built_in(R* registry) {
  registry->end_built_in();
  return registry;
}

template <class Product, class... Args>
class Registry : public RegistryBase {
 public:
  using RegistryBase::RegistryBase;

  /// Registers a name. `factory(const O&, Args...)` returns something that converts to std::unique_ptr<Product>.
  /// When the name is taken, the first use of the registry throws InputError: who registers is seldom in a position to
  /// report an error.
  template <std::derived_from<Options> O, class Make>
  void add(const std::string& name, std::string text, Make factory) {
    note(name, entries_.contains(name));
    entries_.emplace(name, Entry{std::move(text), [] { return std::make_unique<O>(); },
                                 [factory](const Options& options, Args... args) -> std::unique_ptr<Product> {
                                   return factory(dynamic_cast<const O&>(options), std::forward<Args>(args)...);
                                 }});
  }

  std::unique_ptr<Product> make(const Choice& choice, Args... args) const {
    return entry(choice.kind).make(*choice.options, std::forward<Args>(args)...);
  }

  std::vector<std::string> names() const override {
    std::vector<std::string> out;
    for (const auto& [name, entry] : entries_) out.push_back(name);
    return out;
  }
  bool has(const std::string& name) const override { return entries_.contains(name); }
  const std::string& doc(const std::string& name) const override { return entry(name).doc; }
  std::unique_ptr<Options> defaults(const std::string& name) const override { return entry(name).defaults(); }

 private:
  struct Entry {
    std::string doc;
    std::function<std::unique_ptr<Options>()> defaults;
    std::function<std::unique_ptr<Product>(const Options&, Args...)> make;
  };

  const Entry& entry(const std::string& name) const {
    check_names();
    const auto found = entries_.find(name);
    if (found == entries_.end()) unknown(name);
    return found->second;
  }

  std::map<std::string, Entry> entries_;
};

/// Options of a kind that takes none.
struct NoOptions : Options {
  void fields(Fields&) override {}
};

}  // namespace monge
