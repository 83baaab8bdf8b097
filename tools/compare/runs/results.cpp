#include "tools/compare/runs/results.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <concepts>
#include <fstream>
#include <functional>
#include <iterator>
#include <limits>
#include <nlohmann/json.hpp>
#include <set>
#include <string_view>
#include <type_traits>

#include "core/error.h"
#include "core/json.h"
#include "train/folder/run_folder.h"

namespace monge::compare {
namespace {

using Axes = std::vector<std::pair<std::string, double>>;
namespace fs = std::filesystem;

constexpr std::string_view stage_names[] = {"tune", "report"};
/// Not in results of before there were studies.
constexpr std::string_view later_keys[] = {"studies",  "study",   "unlike",  "initial_weights", "batches",
                                           "device",   "margin",  "vocab",   "tuned_at",        "own_cores",
                                           "in_boxes", "made_by", "verdicts"};
constexpr std::string_view status_names[] = {"done", "diverged", "failed"};

/// S or const S.
template <class T, class S>
concept Is = std::same_as<std::remove_const_t<T>, S>;

// The keys of each struct, named once for both directions: `visit(key, member)`.
void members(Is<Variant> auto& v, const auto& visit) {
  visit("name", v.name);
  visit("config", v.config);
  visit("unlike", v.unlike);
}
void members(Is<Workload> auto& w, const auto& visit) {
  visit("name", w.name);
  visit("data", w.data);
  visit("parameters", w.parameters);
  visit("vocab", w.vocab);
  visit("optimum", w.optimum);
  visit("target", w.target);
  visit("target_is_accuracy", w.target_is_accuracy);
  visit("target_source", w.target_source);
  visit("target_fixed_before", w.target_fixed_before);
  visit("budgets", w.budgets);
}
void members(Is<Point> auto& p, const auto& visit) {
  visit("step", p.step);
  visit("seconds", p.seconds);
  visit("forward_backwards", p.forward_backwards);
  visit("train_loss", p.train_loss);
  visit("val_loss", p.val_loss);
  visit("val_accuracy", p.val_accuracy);
}
void members(Is<Run> auto& r, const auto& visit) {
  visit("variant", r.variant);
  visit("workload", r.workload);
  visit("study", r.study);
  visit("stage", r.stage);
  visit("seed", r.seed);
  visit("budget", r.budget);
  visit("axes", r.axes);
  visit("status", r.status);
  visit("message", r.message);
  visit("points", r.points);
  visit("final_loss", r.final_loss);
  visit("step_milliseconds", r.step_milliseconds);
  visit("state_bytes", r.state_bytes);
  visit("passes_per_step", r.passes_per_step);
  visit("initial_weights", r.initial_weights);
  visit("batches", r.batches);
  visit("device", r.device);
  visit("own_cores", r.own_cores);
  visit("made_by", r.made_by);
  visit("hash", r.hash);
  visit("config", r.config);
}
void members(Is<Verdict> auto& v, const auto& visit) {
  visit("made_by", v.made_by);
  visit("variant", v.variant);
  visit("workload", v.workload);
  visit("borrowed", v.borrowed);
  visit("made_again", v.made_again);
  visit("different", v.different);
}
void members(Is<Tuned> auto& t, const auto& visit) {
  visit("variant", t.variant);
  visit("workload", t.workload);
  visit("study", t.study);
  visit("tuned_at", t.budget);
  visit("axes", t.axes);
  visit("trials", t.trials);
  visit("on_edge", t.on_edge);
  visit("fixed", t.fixed);
}
void members(Is<Results> auto& r, const auto& visit) {
  visit("title", r.title);
  visit("description", r.description);
  visit("baseline", r.baseline);
  visit("level", r.level);
  visit("margin", r.margin);
  visit("variants", r.variants);
  visit("workloads", r.workloads);
  visit("in_boxes", r.in_boxes);
  visit("studies", r.studies);
  visit("tune_seeds", r.tune_seeds);
  visit("report_seeds", r.report_seeds);
  visit("tuned", r.tuned);
  visit("runs", r.runs);
  visit("verdicts", r.verdicts);
  visit("complete", r.complete);
  visit("comparison", r.comparison);
  visit("build", r.build);
  visit("machine", r.machine);
}

Json to_json(double value) { return std::isfinite(value) ? Json(value) : Json(nullptr); }
Json to_json(std::int64_t value) { return value; }
Json to_json(std::size_t value) { return value; }
Json to_json(bool value) { return value; }
Json to_json(const std::string& value) { return value; }
Json to_json(Stage value) { return stage_names[static_cast<std::size_t>(value)]; }
Json to_json(Run::Status value) { return status_names[static_cast<std::size_t>(value)]; }
Json to_json(const Axes& axes) {
  Json out = Json::object();
  for (const auto& [key, value] : axes) out[key] = to_json(value);
  return out;
}
template <class Struct>
requires std::is_aggregate_v<Struct> Json to_json(const Struct& value);
template <class T>
Json to_json(const std::vector<T>& values) {
  Json out = Json::array();
  for (const T& value : values) out.push_back(to_json(value));
  return out;
}
/// What is absent has no key.
template <class T>
void put(Json& out, const char* key, const T& value) {
  out[key] = to_json(value);
}
void put(Json& out, const char* key, const std::optional<double>& value) {
  if (value) out[key] = to_json(*value);
}
template <class Struct>
requires std::is_aggregate_v<Struct> Json to_json(const Struct& value) {
  Json out = Json::object();
  members(value, [&out](const char* key, const auto& member) { put(out, key, member); });
  return out;
}

/// A value of the file, and where it stands in it: "runs.3.seed".
struct JsonValue {
  const Json& json;
  std::string path;
  const fs::path& file;

  JsonValue below(const std::string& key, const Json& value) const {
    return {value, path.empty() ? key : path + "." + key, file};
  }
  [[noreturn]] void fail(std::string_view expected) const {
    constexpr std::size_t most = 40;
    throw InputError(fmt::format("{}: {}: expected {}, got {}; are these results of `monge compare`?", file.string(),
                                 path.empty() ? "the whole" : path, expected, json_text(json).substr(0, most)));
  }
};

void from_json(const JsonValue& at, double& value) {
  if (at.json.is_null()) {
    value = std::numeric_limits<double>::infinity();
  } else if (at.json.is_number()) {
    value = at.json.get<double>();
  } else {
    at.fail("a number");
  }
}
void from_json(const JsonValue& at, std::optional<double>& value) { from_json(at, value.emplace()); }
void from_json(const JsonValue& at, std::int64_t& value) {
  if (!at.json.is_number_integer()) at.fail("an integer");
  value = at.json.get<std::int64_t>();
}
void from_json(const JsonValue& at, std::size_t& value) {
  if (!at.json.is_number_unsigned()) at.fail("a count");
  value = at.json.get<std::size_t>();
}
void from_json(const JsonValue& at, bool& value) {
  if (!at.json.is_boolean()) at.fail("true or false");
  value = at.json.get<bool>();
}
void from_json(const JsonValue& at, std::string& value) {
  if (!at.json.is_string()) at.fail("text");
  value = at.json.get<std::string>();
}
template <class Enum, std::size_t n>
void from_names(const JsonValue& at, const std::string_view (&names)[n], Enum& value) {
  std::string name;
  from_json(at, name);
  const auto found = std::ranges::find(names, name);
  if (found == std::end(names)) at.fail(fmt::format("one of {}", fmt::join(names, ", ")));
  value = static_cast<Enum>(found - std::begin(names));
}
void from_json(const JsonValue& at, Stage& value) { from_names(at, stage_names, value); }
void from_json(const JsonValue& at, Run::Status& value) { from_names(at, status_names, value); }
void from_json(const JsonValue& at, Axes& axes) {
  if (!at.json.is_object()) at.fail("a map");
  for (const auto& [key, json] : at.json.items()) from_json(at.below(key, json), axes.emplace_back(key, 0.0).second);
}
template <class Struct>
requires std::is_aggregate_v<Struct>
void from_json(const JsonValue& at, Struct& value);
template <class T>
void from_json(const JsonValue& at, std::vector<T>& values) {
  if (!at.json.is_array()) at.fail("a list");
  values.clear();
  for (std::size_t i = 0; i < at.json.size(); ++i) {
    from_json(at.below(std::to_string(i), at.json[i]), values.emplace_back());
  }
}
template <class Struct>
requires std::is_aggregate_v<Struct>
void from_json(const JsonValue& at, Struct& value) {
  if (!at.json.is_object()) at.fail("a map");
  members(value, [&at](const char* key, auto& member) {
    const auto found = at.json.find(key);
    if (found != at.json.end()) return from_json(at.below(key, *found), member);
    constexpr bool optional = std::is_same_v<std::decay_t<decltype(member)>, std::optional<double>>;
    if (!optional && std::ranges::count(later_keys, std::string_view(key)) == 0)
      at.fail(fmt::format("the key '{}'", key));
  });
}

void check_places(const Results& results, const fs::path& file) {
  const auto check = [&](bool ok, const char* what) {
    if (!ok)
      throw InputError(fmt::format("{}: {} refers to a variant or workload that is not there", file.string(), what));
  };
  const auto known = [&results](const auto& x) {
    return x.variant < results.variants.size() && x.workload < results.workloads.size();
  };
  check(results.baseline < results.variants.size(), "baseline");
  check(std::ranges::all_of(results.tuned, known), "tuned");
  check(std::ranges::all_of(results.runs, known), "runs");
}

/// Refuses what no comparison writes, so that the report need not.
void check_values(const Results& results, const fs::path& file) {
  const auto check = [&](bool ok, const std::string& what) {
    if (!ok) throw InputError(fmt::format("{}: {}; are these results of `monge compare`?", file.string(), what));
  };
  const auto finite = [](const std::optional<double>& x) { return !x || std::isfinite(*x); };
  check(results.level > 0.0 && results.level < 1.0,
        fmt::format("level is {}, allowed: between 0 and 1", results.level));
  check(results.margin >= 0.0 && std::isfinite(results.margin), fmt::format("margin is {}", results.margin));
  constexpr std::size_t most_studies = 1000;
  check(results.studies >= 1 && results.studies <= most_studies, fmt::format("studies is {}", results.studies));
  std::set<std::string> names;
  for (const Variant& v : results.variants) {
    check(!v.name.empty() && names.insert(v.name).second, fmt::format("a variant is called '{}'", v.name));
  }
  for (const Workload& w : results.workloads) {
    check(!w.budgets.empty() && w.budgets.front() > 0.0 && std::isfinite(w.budgets.back()) &&
              std::ranges::adjacent_find(w.budgets, std::greater_equal{}) == w.budgets.end(),
          fmt::format("budgets of {} are [{}], allowed: rising numbers", w.name, fmt::join(w.budgets, ", ")));
    check(finite(w.optimum) && finite(w.target), fmt::format("optimum or target of {} is not finite", w.name));
  }
  for (const Tuned& t : results.tuned) {
    check(t.study < results.studies && t.budget > 0.0 && std::isfinite(t.budget), "a tuned setting is of no study");
  }
  for (const Run& r : results.runs) {
    check(r.study < results.studies && r.budget > 0.0, fmt::format("run {} is of no study", r.hash));
    check(r.step_milliseconds >= 0.0 && std::isfinite(r.step_milliseconds) && r.state_bytes >= 0 &&
              r.passes_per_step > 0.0 && std::isfinite(r.passes_per_step),
          fmt::format("run {} has impossible times or bytes", r.hash));
    check(std::ranges::all_of(r.points,
                              [](const Point& p) {
                                return p.step >= 0 && p.seconds >= 0.0 && std::isfinite(p.seconds) &&
                                       p.forward_backwards >= 0.0 && std::isfinite(p.forward_backwards);
                              }),
          fmt::format("run {} has an impossible point", r.hash));
  }
}

}  // namespace

std::string numerics_of(const Results& results) { return results.build.substr(0, results.build.rfind(", program ")); }

void write_results(const Results& results, const fs::path& file) {
  train::write_text_file(file, json_text(to_json(results), 1) + "\n");
}

Results read_results(const fs::path& file) {
  std::error_code unknown;
  std::ifstream in;
  if (fs::is_regular_file(file, unknown)) in.open(file, std::ios::binary);
  if (!in.is_open())
    throw InputError(fmt::format("cannot read '{}'; give the results.json of `monge compare`", file.string()));
  const Json json = parse_json(std::string(std::istreambuf_iterator<char>(in), {}));
  if (json.is_discarded()) throw InputError(fmt::format("{}: this is no JSON", file.string()));
  Results results;
  from_json(JsonValue{json, "", file}, results);
  check_places(results, file);
  check_values(results, file);
  for (Run& run : results.runs) {
    if (run.made_by.empty()) run.made_by = numerics_of(results);
  }
  return results;
}

}  // namespace monge::compare
