/* Fibers: stacks that a worker switches between by hand, a dozen instructions a switch. Only a CUDA
 * thread that is suspended in a barrier or collective keeps one. Annotated for AddressSanitizer. */
#pragma once

#include <stddef.h>

namespace emu
{
struct Fiber {
    void *stack_pointer = nullptr;
    char *stack = nullptr; // lowest usable byte; a guard page lies below
    size_t stack_bytes = 0;
    void *asan_stack = nullptr;
};

constexpr size_t FIBER_STACK_BYTES = 64 << 10;

// A fiber that will run entry() when it is first switched to.
Fiber *fiber_new(void (*entry)());
// It must not be the one that runs.
void fiber_free(Fiber *fiber);
// Suspends `from`, which is running, and continues `to`.
void fiber_switch(Fiber *from, Fiber *to);
// To be called first in a fiber's entry; `first` is the stack that all fibers were entered from.
void fiber_entered(Fiber *first);
} // namespace emu
