// report/: what the results show. Their analysis, warnings about it, and the page with its tables and plots. It reads
// results.json alone.
//
// The report of a comparison: report.html, one file that needs no other, report.md with the same numbers, and
// results.csv with them in full precision.
#pragma once

#include <filesystem>
#include <string>

#include "tools/compare/report/lints.h"

namespace monge::compare {

/// Everything that a report says, but for how it looks.
Page make_page(const Results& results, const Analysis& analysis, const std::vector<Lint>& lints);

/// One line per variant, workload and budget. Losses in nats, times as in Point; `inf` is a diverged loss and a target
/// that was not reached, nothing at all a number that is not there.
std::string to_csv(const Results& results, const Analysis& analysis);

/// Writes the three files into `folder`, which is made where it is missing; the HTML last. Throws RunError when a file
/// cannot be written, or, with the other two written, when gnuplot cannot draw.
void write_report(const Results& results, const std::filesystem::path& folder);

}  // namespace monge::compare
