// How a report writes its numbers: only significant digits, and words where there is no number.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "tools/compare/statistics/sample.h"

namespace monge::compare {

/// Digits after the point that show `uncertainty` with two significant figures: 0.0031 -> 4. Within 0 .. 8; without an
/// uncertainty 4.
int decimals_for(double uncertainty);

/// "1.8912"; a minus sign is U+2212, infinity is "∞".
std::string fixed(double value, int decimals);
/// With a sign: "+0.0120", "−0.0031", "0.0000".
std::string difference(double value, int decimals);
/// "1.8912 ± 0.0031".
std::string with_error(double value, double error, int decimals);
/// "[1.8880, 1.8944]".
std::string interval(const Interval& interval, int decimals);
/// "[−0.0120, +0.0031]".
std::string difference_interval(const Interval& interval, int decimals);

/// With `digits` significant figures, without trailing zeros: "0.0025", "1.6e-05", "12000".
std::string significant_digits(double value, int digits = 3);
/// "0.0123", "< 0.0001".
std::string p_value(double p);
/// "5%" of 0.05.
std::string percent(double share);
/// "99.02%"; never rounded up to "100.00%".
std::string accuracy_text(double share);
/// "1.21×"; "∞"; from a thousand on "more than 1000×".
std::string factor(double value, int decimals = 2);
/// "[1.10, 1.30]"; "∞" for an end that is infinite.
std::string factor_interval(const Interval& interval, int decimals = 2);
/// Decimals, two at least, that show whether an interval of a ratio excludes one.
int ratio_decimals(const Interval& interval);
/// "12.3 s", "4.1 min", "2.05 h"; "not reached" when infinite.
std::string duration(double seconds);
/// "1,200"; "not reached" when infinite.
std::string amount(double value);
std::string bytes(std::int64_t count);
/// "optimizer.lr 0.0025, optimizer.weight_decay 0.1".
std::string settings(const std::vector<std::pair<std::string, double>>& axes);
/// "a, b and c".
std::string listing(const std::vector<std::string>& items);
/// "1 run", "3 runs".
std::string count(std::size_t n, const std::string& noun);

}  // namespace monge::compare
