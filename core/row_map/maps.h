// The list of row maps, as text without a namespace and without an include guard: row_map.h includes it for plain code,
// the cpu backend once more for each instruction set. MONGE_LAMBDA is what the includer's compiler wants between the
// parameters and the body of a lambda.
#include "core/row_map/entmax.h"
#include "core/row_map/separable.h"
#include "core/row_map/softmax.h"
#include "core/row_map/softmax1.h"
#include "core/row_map/softpick.h"

/// A new map: its file above and its name here. Backends, YAML, `bench`, `verify`, tests and docs go by this list.
using RowMaps = RowMapList<SoftmaxMap, Softmax1Map, SparsemaxMap, Entmax15Map, EntmaxMap, SigmoidMap, ReluMap,
                           SoftplusMap, SoftpickMap>;
