// SPDX-License-Identifier: Apache-2.0
#include "tests/cuda/emulator/fibers.hpp"

#include <cstdio>
#include <cstdlib>
#include <deque>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#if !defined(__x86_64__)
#error "the emulator switches between fibers in x86-64 assembly"
#endif

// void smx_switch_fiber(void** save_here, void* resume_there): callee-saved registers of the System V ABI.
asm(R"(
.text
.globl smx_switch_fiber
.type smx_switch_fiber, @function
smx_switch_fiber:
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
.size smx_switch_fiber, .-smx_switch_fiber
)");
extern "C" void smx_switch_fiber(void** save, void* resume);

namespace emulator {
namespace {

constexpr std::size_t stack_bytes = std::size_t{128} << 10;

enum class state : char { ready, at_cluster, at_block, at_warp, done };

struct copy {
  void* to;
  void const* from;
  std::size_t bytes;
  int group;
};

struct fiber {
  std::unique_ptr<std::byte[]> stack;
  void* saved = nullptr;
  state is = state::done;
  dim3 thread;
  int parity = 0;
  bool polls = false;
  unsigned arrived = 0;  // barriers of the cluster
  std::vector<copy> copies;
  int groups = 0;
};

struct warp {
  alignas(16) std::byte slots[2][32][16];
};

struct block {
  dim3 index;
  std::vector<std::byte> shared;
  std::byte* shared_start = nullptr;
  std::vector<warp> warps;
  bool any[2] = {false, false};
  int any_turn = 0;
};

struct machine {
  std::vector<fiber> fibers;  // of a cluster, block by block
  std::vector<block> blocks;
  std::size_t threads = 0;  // of a block
  void* scheduler = nullptr;
  position now;
  std::size_t running = 0;
  unsigned cluster_barriers = 0;  // that all have reached
  std::size_t at_next_barrier = 0;
  void (*body)(void const*) = nullptr;
  void const* context = nullptr;

  fiber& own_fiber() { return fibers[running]; }
  std::size_t own_rank() const { return running / threads; }
  block& own_block() { return blocks[own_rank()]; }
  std::size_t own_thread() const { return running % threads; }
};
machine m;

void leave(state why) {
  fiber& f = m.own_fiber();
  f.is = why;
  smx_switch_fiber(&f.saved, m.scheduler);
}

void enter() {
  m.body(m.context);
  leave(state::done);
  std::abort();  // nobody resumes a finished thread
}

void prepare(fiber& f) {
  if (!f.stack) f.stack = std::make_unique<std::byte[]>(stack_bytes);
  auto top = reinterpret_cast<std::uintptr_t>(f.stack.get() + stack_bytes) & ~std::uintptr_t{63};
  auto* words = reinterpret_cast<void**>(top);
  *--words = nullptr;  // a return address that is never used keeps the ABI's alignment
  *--words = reinterpret_cast<void*>(&enter);
  for (int i = 0; i < 6; ++i) *--words = nullptr;
  f.saved = words;
  f.is = state::ready;
  f.parity = 0;
  f.arrived = 0;
  f.copies.clear();
  f.groups = 0;
}

[[noreturn]] void stuck() {
  std::size_t count[5] = {};
  for (std::size_t i = 0; i < m.threads * m.blocks.size(); ++i)
    ++count[static_cast<std::size_t>(m.fibers[i].is)];
  std::fprintf(
      stderr,
      "emulator: threads wait for ever: %zu at a barrier of their cluster, %zu at __syncthreads, %zu at a "
      "barrier of their warp, %zu poll, %zu done\n",
      count[1], count[2], count[3], count[0], count[4]);
  std::abort();
}

/// Lets go the threads of block `rank` that wait for nobody any more; whether there are any.
bool release_waiting(std::size_t rank) {
  bool moved = false, whole = true;
  std::size_t const first = rank * m.threads, last = first + m.threads;
  for (std::size_t w = first; w < last; w += 32) {
    std::size_t const end = w + 32 < last ? w + 32 : last;
    bool all = true;
    for (std::size_t i = w; i < end; ++i) {
      state const is = m.fibers[i].is;
      all = all && (is == state::at_warp || is == state::done);
      whole = whole && (is == state::at_block || is == state::done);
      if (is == state::at_cluster && m.fibers[i].arrived <= m.cluster_barriers)
        m.fibers[i].is = state::ready, moved = true;
    }
    if (!all) continue;
    for (std::size_t i = w; i < end; ++i)
      if (m.fibers[i].is == state::at_warp) m.fibers[i].is = state::ready, moved = true;
  }
  if (!whole) return moved;
  block& b = m.blocks[rank];
  b.any_turn ^= 1;
  b.any[b.any_turn] = false;
  for (std::size_t i = first; i < last; ++i)
    if (m.fibers[i].is == state::at_block) m.fibers[i].is = state::ready, moved = true;
  return moved;
}

/// What the threads of a block did: more than poll, or that.
struct round {
  bool moved = false, polled = false;
};
round run_ready(std::size_t rank, std::size_t& left) {
  round r;
  for (std::size_t i = rank * m.threads; i < (rank + 1) * m.threads; ++i) {
    fiber& f = m.fibers[i];
    if (f.is != state::ready) continue;
    m.running = i;
    m.now.thread = f.thread;
    m.now.block = m.own_block().index;
    f.polls = false;
    smx_switch_fiber(&m.scheduler, f.saved);
    r.moved = r.moved || !f.polls;
    r.polled = r.polled || f.polls;
    if (f.is == state::done) --left;
  }
  return r;
}

/// Each block runs as far as it can before the next one does: it may not count on the others to keep up.
void run_cluster() {
  std::size_t const threads = m.threads * m.blocks.size();
  std::size_t left = threads;
  for (std::size_t i = 0; i < threads; ++i) prepare(m.fibers[i]);
  for (block& b : m.blocks) b.any[0] = b.any[1] = false, b.any_turn = 0;
  m.cluster_barriers = 0, m.at_next_barrier = 0;
  int idle = 0;  // rounds in which threads did nothing but poll
  while (left > 0) {
    bool moved = false, polled = false;
    for (std::size_t b = 0; b < m.blocks.size(); ++b)
      for (bool again = true; again && left > 0;) {
        round const r = run_ready(b, left);
        again = release_waiting(b) || r.moved;
        moved = moved || again;
        polled = polled || r.polled;
      }
    idle = moved ? 0 : idle + 1;
    if (left > 0 && !moved && (!polled || idle > 2)) stuck();
  }
}

}  // namespace

position const& here() { return m.now; }
int lane() { return static_cast<int>(m.own_thread() % 32); }
void wait_for_block() { leave(state::at_block); }
void wait_for_warp() { leave(state::at_warp); }
void arrive_at_cluster() {
  m.own_fiber().arrived = m.cluster_barriers + 1;
  if (++m.at_next_barrier < m.threads * m.blocks.size()) return;
  m.at_next_barrier = 0;
  ++m.cluster_barriers;
}
void wait_for_cluster() {
  if (m.own_fiber().arrived > m.cluster_barriers) leave(state::at_cluster);
}
void poll_again() {
  m.own_fiber().polls = true;
  leave(state::ready);
}
int thread_number() { return static_cast<int>(m.own_thread()); }
bool block_any(bool yes) {
  block& b = m.own_block();
  int const turn = b.any_turn;
  b.any[turn] = b.any[turn] || yes;
  wait_for_block();
  return b.any[turn];
}
std::byte (*next_slots())[16] {
  fiber& f = m.own_fiber();
  f.parity ^= 1;
  return m.own_block().warps[m.own_thread() / 32].slots[f.parity];
}
unsigned votes(bool yes) {
  auto* const slots = next_slots();
  std::size_t const first = m.own_thread() / 32 * 32;
  slots[lane()][0] = std::byte{yes};
  wait_for_warp();
  unsigned all = 0;
  for (std::size_t l = 0; l < 32 && first + l < m.threads; ++l)
    if (m.fibers[m.own_rank() * m.threads + first + l].is != state::done && slots[l][0] != std::byte{0})
      all |= 1u << l;
  return all;
}
std::byte* shared_memory() { return m.own_block().shared_start; }
unsigned block_of_cluster() { return static_cast<unsigned>(m.own_rank()); }
std::byte* in_block(std::byte* own, unsigned rank) {
  return m.blocks.at(rank).shared_start + (own - m.own_block().shared_start);
}

namespace {
// Never destroyed: backends with static storage give their streams back after main.
std::map<void const*, std::deque<std::function<void()>>>& streams() {
  static auto& all = *new std::map<void const*, std::deque<std::function<void()>>>;
  return all;
}
}  // namespace
void* new_stream() {
  static std::uintptr_t last = 16;
  return reinterpret_cast<void*>(++last);
}
void enqueue(void const* stream, std::function<void()> work) { streams()[stream].push_back(std::move(work)); }
void finish(void const* stream) {
  auto& queue = streams()[stream];
  while (!queue.empty()) {
    auto const work = std::move(queue.front());
    queue.pop_front();
    work();
  }
}
void finish_all() {
  for (auto& [stream, queue] : streams()) finish(stream);
}

void later_copy(void* to, void const* from, std::size_t bytes) {
  fiber& f = m.own_fiber();
  f.copies.push_back({to, from, bytes, f.groups});
}
void close_copies() { ++m.own_fiber().groups; }
void finish_copies(int left) {
  fiber& f = m.own_fiber();
  std::size_t kept = 0;
  for (copy const& c : f.copies)
    if (c.group < f.groups - left) {
      if (c.from != nullptr)
        std::memcpy(c.to, c.from, c.bytes);
      else
        std::memset(c.to, 0, c.bytes);
    } else {
      f.copies[kept++] = c;
    }
  f.copies.resize(kept);
}

int block_bytes() {
  static int const bytes = [] {
    char const* const kib = std::getenv("SMX_EMULATED_BLOCK_KIB");
    return (kib != nullptr ? std::atoi(kib) : 227) << 10;
  }();
  return bytes;
}

void run(dim3 grid, dim3 block, std::size_t shared_bytes, unsigned cluster, void (*body)(void const*),
         void const* context) {
  std::size_t const threads = std::size_t{block.x} * block.y * block.z;
  if (threads == 0 || threads > 1024 || grid.x == 0 || grid.y == 0 || grid.z == 0 || grid.y > 65535 ||
      grid.z > 65535 || shared_bytes > static_cast<std::size_t>(block_bytes()) || cluster == 0 ||
      cluster > 8 || grid.x % cluster != 0) {
    std::fprintf(stderr,
                 "emulator: no such launch: grid (%u,%u,%u), block (%u,%u,%u), clusters of %u, %zu bytes "
                 "shared\n",
                 grid.x, grid.y, grid.z, block.x, block.y, block.z, cluster, shared_bytes);
    std::abort();
  }
  m.threads = threads;
  m.body = body, m.context = context;
  m.now.block_size = block, m.now.grid_size = grid;
  if (m.fibers.size() < threads * cluster) m.fibers.resize(threads * cluster);
  m.blocks.resize(cluster);
  for (auto& b : m.blocks) {
    if (b.warps.size() * 32 < threads) b.warps.resize((threads + 31) / 32);
    b.shared.resize(shared_bytes + 128);
    b.shared_start = b.shared.data() + (128 - reinterpret_cast<std::uintptr_t>(b.shared.data()) % 128) % 128;
  }
  std::size_t at = 0;
  for (unsigned rank = 0; rank < cluster; ++rank)
    for (unsigned z = 0; z < block.z; ++z)
      for (unsigned y = 0; y < block.y; ++y)
        for (unsigned x = 0; x < block.x; ++x) m.fibers[at++].thread = dim3(x, y, z);
  for (unsigned z = 0; z < grid.z; ++z)
    for (unsigned y = 0; y < grid.y; ++y)
      for (unsigned x = 0; x < grid.x; x += cluster) {
        for (unsigned rank = 0; rank < cluster; ++rank) {
          m.blocks[rank].index = dim3(x + rank, y, z);
          // what nobody wrote is no number
          std::memset(m.blocks[rank].shared_start, 0xFB, shared_bytes);
        }
        run_cluster();
      }
}

}  // namespace emulator
