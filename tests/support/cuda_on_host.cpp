#include "support/cuda_on_host.h"

#include <dlfcn.h>
#include <fmt/format.h>
#include <setjmp.h>
#include <ucontext.h>

#include <cstring>
#include <fstream>
#include <functional>
#include <stdexcept>
#include <vector>

#include "wholestep/backend/cuda/call.h"

namespace wholestep::test {
namespace {

constexpr size_t kThreads = kCudaThreads, kStackBytes = size_t{256} * 1024;

/// The threads of one block at a time. A fiber begins by swapcontext(), which asks the kernel of the system
/// for its signal mask; from then on it is left and entered by jumps, which do not.
class Block {
 public:
  void run(const std::function<void()>& kernel, unsigned* thread) {
    kernel_ = &kernel;
    everyone_ = {.alive = kThreads};
    warps_.assign(kThreads / 32, {.alive = 32});
    fibers_.assign(kThreads, {});
    current = this;
    while (everyone_.alive > 0) {
      moved_ = false;
      for (running_ = 0; running_ < kThreads; ++running_) {
        Fiber& fiber = fibers_[running_];
        if (fiber.ended || (fiber.at && fiber.at->passed == fiber.seen)) continue;
        moved_ = true;
        *thread = static_cast<unsigned>(running_);
        enter(fiber);
      }
      if (!moved_) throw std::runtime_error("threads of a block wait at different barriers");
    }
  }
  static void wait_for_block() { current->wait(current->everyone_); }
  static void wait_for_warp() { current->wait(current->warps_[current->running_ / 32]); }

 private:
  struct Barrier {
    size_t alive = 0, arrived = 0, passed = 0;
    void leave_if_complete() {
      if (arrived > 0 && arrived == alive) arrived = 0, ++passed;
    }
  };
  struct Fiber {
    jmp_buf left = {};
    Barrier* at = nullptr;
    size_t seen = 0;  ///< how often the barrier had been passed then
    bool begun = false, ended = false;
  };

  void enter(Fiber& fiber) {
    if (_setjmp(scheduler_) != 0) return;
    if (fiber.begun) _longjmp(fiber.left, 1);
    fiber.begun = true;
    ucontext_t beginning, here;
    getcontext(&beginning);
    beginning.uc_stack = {.ss_sp = &stacks_[running_ * kStackBytes], .ss_flags = 0, .ss_size = kStackBytes};
    beginning.uc_link = nullptr;
    makecontext(
        &beginning, [] { current->begin(); }, 0);
    swapcontext(&here, &beginning);
  }
  void begin() {
    (*kernel_)();
    const size_t self = running_;
    fibers_[self].ended = true;
    for (Barrier* barrier : {&everyone_, &warps_[self / 32]}) --barrier->alive, barrier->leave_if_complete();
    _longjmp(scheduler_, 1);
  }
  void wait(Barrier& barrier) {
    Fiber& self = fibers_[running_];
    self.at = &barrier, self.seen = barrier.passed;
    ++barrier.arrived;
    barrier.leave_if_complete();
    if (_setjmp(self.left) == 0) _longjmp(scheduler_, 1);
    fibers_[running_].at = nullptr;
  }

  static inline Block* current = nullptr;
  std::unique_ptr<char[]> stacks_ = std::make_unique_for_overwrite<char[]>(kThreads * kStackBytes);
  std::vector<Fiber> fibers_;
  std::vector<Barrier> warps_;
  Barrier everyone_;
  jmp_buf scheduler_ = {};
  const std::function<void()>* kernel_ = nullptr;
  size_t running_ = 0;
  bool moved_ = false;
};

}  // namespace

std::string no_cuda_on_host() {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  return "a sanitizer that does not know fibers";
#else
  return "";
#endif
}

constexpr int64_t kShared = 232448;  // what a block has on sm_90

CudaOnHost::CudaOnHost(const CudaSource& source) : source_(source) {
  if (!source_.library_steps.empty()) throw std::runtime_error("libraries of CUDA do not run on the host");
  const std::filesystem::path folder = folder_.path(),
                              words = WHOLESTEP_SOURCE_DIR "/tests/support/host_cuda";
  for (const CudaHeader& header : cuda_headers())
    std::ofstream(folder / header.name)
        << (header.name == "ptx.cuh" ? read_file(words / "ptx.cuh") : header.text);
  {
    std::ofstream text(folder / "step.cpp");
    text << fmt::format(
                "#define WHOLESTEP_CUDA_THREADS {}\n#define WHOLESTEP_CUDA_ROW_CHUNKS {}\n"
                "#define WHOLESTEP_CUDA_SHARED {}\n",
                kCudaThreads, kCudaRowChunks, kShared)
         << read_file(words / "words.h") << source_.text;
    for (const CudaKernelSource& kernel : source_.kernels) {
      std::string arguments;
      for (size_t i = 0; i < kernel.arenas.size(); ++i)
        arguments += fmt::format("{}a[{}]", i > 0 ? ", " : "", i);
      text << fmt::format("extern \"C\" void run_{0}(char** a) {{ {0}({1}); }}\n", kernel.name, arguments);
    }
  }
  const std::string command = fmt::format(
      "cd '{}' && '{}' -std=gnu++20 -O1 -w -fpermissive -fno-strict-aliasing -ffp-contract=off -fPIC "
      "-shared step.cpp -o step.so 2> log",
      folder.string(), WHOLESTEP_CXX_COMPILER);
  if (std::system(command.c_str()) != 0) throw std::runtime_error(read_file(folder / "log").substr(0, 4000));
  library_ = dlopen((folder / "step.so").c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!library_) throw std::runtime_error(dlerror());
}
CudaOnHost::~CudaOnHost() {
  if (library_) dlclose(library_);
}

void CudaOnHost::run(std::span<std::byte* const> arenas) const {
  auto symbol = [&](const std::string& name) {
    void* at = dlsym(library_, name.c_str());
    if (!at) throw std::runtime_error(dlerror());
    return at;
  };
  auto *thread = static_cast<unsigned*>(symbol("threadIdx")),
       *block_index = static_cast<unsigned*>(symbol("blockIdx"));
  auto* shared = static_cast<char*>(symbol("shared"));
  *static_cast<void (**)()>(symbol("wait_for_block")) = &Block::wait_for_block;
  *static_cast<void (**)()>(symbol("wait_for_warp")) = &Block::wait_for_warp;
  Block block;
  for (const CudaKernelSource& kernel : source_.kernels) {
    auto call = reinterpret_cast<void (*)(char**)>(symbol("run_" + kernel.name));
    std::vector<char*> arguments;
    for (int arena : kernel.arenas)
      arguments.push_back(reinterpret_cast<char*>(arenas[static_cast<size_t>(arena)]));
    for (unsigned i = 0; i < kernel.blocks; ++i) {
      *block_index = i;
      std::memset(shared, 0xff, static_cast<size_t>(kernel.shared_bytes));  // nobody has written it: NaNs
      std::memset(shared + kernel.shared_bytes, 0x5a, static_cast<size_t>(kShared - kernel.shared_bytes));
      block.run([&] { call(arguments.data()); }, thread);
      if (std::any_of(shared + kernel.shared_bytes, shared + kShared, [](char c) { return c != 0x5a; }))
        throw std::runtime_error(kernel.name + " writes behind its shared memory");
    }
  }
}

}  // namespace wholestep::test
