// The attention kinds that `model.attention` names. Every kind is a row map between scores and weights.
#include "nn/attention/attention.h"

namespace monge::nn {
namespace {

using AttentionRegistry = Registry<SelfAttention, const LayerContext&, Position&>;

/// A kind whose map has no settings.
void add_plain(AttentionRegistry& registry, RowMapKind kind, const char* doc) {
  registry.add<AttentionOptions>(std::string(name_of(RowMap{.kind = kind})), doc,
                                 [kind](const AttentionOptions& o, const LayerContext& c, Position& position) {
                                   return std::make_unique<RowMapAttention>(RowMap{.kind = kind}, o, c, position);
                                 });
}

struct EntmaxOptions : AttentionOptions {
  double alpha = 1.5;
  void fields(Fields& f) override {
    f("alpha", alpha, {.doc = "towards 1: softmax; 2: sparsemax", .min = 1.0, .max = 2.0, .exclusive_min = true});
    AttentionOptions::fields(f);
  }
};

struct SoftplusOptions : AttentionOptions {
  double beta = 1.0;
  void fields(Fields& f) override {
    f("beta", beta, {.doc = "sharpness of the corner; large: relu", .min = 0.0, .exclusive_min = true});
    AttentionOptions::fields(f);
  }
};

struct BiasedOptions : AttentionOptions {
  HeadBias head_bias;
  void fields(Fields& f) override {
    f("bias", head_bias.initial, {.doc = bias_doc()});
    f("learned_bias", head_bias.learned, {.doc = "a learned number for each head is added, 0 at the start"});
    AttentionOptions::fields(f);
  }
  virtual const char* bias_doc() const = 0;
};

struct SigmoidOptions : BiasedOptions {
  const char* bias_doc() const override {
    return "added to every score: one number, or one for each head; []: -log n in a row of n keys";
  }
};

struct Softmax1Options : BiasedOptions {
  const char* bias_doc() const override {
    return "added to every score, one number or one for each head: minus the score of the extra key; []: 0";
  }
};

}  // namespace

AttentionRegistry& attentions() {
  static auto& registry = *[] {
    auto* r = new AttentionRegistry("attention");
    add_plain(*r, RowMapKind::softmax, "weights exp(z) / sum exp(z)");
    add_plain(*r, RowMapKind::sparsemax, "weights relu(z - t) that sum to one: most are exactly 0");
    add_plain(*r, RowMapKind::entmax15, "weights relu(z / 2 - t)^2 that sum to one: between softmax and sparsemax");
    add_plain(*r, RowMapKind::relu, "weights relu(z) / n in a row of n keys");
    add_plain(*r, RowMapKind::softpick, "weights relu(e^z - 1) / sum |e^z - 1|; no natural gradient");
    r->add<Softmax1Options>("softmax1", "weights exp(z) / (1 + sum exp(z)): a row may attend to nothing",
                            [](const Softmax1Options& o, const LayerContext& c, Position& position) {
                              return std::make_unique<RowMapAttention>(RowMap{.kind = RowMapKind::softmax1}, o, c,
                                                                       position, o.head_bias);
                            });
    r->add<EntmaxOptions>("entmax", "alpha-entmax, for any 1 < alpha <= 2",
                          [](const EntmaxOptions& o, const LayerContext& c, Position& position) {
                            return std::make_unique<RowMapAttention>(
                                RowMap{.kind = RowMapKind::entmax, .alpha = o.alpha}, o, c, position);
                          });
    r->add<SigmoidOptions>("sigmoid", "weights sigmoid(z + b), each key for itself",
                           [](const SigmoidOptions& o, const LayerContext& c, Position& position) {
                             return std::make_unique<RowMapAttention>(
                                 RowMap{.kind = RowMapKind::sigmoid, .balanced = o.head_bias.initial.empty()}, o, c,
                                 position, o.head_bias);
                           });
    r->add<SoftplusOptions>("softplus", "weights log(1 + e^(beta z)) / (beta n) in a row of n keys",
                            [](const SoftplusOptions& o, const LayerContext& c, Position& position) {
                              return std::make_unique<RowMapAttention>(
                                  RowMap{.kind = RowMapKind::softplus, .beta = o.beta}, o, c, position);
                            });
    return r;
  }();
  return registry;
}

}  // namespace monge::nn
