#include "optim/attention/directed_update.h"

#include <fmt/format.h>

#include "core/backend.h"
#include "core/error.h"
#include "optim/arithmetic.h"

namespace monge::optim {

void DirectedOptions::fields(Fields& f) {
  AttentionUpdateOptions::fields(f);
  f("damping", damping,
    {.doc = "added to the Fisher, relative to its mean eigenvalue", .min = 0.0, .max = 1e12, .exclusive_min = true});
  f("momentum", momentum,
    {.doc = "decay of the averaged gradient that is preconditioned; 0: none", .min = 0.0, .max = 1.0});
  f("graft", graft,
    {.doc = "norm of the step, as a multiple of the base rule's for this matrix; 0: lr alone", .min = 0.0});
  f("kl_clip", kl_clip,
    {.doc =
         "largest squared norm of a layer's step in the update's own Fisher metric; under fisher_cg that is twice the "
         "KL divergence of its attention rows; 0: no limit",
     .min = 0.0});
}

void DirectedOptions::check() const {
  if (momentum >= 1.0) throw KeyError("momentum", "must be below 1, for example 0.9");
}

DirectedUpdate::DirectedUpdate(std::string name, const DirectedOptions& options,
                               const std::vector<AttentionLayer>& layers)
    : name_(std::move(name)), options_(options) {
  require_symmetric_maps(name_, layers);
  require_fisher({.key = "optimizer.attention.update", .who = name_, .allowed = "backprop, row, scaled"}, layers);
  for (const AttentionLayer& at : layers) {
    Target t{.at = at};
    t.H = at.layer->heads();
    t.G = at.layer->kv_heads();
    t.D = at.layer->head_dim();
    t.C = at.query.rows.parameter->shape()[1];
    targets_.push_back(std::move(t));
  }
}

std::string DirectedUpdate::state_name(std::size_t i, const std::string& what) const {
  return fmt::format("{}.{}.{}", name_, targets_[i].at.name, what);
}

void DirectedUpdate::bind(nn::ParameterStore& store) {
  store_ = &store;
  for (std::size_t i = 0; i < targets_.size(); ++i) {
    Target& t = targets_[i];
    if (options_.momentum > 0.0) t.momentum = Tensor::zeros(t.shape(), dtype(), device(), Pool::optimizer);
    bind_target(i);
  }
}

Tensor DirectedUpdate::Target::taken_from(const nn::ParameterStore& store, const Tensor& flat) const {
  const Tensor out = Tensor::empty(shape(), flat.dtype(), flat.device());
  std::int64_t offset = 0;
  for (const AttentionMatrix* matrix : {&at.query, &at.key}) {
    copy(flat.flat_view(matrix->begin(store), {matrix->size()}), out.flat_view(offset, {matrix->size()}));
    offset += matrix->size();
  }
  return out;
}

void DirectedUpdate::before_rule() {
  for (Target& t : targets_) t.before = t.taken_from(*store_, store_->values());
}

void DirectedUpdate::after_rule(const Step& step) {
  prepare(step);
  for (std::size_t i = 0; i < targets_.size(); ++i) {
    Target& t = targets_[i];
    const Tensor gradient = mul(t.taken_from(*store_, store_->grads()), slot(step.control, Control::clip));
    if (t.momentum.defined()) step.update_average(t.momentum, options_.momentum, gradient);
    const Tensor &averaged = t.momentum.defined() ? t.momentum : gradient, v = Tensor::like(gradient);
    direction(i, step.number, averaged, v);

    kernel::DirectedStep args{.matrices = {}, .graft = options_.graft, .kl = options_.kl_clip, .control = step.control};
    std::int64_t offset = 0;
    for (const AttentionMatrix* matrix : {&t.at.query, &t.at.key}) {
      const std::int64_t begin = matrix->begin(*store_), size = matrix->size();
      const auto flat = [&](const Tensor& buffer) {
        return buffer.defined() ? buffer.flat_view(begin, {size}) : Tensor();
      };
      args.matrices.push_back({.param = flat(store_->values()),
                               .before = t.before.flat_view(offset, {size}),
                               .direction = v.flat_view(offset, {size}),
                               .gradient = averaged.flat_view(offset, {size}),
                               .copy = flat(store_->copies()),
                               .lr_scale = matrix->lr_scale,
                               .weight_decay = matrix->weight_decay});
      offset += size;
    }
    v.backend().directed_step(args);
    t.before = {};
  }
}

std::vector<NamedTensor> DirectedUpdate::state() const {
  std::vector<NamedTensor> out;
  for (std::size_t i = 0; i < targets_.size(); ++i) {
    if (targets_[i].momentum.defined()) out.push_back({state_name(i, "momentum"), targets_[i].momentum});
  }
  return out;
}

std::vector<std::string> DirectedUpdate::notes() const {
  const RowMap& map = targets_.front().at.layer->map();
  const Metric metric = metric_of(map);
  if (metric == Metric::categorical || metric == Metric::bernoulli) return {};
  return {fmt::format("optimizer.attention {}: the metric of {} is a {}, not a Fisher matrix", name_, name_of(map),
                      name_of(metric))};
}

}  // namespace monge::optim
