// Profiles: which spans there are, how they nest, what a kernel call counts, and that profiled devices compute the
// same.
#include "core/profile/profile.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <thread>

#include "support/compare.h"

namespace monge::profile {
namespace {

using test::cpu, test::reference;

std::vector<std::string> names(const std::vector<Event>& events) {
  std::vector<std::string> result;
  for (const Event& event : events) result.emplace_back(event.name);
  return result;
}

TEST(Profile, SpansNestAndEndInOrder) {
  start();
  {
    const Span outer("outer");
    { const Span first("first"); }
    { const Span second("second"); }
  }
  const std::vector<Event> events = stop();
  EXPECT_EQ(names(events), (std::vector<std::string>{"first", "second", "outer"}));
  for (int inner : {0, 1}) {
    EXPECT_LE(events[2].begin, events[inner].begin);
    EXPECT_LE(events[inner].begin, events[inner].end);
    EXPECT_LE(events[inner].end, events[2].end);
    EXPECT_FALSE(events[inner].is_kernel());
  }
  EXPECT_LE(events[0].end, events[1].begin);
}

TEST(Profile, HoldsWhatBeginsAndEndsInIt) {
  { const Span before("before"); }
  {
    const Span across("begins before");
    start();
    { const Span inside("inside"); }
  }
  EXPECT_TRUE(recording());
  EXPECT_THROW(start(), std::invalid_argument);
  std::vector<Event> events;
  {
    const Span across("ends after");
    events = stop();
    EXPECT_FALSE(recording());
    start();  // a span of an earlier profile is none of the next
  }
  EXPECT_EQ(names(events), std::vector<std::string>{"inside"});
  EXPECT_TRUE(stop().empty());
}

TEST(Profile, ThreadsAreTold) {
  start();
  std::thread other([] { const Span span("other"); });
  other.join();
  { const Span span("mine"); }
  const std::vector<Event> events = stop();
  ASSERT_EQ(events.size(), 2u);
  EXPECT_EQ(events[0].thread, 1);
  EXPECT_EQ(events[1].thread, 0);
}

TEST(Profile, KernelCallsAreMarkedAndPassedOn) {
  for (const Device device : {cpu, reference}) {
    const DType dtype = backend_of(device).default_float();
    const Tensor a = test::random_tensor({2, 3}, 1, dtype, device), b = test::random_tensor({5, 3}, 2, dtype, device);
    const Tensor plain = Tensor::empty({2, 5}, dtype, device), marked = Tensor::empty({2, 5}, dtype, device);
    backend_of(device).matmul({.a = a, .b = b, .transpose_b = true, .out = plain});
    start();
    backend_of(device).matmul({.a = a, .b = b, .transpose_b = true, .out = marked});
    backend_of(device).matmul({.a = a, .b = b, .transpose_b = true, .out = marked, .accumulate = true});
    const std::vector<Event> events = stop();
    backend_of(device).add_scaled({.x = plain, .factor = -2.0, .y = marked});
    EXPECT_EQ(marked.values(), std::vector<double>(10, 0.0));

    ASSERT_EQ(names(events), (std::vector<std::string>{"matmul", "matmul"})) << device.str();
    const KernelCall& call = events[0].call;
    ASSERT_EQ(call.operands.size(), 3u);
    EXPECT_STREQ(call.operands[1].name, "b^T");
    EXPECT_EQ(call.operands[1].shape, (Shape{5, 3}));
    EXPECT_EQ(call.flops, 2.0 * 2 * 5 * 3);
    const auto element = static_cast<double>(size_of(dtype));
    EXPECT_EQ(call.bytes(), element * (6 + 15 + 10));
    EXPECT_EQ(events[1].call.bytes(), element * (6 + 15 + 2 * 10));
    start();
    EXPECT_THROW(backend_of(device).matmul({.a = a, .b = b, .out = plain}), std::invalid_argument);
    EXPECT_TRUE(stop().empty()) << "what the check refuses was not computed";
  }
}

/// The pairs that see each other, counted one by one.
double pairs(const kernel::Attention& a) {
  double n = 0.0;
  for (std::int64_t i = 0; i < a.queries; ++i)
    n += static_cast<double>(a.causal ? std::min(a.keys, a.start + i + 1) : a.keys);
  return n * static_cast<double>(a.batch * a.heads);
}

TEST(Profile, AKernelThatThrowsHasEnded) {
  const auto f32 = [](const Shape& shape) { return Tensor::zeros(shape, DType::f32, cpu); };
  start();
  EXPECT_THROW(backend_of(cpu).matmul({.a = f32({2, 0}), .b = f32({0, 3}), .out = f32({2, 3})}), std::invalid_argument);
  const std::vector<std::string> events = names(stop());
  EXPECT_EQ(std::ranges::count(events, "matmul"), 1);
}

TEST(Cost, OfAttentionIsThatOfTheVisiblePairs) {
  kernel::Attention a{.batch = 3, .queries = 40, .keys = 40, .heads = 4, .kv_heads = 2, .head_dim = 8};
  const double half_diagonal = 0.5 * 40 * 3 * 4;  // T^2 / 2 of the T (T + 1) / 2 pairs
  EXPECT_EQ(flops_of(a), 2 * 2 * 8 * (pairs(a) - half_diagonal));
  a.keys = 100;
  a.start = 60;
  EXPECT_EQ(flops_of(a), 2 * 2 * 8 * (pairs(a) - half_diagonal));
  a.causal = false;
  EXPECT_EQ(flops_of(a), 2 * 2 * 8 * pairs(a));

  kernel::AttentionBackward backward{.forward = a};
  EXPECT_EQ(flops_of(backward), 2.5 * flops_of(a));
  backward.row_dq.data = Tensor::empty({1}, DType::f32, cpu);
  EXPECT_EQ(flops_of(backward), 3.5 * flops_of(a));
  const kernel::AttentionMetric metric{.forward = a, .head = 0, .y = Tensor::empty({3, 100, 20}, DType::f32, cpu)};
  EXPECT_EQ(flops_of(metric), 2 * (8 + 20) * pairs(a) / 4);
}

}  // namespace
}  // namespace monge::profile
