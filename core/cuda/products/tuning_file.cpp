#include "core/cuda/products/tuning_file.h"

#include <fmt/format.h>
#include <unistd.h>

#include <fstream>
#include <nlohmann/json.hpp>

namespace monge::MONGE_GPU {

namespace fs = std::filesystem;

TuningFile::TuningFile(fs::path path, std::string section) : path_(std::move(path)), section_(std::move(section)) {
  if (!path_.empty()) choices_ = read()[section_];
}

TuningFile::Sections TuningFile::read() {
  std::ifstream in(path_, std::ios::binary);
  if (!in) return {};
  try {
    return nlohmann::json::parse(in).get<Sections>();
  } catch (const nlohmann::json::exception& e) {
    note_ = fmt::format("tuning file {} is damaged and was ignored: {}", path_.string(), e.what());
    return {};
  }
}

std::optional<std::string> TuningFile::find(const std::string& key) const {
  const auto found = choices_.find(key);
  return found == choices_.end() ? std::nullopt : std::optional(found->second);
}

void TuningFile::remember(const std::string& key, const std::string& choice) {
  choices_[key] = choice;
  if (path_.empty()) return;
  Sections all = read();
  all[section_][key] = choice;
  fs::path beside = path_;
  beside += fmt::format(".{}", ::getpid());
  std::error_code problem;
  if (path_.has_parent_path()) fs::create_directories(path_.parent_path(), problem);
  std::ofstream out(beside, std::ios::binary);
  out << nlohmann::json(all).dump(1) << '\n';
  out.close();
  if (!out) problem = std::make_error_code(std::errc::io_error);
  if (!problem) fs::rename(beside, path_, problem);
  if (problem) {
    note_ = fmt::format("tuning file {} cannot be written: {}", path_.string(), problem.message());
    fs::remove(beside, problem);
  }
}

}  // namespace monge::MONGE_GPU
