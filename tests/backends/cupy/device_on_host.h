// Plays a CUDA device for generated kernels: one block at a time, a fiber for each thread of a block. A barrier hands
// over to the next thread, so that what is missing a barrier gives another result in another order of threads.
#pragma once
#include <algorithm>
#include <cmath>
#include <csetjmp>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <sys/mman.h>
#include <ucontext.h>
#include <utility>
#include <vector>
typedef unsigned char u8; typedef unsigned short u16; typedef unsigned int u32; typedef unsigned long long u64;
typedef signed char i8; typedef short i16; typedef int i32; typedef long long i64;
typedef float f32; typedef double f64;
#define __global__
#define __device__
#define __forceinline__ inline __attribute__((always_inline))
#define __launch_bounds__(...)
#define __shared__ static
#define FT_WARP 32

namespace device {
struct Size { unsigned x, y, z; };
enum State { READY, AT_BARRIER, AT_EXCHANGE, DONE };
struct Fiber { ucontext_t start; jmp_buf place; State state; bool started; Size index; };
const size_t STACK = 64 * 1024;
const int MOST = 1024;
static std::vector<Fiber> fibers;
static char* stacks = nullptr;
static jmp_buf scheduler;
static int current;
static void (*kernel)(void**);
static void** parameters;
static char failure[256];
static bool barrier_free;
static int order;
static u32 exchanged[MOST];
}  // namespace device
static device::Size gridDim, blockDim, blockIdx, threadIdx;

namespace device {
static void fail(const char* what) {
  if (!failure[0]) snprintf(failure, sizeof failure, "%s, in block %u, %u", what, blockIdx.x, blockIdx.y);
}
static void wait(State state) {
  if (barrier_free) { fail("threads wait for each other in a kernel that is said to do without"); return; }
  Fiber& fiber = fibers[current];
  fiber.state = state;
  if (!_setjmp(fiber.place)) _longjmp(scheduler, 1);
}
static void enter() {
  kernel(parameters);
  fibers[current].state = DONE;
  _longjmp(scheduler, 1);
}
static __attribute__((noinline)) void resume(int i) {
  Fiber& fiber = fibers[i];
  current = i;
  threadIdx = fiber.index;
  if (_setjmp(scheduler)) return;
  if (fiber.started) _longjmp(fiber.place, 1);
  fiber.started = true;
  setcontext(&fiber.start);
}
static u32 exchange(u32 word, int from) {
  exchanged[current] = word;
  wait(AT_EXCHANGE);
  const u32 other = exchanged[(current & ~31) + from];
  wait(AT_EXCHANGE);
  return other;
}
static void run_block(int threads) {
  for (int i = 0; i < threads; ++i) {
    Fiber& fiber = fibers[i];
    fiber.state = READY;
    fiber.started = false;
    fiber.index = {i % blockDim.x, i / blockDim.x % blockDim.y, i / (blockDim.x * blockDim.y)};
    getcontext(&fiber.start);
    fiber.start.uc_stack.ss_sp = stacks + STACK * i;
    fiber.start.uc_stack.ss_size = STACK;
    fiber.start.uc_link = nullptr;
    makecontext(&fiber.start, enter, 0);
  }
  std::vector<int> turns(threads);
  for (int i = 0; i < threads; ++i) turns[i] = order == 1 ? threads - 1 - i : i;
  u32 random = (u32)order * 2654435761u + 1u;
  while (!failure[0]) {
    if (order > 1) {
      for (int i = threads - 1; i > 0; --i) {
        random = random * 1664525u + 1013904223u;
        std::swap(turns[i], turns[(random >> 8) % (i + 1)]);
      }
    }
    for (int i : turns) {
      if (fibers[i].state == READY) resume(i);
      if (failure[0]) return;
    }
    bool moved = false;
    for (int first = 0; first < threads; first += 32) {
      const int end = std::min(threads, first + 32);
      int waiting = 0;
      for (int i = first; i < end; ++i) waiting += fibers[i].state == AT_EXCHANGE;
      if (!waiting) continue;
      if (waiting != end - first) { fail("some threads of a warp exchange values and others do not"); return; }
      for (int i = first; i < end; ++i) fibers[i].state = READY;
      moved = true;
    }
    if (moved) continue;
    int done = 0, waiting = 0;
    for (int i = 0; i < threads; ++i) {
      done += fibers[i].state == DONE;
      waiting += fibers[i].state == AT_BARRIER;
    }
    if (done == threads) return;
    if (waiting != threads) { fail("some threads of a block wait at a barrier and others have ended"); return; }
    for (int i = 0; i < threads; ++i) fibers[i].state = READY;
  }
}
template <class... A, size_t... I> static void apply(void (*f)(A...), void** p, std::index_sequence<I...>) {
  f(*(typename std::remove_cv<A>::type*)p[I]...);
}
template <class... A> static void apply(void (*f)(A...), void** p) { apply(f, p, std::index_sequence_for<A...>{}); }
}  // namespace device

static inline void __syncthreads() { device::wait(device::AT_BARRIER); }
#define FT_SHUFFLE_XOR(word, mask) device::exchange((word), (device::current & 31) ^ (mask))
#define FT_SHUFFLE_UP(word, by) device::exchange((word), std::max((device::current & 31) - (by), 0))
#define FT_EXPORT(k) \
  extern "C" void k##_enter(void** p) { device::apply(k, p); }

// Gives what went wrong, or null.
extern "C" const char* device_launch(
    void (*enter)(void**), unsigned gx, unsigned gy, unsigned bx, unsigned by, void** p, int barrier_free, int order) {
  using namespace device;
  const int threads = bx * by;
  failure[0] = 0;
  kernel = enter;
  parameters = p;
  device::barrier_free = barrier_free;
  device::order = order;
  gridDim = {gx, gy, 1};
  blockDim = {bx, by, 1};
  if (threads > MOST) return "a block has more than 1024 threads";
  if (gy > 65535) return "the grid is longer than 65535 along y";
  if (!stacks) {
    stacks = (char*)mmap(nullptr, STACK * MOST, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    fibers.resize(MOST);
  }
  for (unsigned y = 0; y < gy; ++y) {
    for (unsigned n = 0; n < gx; ++n) {
      blockIdx = {order == 1 ? gx - 1 - n : n, y, 0};
      if (!barrier_free) {
        run_block(threads);
      } else {
        for (int i = 0; i < threads; ++i) {
          current = i;
          threadIdx = {i % bx, i / bx, 0};
          enter(p);
        }
      }
      if (failure[0]) return failure;
    }
  }
  return nullptr;
}
