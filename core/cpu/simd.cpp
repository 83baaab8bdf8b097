#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "core/cpu/simd.cpp"
#include "core/cpu/simd.h"

#include <string>

#include "core/cpu/cpu_backend.h"

HWY_BEFORE_NAMESPACE();
namespace monge::cpu::HWY_NAMESPACE {
std::int64_t Target() { return HWY_TARGET; }
}  // namespace monge::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace monge::cpu {
HWY_EXPORT(Target);
std::string simd_target() {
  const auto target = HWY_DYNAMIC_DISPATCH(Target)();
  return target == HWY_AVX3 ? "AVX-512" : hwy::TargetName(target);
}
}  // namespace monge::cpu
#endif
