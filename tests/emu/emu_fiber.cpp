/* Fibers: stack set-up and the context switch. */
#include "emu_fiber.h"

#include <atomic>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define EMU_ASAN 1
#endif
#endif
#ifdef __SANITIZE_ADDRESS__
#define EMU_ASAN 1
#endif
#ifdef EMU_ASAN
#include <sanitizer/common_interface_defs.h>
#endif

// Saves the callee-saved registers and the return address on the running stack, its pointer in
// *save, and restores those of `to`.
extern "C" void emu_switch_stack(void **save, void *to);

#if defined(__x86_64__)
asm(R"(.text
.globl emu_switch_stack
.type emu_switch_stack,@function
emu_switch_stack:
    pop %rdx
    push %rbp
    push %rbx
    push %r12
    push %r13
    push %r14
    push %r15
    push %rdx
    mov %rsp,(%rdi)
    mov %rsi,%rsp
    pop %rdx
    pop %r15
    pop %r14
    pop %r13
    pop %r12
    pop %rbx
    pop %rbp
    jmp *%rdx
.size emu_switch_stack,.-emu_switch_stack
.section .note.GNU-stack,"",@progbits
.text)");
#else
#error "emu_switch_stack is written for x86-64 only"
#endif

namespace emu
{
namespace
{
constexpr size_t GUARD_BYTES = 4096;
constexpr int SAVED_REGISTERS = 6;
} // namespace

Fiber *fiber_new(void (*entry)())
{
    static std::atomic<unsigned> count;
    void *memory = mmap(nullptr, FIBER_STACK_BYTES + GUARD_BYTES, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED || mprotect(memory, GUARD_BYTES, PROT_NONE)) {
        fprintf(stderr, "EMU ERROR: no memory for a fiber's stack\n");
        exit(66);
    }
    Fiber *fiber = new Fiber;
    fiber->stack = static_cast<char *>(memory) + GUARD_BYTES;
    fiber->stack_bytes = FIBER_STACK_BYTES;
    // Stacks start at different offsets so that their hot ends do not share cache sets; entry()
    // finds the stack pointer as a call would leave it, 8 below a multiple of 16.
    size_t colour = count++ % 61 * 192;
    void **top = reinterpret_cast<void **>(fiber->stack + FIBER_STACK_BYTES - colour - 72);
    *top = nullptr;
    top -= SAVED_REGISTERS;
    *--top = reinterpret_cast<void *>(entry);
    fiber->stack_pointer = top;
    return fiber;
}

void fiber_free(Fiber *fiber)
{
    munmap(fiber->stack - GUARD_BYTES, fiber->stack_bytes + GUARD_BYTES);
    delete fiber;
}

#ifdef EMU_ASAN
void fiber_switch(Fiber *from, Fiber *to)
{
    __sanitizer_start_switch_fiber(&from->asan_stack, to->stack, to->stack_bytes);
    emu_switch_stack(&from->stack_pointer, to->stack_pointer);
    __sanitizer_finish_switch_fiber(from->asan_stack, nullptr, nullptr);
}

void fiber_entered(Fiber *first)
{
    const void *stack = nullptr;
    size_t bytes = 0;
    __sanitizer_finish_switch_fiber(nullptr, &stack, &bytes);
    if (!first->stack) {
        first->stack = static_cast<char *>(const_cast<void *>(stack));
        first->stack_bytes = bytes;
    }
}
#else
void fiber_switch(Fiber *from, Fiber *to)
{
    emu_switch_stack(&from->stack_pointer, to->stack_pointer);
}

void fiber_entered(Fiber *)
{
}
#endif
} // namespace emu
