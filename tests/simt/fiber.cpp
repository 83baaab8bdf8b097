#include "simt/fiber.h"

#include <sys/mman.h>

#include <cstdint>
#include <cstring>
#include <new>

#if defined(__SANITIZE_ADDRESS__)
#include <pthread.h>
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

// void monge_simt_switch(void** save, void* load): pushes the preserved registers, stores the stack pointer in *save,
// continues on the stack `load`.
#if defined(__x86_64__)
__asm__(R"(
    .text
    .globl monge_simt_switch
    .type monge_simt_switch, @function
monge_simt_switch:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret
    .size monge_simt_switch, .-monge_simt_switch
)");
#elif defined(__aarch64__)
__asm__(R"(
    .text
    .globl monge_simt_switch
    .type monge_simt_switch, %function
monge_simt_switch:
    sub sp, sp, #160
    stp x19, x20, [sp, #0]
    stp x21, x22, [sp, #16]
    stp x23, x24, [sp, #32]
    stp x25, x26, [sp, #48]
    stp x27, x28, [sp, #64]
    stp x29, x30, [sp, #80]
    stp d8, d9, [sp, #96]
    stp d10, d11, [sp, #112]
    stp d12, d13, [sp, #128]
    stp d14, d15, [sp, #144]
    mov x9, sp
    str x9, [x0]
    mov sp, x1
    ldp x19, x20, [sp, #0]
    ldp x21, x22, [sp, #16]
    ldp x23, x24, [sp, #32]
    ldp x25, x26, [sp, #48]
    ldp x27, x28, [sp, #64]
    ldp x29, x30, [sp, #80]
    ldp d8, d9, [sp, #96]
    ldp d10, d11, [sp, #112]
    ldp d12, d13, [sp, #128]
    ldp d14, d15, [sp, #144]
    add sp, sp, #160
    ret
    .size monge_simt_switch, .-monge_simt_switch
)");
#else
#error "simt/fiber.cpp knows how to switch stacks on x86-64 and AArch64 only"
#endif
extern "C" void monge_simt_switch(void** save, void* load);

namespace monge::simt {
namespace {

constexpr std::size_t page = 64 * 1024;  // the largest of the common page sizes
constexpr std::size_t stack_bytes = 4 * page;

Fiber* running = nullptr;

}  // namespace

Fiber::Fiber() {
#if defined(__SANITIZE_ADDRESS__)
  pthread_attr_t attributes;
  pthread_getattr_np(pthread_self(), &attributes);
  pthread_attr_getstack(&attributes, &stack_, &bytes_);
  pthread_attr_destroy(&attributes);
#endif
}

Fiber::Fiber(void (*body)()) : body_(body), bytes_(stack_bytes) {
  void* const memory =
      mmap(nullptr, page + stack_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) throw std::bad_alloc();
  mprotect(memory, page, PROT_NONE);  // an overflow stops the program instead of spoiling another stack
  stack_ = static_cast<std::byte*>(memory) + page;
  restart();
}

Fiber::~Fiber() {
  if (body_ != nullptr) munmap(static_cast<std::byte*>(stack_) - page, page + stack_bytes);
}

void Fiber::restart() {
#if defined(__SANITIZE_ADDRESS__)
  ASAN_UNPOISON_MEMORY_REGION(stack_, bytes_);
#endif
  // What monge_simt_switch will load: registers, then the address to return to.
#if defined(__x86_64__)
  constexpr int words = 8, return_address = 6;  // 6 registers, the address, and the end of the chain of callers
#else
  constexpr int words = 20, return_address = 11;  // x19 .. x28, x29, x30, d8 .. d15
#endif
  auto* const top = reinterpret_cast<std::uintptr_t*>(static_cast<std::byte*>(stack_) + bytes_) - words;
  std::memset(top, 0, words * sizeof(*top));
  top[return_address] = reinterpret_cast<std::uintptr_t>(&Fiber::enter);
  top_ = top;
  shadow_ = nullptr;
}

void Fiber::switch_to(Fiber& next) {
  running = &next;
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_start_switch_fiber(&shadow_, next.stack_, next.bytes_);
#endif
  monge_simt_switch(&top_, next.top_);
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(shadow_, nullptr, nullptr);
#endif
}

void Fiber::enter() {
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(nullptr, nullptr, nullptr);
#endif
  running->body_();
}

}  // namespace monge::simt
