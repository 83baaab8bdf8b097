#include "train/progress.h"

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <array>
#include <cmath>

namespace monge::train {

Progress::Progress(std::FILE* out) : out_(out), terminal_(out != nullptr && ::isatty(::fileno(out)) == 1) {}

Progress::~Progress() { finish(); }

void Progress::note(const std::string& text) {
  if (out_ == nullptr) return;
  if (pending_) fmt::print(out_, "\r\x1b[K");
  pending_ = false;
  fmt::print(out_, "{}\n", text);
  std::fflush(out_);
}

void Progress::update(const std::string& text) {
  if (!terminal_) return note(text);
  // A line wider than the window would wrap and could not be rewritten.
  winsize window{};
  const bool known = ::ioctl(::fileno(out_), TIOCGWINSZ, &window) == 0 && window.ws_col > 0;
  fmt::print(out_, "\r\x1b[K{}", known ? text.substr(0, window.ws_col - 1u) : text);
  std::fflush(out_);
  pending_ = true;
}

void Progress::finish() {
  if (pending_) fmt::print(out_, "\n");
  pending_ = false;
}

std::string duration_text(double seconds) {
  if (seconds < 59.95) return fmt::format("{:.1f} s", seconds);
  const auto whole = static_cast<long long>(std::llround(seconds));
  if (whole < 3600) return fmt::format("{} min {:02} s", whole / 60, whole % 60);
  return fmt::format("{} h {:02} min", whole / 3600, whole % 3600 / 60);
}

std::string bytes_text(double bytes) {
  if (bytes < 1024.0) return fmt::format("{:.0f} B", bytes);
  if (bytes < 1048576.0) return fmt::format("{:.1f} KiB", bytes / 1024.0);
  if (bytes < 1073741824.0) return fmt::format("{:.1f} MiB", bytes / 1048576.0);
  return fmt::format("{:.2f} GiB", bytes / 1073741824.0);
}

std::string count_text(double count) {
  constexpr std::array<const char*, 5> prefixes{"", "k", "M", "G", "T"};
  std::size_t power = 0;
  for (; count >= 999.5 && power + 1 < prefixes.size(); ++power) count /= 1000.0;
  const int decimals = power == 0 || count >= 99.95 ? 0 : count >= 9.995 ? 1 : 2;
  return fmt::format("{:.{}f} {}", count, decimals, prefixes[power]);
}

}  // namespace monge::train
