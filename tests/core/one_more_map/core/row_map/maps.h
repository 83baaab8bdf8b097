// Stands for the project's core/row_map/maps.h where this folder comes first among the include directories: the list
// with one more map. Of the others softmax is enough, which RowMap is by default.
#include "core/capped.h"
#include "core/row_map/softmax.h"

using RowMaps = RowMapList<SoftmaxMap, CappedMap>;
