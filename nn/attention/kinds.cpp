// The attention kinds that `model.attention` names: the row maps of core/row_map/maps.h.
#include "nn/attention/attention.h"

namespace monge::nn {

Registry<Attention, const LayerContext&, Position&>& attentions() {
  static auto& registry = *built_in([] {
    auto* r = new Registry<Attention, const LayerContext&, Position&>("attention");
    RowMaps::for_each([&](const auto& map) {
      using Map = std::decay_t<decltype(map)>;
      add_row_map<Map>(*r, fmt::format("weights {}: {}", Map::text.weights, Map::text.use));
    });
    return r;
  }());
  return registry;
}

}  // namespace monge::nn
