// The row maps themselves, as text without a namespace and without an include guard: row_map.h includes it for plain
// code, the cpu backend once more for each instruction set. MONGE_LAMBDA is what the includer's compiler wants between
// the parameters and the body of a lambda.
#include "core/row_map/custom_map.h"
#include "core/row_map/entmax.h"
#include "core/row_map/separable.h"
#include "core/row_map/softmax.h"
#include "core/row_map/softmax1.h"
#include "core/row_map/softpick.h"

/// Calls f(map) with the struct of the map's kind.
template <class F>
void visit_row_map(const RowMap& map, F&& f) {
  switch (map.kind) {
    case RowMapKind::softmax: return f(SoftmaxMap{});
    case RowMapKind::softmax1: return f(Softmax1Map{});
    case RowMapKind::sparsemax: return f(SparsemaxMap{});
    case RowMapKind::entmax15: return f(Entmax15Map{});
    case RowMapKind::entmax: return f(EntmaxMap{map.alpha});
    case RowMapKind::sigmoid: return f(SigmoidMap{map.balanced});
    case RowMapKind::relu: return f(ReluMap{});
    case RowMapKind::softplus: return f(SoftplusMap{map.beta});
    case RowMapKind::softpick: return f(SoftpickMap{});
    case RowMapKind::custom: return f(CustomMap{*map.custom});
  }
  throw std::invalid_argument("unknown row map");
}
