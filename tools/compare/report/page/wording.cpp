#include "tools/compare/report/page/wording.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "train/console/summary.h"

namespace monge::compare {
namespace {

constexpr const char* minus = "−";

}  // namespace

int decimals_for(double uncertainty) {
  if (!(uncertainty > 0.0) || !std::isfinite(uncertainty)) return 4;
  return std::clamp(1 - static_cast<int>(std::floor(std::log10(uncertainty))), 0, 8);
}

std::string fixed(double value, int decimals) {
  if (std::isinf(value)) return value > 0.0 ? "∞" : fmt::format("{}∞", minus);
  const std::string digits = fmt::format("{:.{}f}", std::abs(value), decimals);
  const bool zero = digits.find_first_not_of("0.") == std::string::npos;
  return value < 0.0 && !zero ? minus + digits : digits;
}

std::string difference(double value, int decimals) {
  const std::string digits = fixed(value, decimals);
  const bool zero = digits.find_first_not_of("0.") == std::string::npos;
  return value > 0.0 && !zero ? "+" + digits : digits;
}

std::string with_error(double value, double error, int decimals) {
  return fmt::format("{} ± {}", fixed(value, decimals), fixed(error, decimals));
}

std::string interval(const Interval& interval, int decimals) {
  return fmt::format("[{}, {}]", fixed(interval.low, decimals), fixed(interval.high, decimals));
}

std::string difference_interval(const Interval& interval, int decimals) {
  return fmt::format("[{}, {}]", difference(interval.low, decimals), difference(interval.high, decimals));
}

std::string significant_digits(double value, int digits) {
  if (std::isinf(value)) return fixed(value, 0);
  return fmt::format("{:.{}g}", value, digits);
}

std::string p_value(double p) { return p < 0.0001 ? "< 0.0001" : fmt::format("{:.4f}", p); }

std::string percent(double share) { return fmt::format("{}%", significant_digits(100.0 * share)); }

std::string accuracy_text(double share) { return fmt::format("{:.2f}%", std::floor(1e4 * share + 1e-9) / 100.0); }

std::string factor(double value, int decimals) {
  constexpr double most = 1000.0;
  if (std::isinf(value)) return "∞";
  return value > most ? fmt::format("more than {:.0f}×", most) : fmt::format("{:.{}f}×", value, decimals);
}

std::string factor_interval(const Interval& interval, int decimals) {
  const auto end = [decimals](double x) {
    return std::isinf(x) ? std::string("∞") : fmt::format("{:.{}f}", x, decimals);
  };
  return fmt::format("[{}, {}]", end(interval.low), end(interval.high));
}

int ratio_decimals(const Interval& interval) {
  constexpr int least = 2, most = 5;
  const auto looks_like_one = [](double x, int decimals) {
    return x != 1.0 && std::abs(x - 1.0) < 0.5 * std::pow(10.0, -decimals);
  };
  int decimals = least;
  while (decimals < most && (looks_like_one(interval.low, decimals) || looks_like_one(interval.high, decimals))) {
    ++decimals;
  }
  return decimals;
}

std::string duration(double seconds) {
  if (std::isinf(seconds)) return "not reached";
  if (seconds < 120.0) return fmt::format("{:.1f} s", seconds);
  if (seconds < 7200.0) return fmt::format("{:.1f} min", seconds / 60.0);
  return fmt::format("{:.2f} h", seconds / 3600.0);
}

std::string amount(double value) { return std::isinf(value) ? "not reached" : train::thousands(std::llround(value)); }

std::string bytes(std::int64_t count) {
  const auto value = static_cast<double>(count);
  if (value < 1024.0) return fmt::format("{} B", count);
  if (value < 1024.0 * 1024.0) return fmt::format("{:.1f} KiB", value / 1024.0);
  if (value < 1024.0 * 1024.0 * 1024.0) return fmt::format("{:.1f} MiB", value / (1024.0 * 1024.0));
  return fmt::format("{:.2f} GiB", value / (1024.0 * 1024.0 * 1024.0));
}

std::string settings(const std::vector<std::pair<std::string, double>>& axes) {
  std::string text;
  for (const auto& [key, value] : axes) {
    text += fmt::format("{}{} {}", text.empty() ? "" : ", ", key, significant_digits(value, 4));
  }
  return text;
}

std::string listing(const std::vector<std::string>& items) {
  std::string text;
  for (std::size_t i = 0; i < items.size(); ++i) {
    if (i > 0) text += i + 1 == items.size() ? " and " : ", ";
    text += items[i];
  }
  return text;
}

std::string count(std::size_t n, const std::string& noun) { return fmt::format("{} {}{}", n, noun, n == 1 ? "" : "s"); }

}  // namespace monge::compare
