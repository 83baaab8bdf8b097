// The table of final losses.
#pragma once

#include "tools/compare/report/analysis.h"
#include "tools/compare/report/page/page.h"

namespace monge::compare {

/// Decimals for the losses of a table: two significant digits of the smallest spread between its units.
int decimals_of(const Table& table);
/// What was found of a row against the baseline, in words.
Cell result_cell(const Results& results, const Row& row);

/// A row per variant, the least mean first.
Grid loss_table(const Results& results, const Table& table);

}  // namespace monge::compare
