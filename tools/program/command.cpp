#include "tools/program/command.h"

#include <fmt/format.h>

#include <fmt/ranges.h>
#include <CLI/CLI.hpp>

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <filesystem>
#include <utility>
#include <vector>

#include "train/console/progress.h"

namespace monge::tools {

Command::Command(CLI::App& app) : app_(&app) {
  help_on([] { return std::string(); });
}

Option& Option::required() {
  option_->required();
  return *this;
}

Option& Option::show_default() {
  option_->capture_default_str();
  return *this;
}

Option& Option::choices(const std::vector<std::string>& allowed) {
  option_->check([allowed](const std::string& text) -> std::string {
    if (std::ranges::find(allowed, text) != allowed.end()) return "";
    return fmt::format("'{}' is not one of {}", text, fmt::join(allowed, ", "));
  });
  return *this;
}

Option& Option::whole_number(std::int64_t least) {
  option_->check([least](const std::string& text) -> std::string {
    constexpr std::int64_t most = 1000000000;
    std::int64_t value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error == std::errc{} && end == text.data() + text.size() && value >= least && value <= most) return "";
    return fmt::format("'{}' is not a whole number from {} to {}", text, least, most);
  });
  return *this;
}

Option& Option::repeatable() {
  option_->allow_extra_args(false);
  return *this;
}

Option& Option::needs(const Option& other) {
  option_->needs(other.option_);
  return *this;
}

Option& Option::excludes(const Option& other) {
  option_->excludes(other.option_);
  return *this;
}

Command Command::subcommand(const std::string& name, const std::string& help) {
  return Command(*app_->add_subcommand(name, help));
}

void Command::require_subcommand() { app_->require_subcommand(1); }

template <class Value>
Option Command::option(const std::string& name, Value& value, const std::string& help) {
  return Option(app_->add_option(name, value, help));
}
template Option Command::option(const std::string&, std::string&, const std::string&);
template Option Command::option(const std::string&, std::filesystem::path&, const std::string&);
template Option Command::option(const std::string&, std::vector<std::string>&, const std::string&);
template Option Command::option(const std::string&, int&, const std::string&);
template Option Command::option(const std::string&, std::int64_t&, const std::string&);
template Option Command::option(const std::string&, std::uint64_t&, const std::string&);
template Option Command::option(const std::string&, double&, const std::string&);

void Command::flag(const std::string& name, bool& value, const std::string& help) { app_->add_flag(name, value, help); }

void Command::footer(std::function<std::string()> text) { app_->footer(std::move(text)); }

void Command::help_on(std::function<std::string()> text) {
  app_->formatter_fn([text = std::move(text)](const CLI::App* app, const std::string& name, CLI::AppFormatMode mode) {
    const std::string instead = text();
    constexpr std::size_t column = 30;  // of what is said of an option, in CLI11's table
    return instead.empty() ? train::wrapped(CLI::Formatter().make_help(app, name, mode), column) : instead;
  });
}

void Command::action(std::function<void()> run) { app_->callback(std::move(run)); }

}  // namespace monge::tools
