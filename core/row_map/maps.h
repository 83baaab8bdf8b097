// The row maps themselves, as text without a namespace and without an include guard: row_map.h includes it for plain
// code, the cpu backend once more for each instruction set. MONGE_LAMBDA is what the includer's compiler wants between
// the parameters and the body of a lambda.
#include "core/row_map/softmax.h"

/// Calls f(map) with the struct of the map's kind.
template <class F>
void visit_row_map(const RowMap& map, F&& f) {
  switch (map.kind) {
    case RowMapKind::softmax: return f(SoftmaxMap{});
  }
  throw std::invalid_argument("unknown row map");
}
