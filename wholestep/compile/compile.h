// From a traced graph to a step that runs as one submission. compile.cpp is the list of passes; each pass is
// one file.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "wholestep/graph/graph.h"

namespace wholestep {

/// The passes can be switched off one by one; every combination gives the same bits. (But recompute, and on a
/// GPU squares, round the norm of the gradients elsewhere, in f64, pixel_sums rounds a gradient later, and
/// strips cut the sums of a convolution elsewhere.)
struct CompileOptions {
  Backend* backend = &cpu_backend();
  bool simplify = true;
  bool layout = true;
  bool fuse = true;
  bool pixel_sums = true;    ///< no activation for sums over pixels, where the backend has a kernel for it
  bool strips = true;        ///< samples shared out by rows through several convolutions, likewise
  bool pixels = true;        ///< pixels scaled where a first convolution reads them, likewise
  bool recompute = true;     ///< large weight gradients are made where they are read, not stored
  bool squares = true;       ///< gradients are squared where they are made
  bool reuse_memory = true;  ///< off, every value has memory of its own
  bool keep_stages = false;  ///< keep the graph after every pass, for inspection
  /// Run the calls of a step one at a time, waiting for each: slow, the same bits, and a fault of a device
  /// names its kernel.
  bool call_by_call = false;
};

struct Stage {
  std::string name;
  std::shared_ptr<const Graph> graph;
};

/// The kernel of one node, and why faster ones were not taken.
struct SelectedKernel {
  int node = -1;
  std::string name;
  std::vector<std::string> refusals;
  std::shared_ptr<const PreparedKernel> kernel;
};

/// Where the bytes of a step go. Parameters, state and constants are shared by all plans of a model.
struct MemoryReport {
  int64_t parameter_bytes = 0, state_bytes = 0, constant_bytes = 0;
  int64_t batch_bytes = 0;       ///< slots the host writes
  int64_t feed_bytes = 0;        ///< the batches after it, where a device is fed ahead of its steps
  int64_t activation_bytes = 0;  ///< values and workspaces, after reuse
  int64_t unshared_bytes = 0;    ///< the same without reuse
  int64_t bound_bytes = 0;       ///< the most bytes alive at one time: no plan of this schedule is smaller
  int64_t arena_bytes() const { return batch_bytes + activation_bytes; }
  int64_t total_bytes() const {
    return parameter_bytes + state_bytes + constant_bytes + feed_bytes + arena_bytes();
  }
};

struct ValuePlace {
  enum class In { kNowhere, kArena, kBound } in = In::kNowhere;
  int64_t offset = 0;    ///< in the arena
  int bound_value = -1;  ///< the graph input whose tensor it lies over
};

/// Everything about a step that is known before the first sample is read.
struct Plan {
  std::shared_ptr<const Graph> graph;  ///< after all passes, nodes in order of execution
  std::vector<Stage> stages;
  std::vector<SelectedKernel> kernels;    ///< per node
  std::vector<ScheduledKernel> schedule;  ///< per node
  std::vector<Span> spans;                ///< per node
  std::vector<ValuePlace> places;         ///< per value
  std::vector<int64_t> workspaces;        ///< per node: offset in the arena
  MemoryReport memory;
  Backend* backend = nullptr;
  bool call_by_call = false;
  double seconds = 0;  ///< time it took to make
};

/// `traced` is not changed.
Plan make_plan(std::shared_ptr<const Graph> traced, const CompileOptions& options = {});

/// The calls in an order in which they may run one at a time: that of their spans, because memory is shared
/// by spans, and a backend may run a call later than it stands in the schedule.
std::vector<size_t> call_order(const Plan& plan);

/// The plan's calls over arenas: 0 is the plan's own, then comes one for every input with a tensor, in order.
Program make_program(const Plan& plan);

/// Bytes of tensors packed one after another at 64-byte steps.
int64_t packed_bytes(std::span<const Tensor> tensors);
/// Moves the data of concrete tensors, wherever they lie, into one allocation, which every tensor sharing
/// their storage follows.
std::shared_ptr<Memory> pack(Backend& backend, std::span<const Tensor> tensors);

/// A plan with memory under it, ready to run.
class CompiledStep {
 public:
  /// `arena` has at least plan.memory.arena_bytes(); plans that never run at the same time may share one.
  /// Parameters, state and constants that do not lie on the plan's device are moved there.
  CompiledStep(Plan plan, std::shared_ptr<Memory> arena);
  explicit CompiledStep(Plan plan);

  const Plan& plan() const { return plan_; }
  // Batch inputs, written before run().
  int64_t input_bytes(const std::string& name) const;
  /// The slot where the host may write it, kUsage elsewhere.
  std::span<std::byte> input(const std::string& name) const;
  void write(const std::string& name, std::span<const std::byte> bytes) const;  ///< kUsage on another size
  void write(const std::string& name, const Tensor& value) const;               ///< checks dtype and shape
  /// The same for a Feed to write.
  BatchPiece piece(const std::string& name, std::span<const std::byte> bytes) const;
  /// `steps` times, with nothing from the host in between. kUsage where a parameter, state or constant was
  /// moved after the step was made, by a step for another device or by pack(): the step would not see it any
  /// more.
  void run(int64_t steps = 1);
  /// A copy of an output after run().
  Tensor output(const std::string& name) const;
  void read(const std::string& name, std::span<std::byte> host) const;  ///< the same without allocating
  /// An output's bytes where they lie, if the host may read them there; kUsage elsewhere.
  std::span<const std::byte> output_bytes(const std::string& name) const;
  int64_t barriers() const { return executable_->barriers(); }

  /// Runs the step kernel by kernel and names the first of the schedule whose result is not finite: "layers.3
  /// conv2d (its operands are finite)". Empty where all are finite. For a step that changed nothing because
  /// its updates were predicated on finiteness.
  std::string first_non_finite();
  /// Where the time of a step goes, as Executable::profile().
  std::vector<PhaseTime> profile() { return executable_->profile(); }

 private:
  std::byte* address(int value) const;
  std::span<std::byte> host_bytes(int value) const;
  const GraphInput& batch_input(const std::string& name) const;
  const GraphOutput& find_output(const std::string& name) const;
  Plan plan_;
  std::shared_ptr<Memory> arena_;
  std::vector<std::byte*> bases_;              // of the arena, then of every input that has a tensor
  std::vector<std::shared_ptr<Memory>> held_;  // under them
  std::vector<size_t> order_;
  int64_t moves_seen_ = 0;
  std::unique_ptr<Executable> executable_;
};

}  // namespace wholestep
