#include "train/console/progress.h"

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cmath>

namespace monge::train {

Progress::Progress(std::FILE* out) : out_(out), terminal_(out != nullptr && ::isatty(::fileno(out)) == 1) {}

Progress::~Progress() { finish(); }

void Progress::note(const std::string& text) { verbatim(wrapped(text)); }

void Progress::verbatim(const std::string& text) {
  if (out_ == nullptr) return;
  show(out_, fmt::format("{}{}\n", pending_ ? "\r\x1b[K" : "", terminal_ ? TerminalText().next(text) : text));
  pending_ = false;
}

void Progress::update(const std::string& text) {
  if (!terminal_) return note(text);
  // A line wider than the window would wrap and could not be rewritten.
  winsize window{};
  const bool known = ::ioctl(::fileno(out_), TIOCGWINSZ, &window) == 0 && window.ws_col > 0;
  show(out_, fmt::format("\r\x1b[K{}", known ? text.substr(0, window.ws_col - 1u) : text));
  pending_ = true;
}

void Progress::finish() {
  if (pending_) show(out_, "\n");
  pending_ = false;
}

namespace {

constexpr std::size_t columns = 80;

/// Where a line must end that begins like this, in bytes; npos where it may go on to its end.
std::size_t line_end(std::string_view line, std::size_t indent) {
  std::size_t width = 0, last = std::string_view::npos, last_double = std::string_view::npos;
  for (std::size_t i = 0; i < line.size(); ++i) {
    if (width > columns && last != std::string_view::npos) break;
    const bool continued = (static_cast<unsigned char>(line[i]) & 0xc0) == 0x80;  // of a character of several bytes
    const bool word_ends = line[i] == ' ' && width > indent && line[i - 1] != ' ';
    if (word_ends) last = i;
    if (word_ends && width > columns / 2 && i + 1 < line.size() && line[i + 1] == ' ') last_double = i;
    width += continued ? 0 : 1;
  }
  if (width <= columns) return std::string_view::npos;
  return last_double != std::string_view::npos ? last_double : last;
}

}  // namespace

std::string wrapped(const std::string& text, std::size_t indent) {
  std::string out;
  std::string_view rest = text;
  for (bool more = true; more;) {
    const std::size_t newline = rest.find('\n');
    more = newline != std::string_view::npos;
    std::string line(rest.substr(0, newline));
    if (more) rest.remove_prefix(newline + 1);
    for (std::size_t end; (end = line_end(line, indent)) != std::string::npos;) {
      out += line.substr(0, end) + "\n";
      const std::size_t next = line.find_first_not_of(' ', end);
      line = std::string(indent, ' ') + (next == std::string::npos ? "" : line.substr(next));
    }
    out += line + (more ? "\n" : "");
  }
  return out;
}

void show(std::FILE* out, const std::string& text) {
  if (std::fwrite(text.data(), 1, text.size(), out) == text.size() && std::fflush(out) == 0) return;
  const bool nobody_there = errno == EPIPE || errno == EIO;  // EIO: of a terminal that was closed
  if (nobody_there && std::freopen("/dev/null", "w", out) == nullptr) std::clearerr(out);
}

std::string TerminalText::next(std::string_view piece) {
  std::string out;
  for (const char c : piece) {
    const auto byte = static_cast<unsigned char>(c);
    const bool c0 = (byte < 0x20 && c != '\n' && c != '\t') || byte == 0x7f;
    const bool c1 = within_c1_ && byte >= 0x80 && byte < 0xa0;
    within_c1_ = byte == 0xc2;
    if (c0 || c1) {
      out += fmt::format("\\x{:02x}", byte);
    } else {
      out += c;
    }
  }
  return out;
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
  if (bytes < 1099511627776.0) return fmt::format("{:.2f} GiB", bytes / 1073741824.0);
  return fmt::format("{:.2f} TiB", bytes / 1099511627776.0);
}

std::string loss_text(double loss) {
  const double size = std::abs(loss);
  return size == 0.0 || (size >= 1e-3 && size < 1e5) ? fmt::format("{:.4f}", loss) : fmt::format("{:.3g}", loss);
}

std::string count_text(double count) {
  constexpr std::array<const char*, 8> prefixes{"", "k", "M", "G", "T", "P", "E", "Z"};
  std::size_t power = 0;
  for (; count >= 999.5 && power + 1 < prefixes.size(); ++power) count /= 1000.0;
  const int decimals = power == 0 || count >= 99.95 ? 0 : count >= 9.995 ? 1 : 2;
  return fmt::format("{:.{}f} {}", count, decimals, prefixes[power]);
}

}  // namespace monge::train
