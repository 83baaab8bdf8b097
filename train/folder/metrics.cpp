#include "train/folder/metrics.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/json.h"

namespace monge::train {
namespace {

/// Bytes at the start of the file that belong to whole lines up to `step`.
std::uintmax_t bytes_until(const std::filesystem::path& file, std::int64_t step) {
  std::ifstream in(file, std::ios::binary);
  std::uintmax_t bytes = 0;
  for (std::string line; std::getline(in, line) && !in.eof();) {
    const auto json = parse_json(line);
    if (!json.is_object() || !json.contains("step") || !json["step"].is_number_integer()) break;
    if (json["step"].get<std::int64_t>() > step) break;
    bytes += line.size() + 1;
  }
  return bytes;
}

}  // namespace

std::string MetricsLine::json() const {
  Json out;
  out["step"] = step;
  out["tokens"] = tokens;
  out["seconds"] = seconds;
  const auto put = [&out](const char* key, const auto& value) {
    if (value) out[key] = *value;
  };
  put("train_loss", train_loss);
  put("val_loss", val_loss);
  put("excess_loss", excess_loss);
  put("val_accuracy", val_accuracy);
  put("val_exact_match", val_exact_match);
  put("lr", lr);
  put("grad_norm", grad_norm);
  put("tokens_per_second", tokens_per_second);
  put("mfu", mfu);
  put("peak_bytes", peak_bytes);
  return json_text(out);
}

MetricsFile::MetricsFile(const std::filesystem::path& file, std::int64_t step) : file_(file) {
  const std::uintmax_t keep = bytes_until(file, step);
  descriptor_ = ::open(file.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_NOFOLLOW | O_CLOEXEC, 0666);
  if (descriptor_ < 0 || ::ftruncate(descriptor_, static_cast<off_t>(keep)) != 0) {
    throw RunError(fmt::format("cannot write '{}': {}", file_.string(), std::strerror(errno)));
  }
}

MetricsFile::~MetricsFile() { ::close(descriptor_); }

void MetricsFile::append(const MetricsLine& line) {
  const std::string text = line.json() + "\n";
  std::size_t written = 0;
  while (written < text.size()) {
    const ssize_t n = ::write(descriptor_, text.data() + written, text.size() - written);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) {
      throw RunError(
          fmt::format("cannot write '{}': {}; the checkpoints before step {} are kept, free some space and "
                      "continue with --resume",
                      file_.string(), std::strerror(errno), line.step));
    }
    written += static_cast<std::size_t>(n);
  }
}

void MetricsFile::flush() { ::fsync(descriptor_); }

}  // namespace monge::train
