// EncoderDecoder against PyTorch: logits, loss and every gradient (tools/fixtures/make_fixtures.py).
#include "core/safetensors.h"
#include "nn/encoder_decoder.h"
#include "support/compare.h"
#include "support/model_gradients.h"
#include "support/spans.h"

namespace monge::nn {
namespace {

using test::cpu;
using test::reference;

void compare(Device device, double tolerance) {
  const SafeTensors file(MONGE_SOURCE_DIR "/tests/fixtures/encoder_decoder.safetensors");
  EncoderDecoderOptions o;  // those of the script
  o.layers = 2;
  o.encoder_layers = 1;
  o.heads = 4;
  o.width = 16;
  o.context = 12;
  o.source_context = 14;
  o.bias = true;
  EncoderDecoder model(o, 37);
  ParameterStore store(model, device, Precision::float32, 1);
  for (const auto& e : store.entries()) file.read("param/" + e.name, store.value(e));
  Batch batch;
  for (const char* name : {"tokens", "targets", "source"}) batch.add(name, file.tensor(name, device));
  test::Ids lengths;
  for (const double length : file.tensor("source_length", reference).values()) {
    lengths.push_back(static_cast<std::int32_t>(length));
  }
  batch.add("source_segment", test::padding_segments(lengths, o.source_context, device));
  EXPECT_TRUE(test::close(model.logits(batch).value(), file.tensor("logits", reference), tolerance));
  EXPECT_NEAR(model.loss(batch).value().item(), file.tensor("loss", reference).values()[0], tolerance);
  const Tensor grads = test::loss_gradients(model, store, batch);
  std::size_t compared = 0;
  for (const auto& e : store.entries()) {
    const Tensor expected = file.tensor("grad/" + e.name, reference);
    EXPECT_TRUE(test::close(grads.flat_view(e.begin, e.shape), expected, 10 * tolerance)) << e.name;
    ++compared;
  }
  std::size_t in_file = 0;
  for (const auto& [name, entry] : file.entries()) in_file += name.starts_with("grad/") ? 1 : 0;
  EXPECT_EQ(compared, in_file);
}

TEST(EncoderDecoderFixture, AgreesWithPyTorchOnReference) { compare(reference, 1e-6); }
TEST(EncoderDecoderFixture, AgreesWithPyTorchOnCpu) { compare(cpu, 1e-5); }

}  // namespace
}  // namespace monge::nn
