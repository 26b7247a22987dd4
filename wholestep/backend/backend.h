// The contract of a backend: memory, kernels that are prepared once and run many times, and a program of
// calls that is submitted as a whole. A backend sees operand types, attributes and addresses; it knows no
// graph.
#pragma once
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "wholestep/base/attrs.h"
#include "wholestep/base/shape.h"

namespace wholestep {

class Timeline;

/// Where memory, values in an arena and workspaces begin: multiples of a cache line, the widest vector.
constexpr int64_t kAlignment = 64;
/// `bytes` rounded up, so that what follows begins there too.
constexpr int64_t aligned(int64_t bytes) { return (bytes + kAlignment - 1) / kAlignment * kAlignment; }

/// What a kernel is asked to run: the op's name, operand types and attributes, and nothing about the machine.
struct KernelRequest {
  std::string_view op;
  std::span<const TensorType> inputs;
  std::span<const TensorType> outputs;
  const Attrs& attrs;
};

/// A kernel made ready for one request. Creating may be slow and may allocate; running does neither.
struct PreparedKernel {
  virtual ~PreparedKernel() = default;
  int64_t workspace_bytes = 0;  ///< scratch, valid during the call only, at a multiple of kAlignment
  bool in_place = false;        ///< an output may lie over an input of the same type
  /// If attribute squares asks for them: how many partial sums of the squares of all it makes, in f64, it
  /// gives as one more result. 0: it cannot.
  int64_t square_parts = 0;
  int64_t operand_square_parts = 0;  ///< the same of attribute operand_squares
  /// What Backend::run() keeps for the next time.
  mutable std::shared_ptr<const void> loaded = nullptr;
};

/// One implementation of one op on one backend. An op lists its kernels fastest first, the plain reference
/// last.
struct Kernel {
  std::string_view backend;  ///< "cpu", "cuda"
  std::string_view name;     ///< "reference", "direct", "onednn", ...
  std::string (*refuse)(const KernelRequest&) =
      nullptr;  ///< why not, or "" to accept; null accepts everything
  std::unique_ptr<PreparedKernel> (*prepare)(const KernelRequest&) = nullptr;
};

/// A place in one of a program's arenas.
struct BufferRef {
  int arena = 0;
  int64_t offset = 0;
};

/// One kernel and the values it reads and writes, numbered by the caller, before anything has an address.
struct ScheduledKernel {
  std::string label;  ///< "layers.0 conv2d", for traces and faults
  std::shared_ptr<const PreparedKernel> kernel;
  std::vector<int> inputs, outputs;
  std::vector<int>
      overwrites;     ///< values whose memory an output will take over: their other readers come first
  bool view = false;  ///< the output is the first operand under another shape: there is nothing to run
  int64_t turn = 0;   ///< calls of a later turn do not run beside it
};

/// How the phases of a schedule are placed in regions, see build_regions(). kInOrder: a phase joins the open
/// region or opens the next, so that calls run in the order of the schedule and values die young. kFewest: as
/// few regions as the dependencies allow, where a phase that others do not wait for runs as late as it may,
/// beside later work, and phases share a lane only where one needs the other. Phases of one chunk that need
/// each other share one either way.
enum class Placement { kInOrder, kFewest };

/// The stretch of a submission during which a kernel may be running. Kernels whose spans meet may run at the
/// same time, so their buffers must not share memory.
struct Span {
  int first = 0, last = 0;
  bool repeated = false;  ///< several lanes run it, each for itself: nothing lies over what it reads or makes
};

/// A scheduled kernel with its operands' places.
struct Call {
  ScheduledKernel kernel;
  std::vector<BufferRef> inputs, outputs;
  BufferRef workspace;
};

/// A step ready to load: calls in order, over arenas whose base addresses are given when the program is
/// loaded.
struct Program {
  std::vector<Call> calls;
  std::vector<int> outputs;  ///< values of the arena 0 that are read after a submission
};

/// Where the time of one submission goes.
struct PhaseTime {
  int region = 0;          ///< the stretch between two barriers it runs in
  std::string label = {};  ///< "layers.0 conv2d", or "" for the region as a whole
  std::string what = {};   ///< the function that runs, if it has a name
  int64_t blocks = 1;
  double microseconds = 0;  ///< of the region from start to end, or of one block of the phase
};

/// A loaded program. run() never allocates and never throws.
class Executable {
 public:
  virtual ~Executable() = default;
  /// Runs the program so many times, each after the one before: `steps` of them need nothing from the host
  /// between them, and go out as Backend::steps_per_submission() at once, the rest one by one.
  virtual void run(int64_t steps) = 0;
  /// Runs call `index` alone and waits for it: how a bad step is replayed to find its first bad op.
  virtual void run_call(size_t index) = 0;
  /// Runs the submission apart, region by region, and times it; empty where the backend cannot. Updates of
  /// state happen every time: for looking at a step, not for training on.
  virtual std::vector<PhaseTime> profile() { return {}; }
  /// How often the parts of one submission had to wait for each other (CPU: barriers; CUDA: graph nodes).
  virtual int64_t barriers() const = 0;
};

/// Bytes on a device, released with the object.
class Memory {
 public:
  virtual ~Memory() = default;
  std::byte* data() const { return data_; }
  int64_t bytes() const { return bytes_; }

 protected:
  std::byte* data_ = nullptr;
  int64_t bytes_ = 0;
};

/// Bytes of a batch, and their place on the device.
struct BatchPiece {
  std::byte* device = nullptr;
  std::span<const std::byte> host;
};

/// Brings batches to a device ahead of the submissions that read them, beside those that run.
class Feed {
 public:
  virtual ~Feed() = default;
  /// The next submission finds these pieces in their places. The host may change its bytes when this returns,
  /// which waits for nothing but a buffer that is still on its way.
  virtual void write(std::span<const BatchPiece> batch) = 0;
};

/// Counters a test or a report can read; they only grow.
struct BackendCounters {
  int64_t allocations = 0;
  int64_t bytes_in_use = 0;
  int64_t submissions = 0;  ///< each of one step, or of steps_per_submission(); on a GPU of an eager op too
  int64_t copied_in_bytes = 0;   ///< host to device
  int64_t copied_out_bytes = 0;  ///< device to host
};

class Backend {
 public:
  virtual ~Backend() = default;
  virtual std::string_view name() const = 0;
  /// Whether its memory is the host's, read and written through plain pointers.
  virtual bool host_memory() const { return false; }
  /// At a multiple of kAlignment, zero-filled. kPlanRefused where the device has not that much.
  virtual std::shared_ptr<Memory> allocate(int64_t bytes) = 0;
  /// Copies return when they are done.
  virtual void copy_in(std::byte* device, const std::byte* host, int64_t bytes) = 0;
  virtual void copy_out(std::byte* host, const std::byte* device, int64_t bytes) = 0;
  /// The same within the device, after everything that was asked for before.
  virtual void copy(std::byte* to, const std::byte* from, int64_t bytes) = 0;
  /// Runs one kernel: eager execution. `workspace` holds the kernel's workspace_bytes. May return before it
  /// is done: kernels and copies that follow come after it, and those that wait report what went wrong.
  virtual void run(const PreparedKernel& kernel, std::span<const void* const> inputs,
                   std::span<void* const> outputs, std::byte* workspace) = 0;
  /// How it cuts a schedule into regions.
  virtual Placement placement() const { return Placement::kInOrder; }
  /// When each kernel of a schedule may run, in order; what memory planning relies on. By default as
  /// build_regions() places them.
  virtual std::vector<Span> spans(std::span<const ScheduledKernel> schedule) const;
  virtual std::unique_ptr<Executable> load(const Program& program, std::span<std::byte* const> arenas) = 0;
  /// Who wants to look between steps asks for no more than this at once.
  virtual int64_t steps_per_submission() const { return 1; }
  /// How many batches a feed holds on the device besides the one in its place. 0: there are no feeds, and
  /// copy_in() to the place is all there is to do.
  virtual int64_t feed_depth() const { return 0; }
  /// For batches whose places lie in one stretch of at most `bytes`, apart from everything else.
  virtual std::unique_ptr<Feed> make_feed(int64_t /*bytes*/) { return nullptr; }
  /// Adds to `timeline`, until given null, what runs when. Never throws where it is given null.
  virtual void record(Timeline* /*timeline*/) {}
  virtual BackendCounters counters() const = 0;
};

Backend& cpu_backend();
/// Accepts every op, allocates address space only, counts and runs nothing: plans without a device.
Backend& null_backend();

}  // namespace wholestep
