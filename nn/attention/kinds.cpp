// The attention kinds that `model.attention` names: the row maps of core/row_map/maps.h, and aaren.
#include "nn/attention/aaren.h"
#include "nn/attention/attention.h"

namespace monge::nn {

Registry<Attention, const LayerContext&, Position&>& attentions() {
  static auto& registry = *built_in([] {
    auto* r = new Registry<Attention, const LayerContext&, Position&>("attention");
    RowMaps::for_each([&](const auto& map) {
      using Map = std::decay_t<decltype(map)>;
      add_row_map<Map>(*r, fmt::format("weights {}: {}", Map::text.weights, Map::text.use));
    });
    r->add<NoOptions>("aaren",
                      "softmax with one learned query for all tokens: a recurrence, of linear cost and with a state of "
                      "constant size",
                      [](const NoOptions&, const LayerContext& c, Position& position) {
                        return std::make_unique<Aaren>(c, position);
                      });
    return r;
  }());
  return registry;
}

}  // namespace monge::nn
