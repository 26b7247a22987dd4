#include "wholestep/backend/cuda/region_source.h"

#include <fmt/format.h>

#include <algorithm>
#include <ranges>
#include <set>

#include "wholestep/backend/cuda/lane_memory.h"

namespace wholestep {
namespace {

/// A kernel of so few blocks may be over before the next one's have come in, and leaves room for them to
/// wait.
constexpr int64_t kFewLanes = 16;
/// From so many bytes on the copy engine is worth its start.
constexpr int64_t kStoreAtOnce = 8192;
/// What the halves of a multiprocessor's shared memory have that lanes leave free.
constexpr int64_t kMoreThanHalf = 6 * 1024;

const CudaCall& cuda_of(const Call& call) { return dynamic_cast<const CudaCall&>(*call.kernel.kernel); }

class Writer {
 public:
  /// `chained`: the kernels run as a graph whose edges let a kernel in while the one before ends.
  Writer(const Program& program, bool chained, std::vector<CudaStep>* timed = nullptr)
      : program_(program), chained_(chained), timed_(timed) {}

  CudaSource write(const Regions& regions) {
    if (chained_ && begins_early(regions)) patient_ = &regions.regions.back();
    auto pass = [&](const Region& region) {
      if (!chained_ || region.lanes == 0) return;
      std::vector<Written> written = written_by(program_, region);
      if (lets_in_at_once(region) && written_before_)
        written.insert(written.end(), written_before_->begin(), written_before_->end());
      written_before_ = std::move(written);
    };
    for (const Region& region : regions.regions) pass(region);  // the last one comes before the first
    for (const Region& region : regions.regions) write_region(region), pass(region), ++region_;
    std::string head = "#include \"prelude.cuh\"\n";
    for (const std::string& header : headers_) head += fmt::format("#include \"{}\"\n", header);
    for (const std::string& definition : definitions_) head += definition;
    source_.text = head + text_;
    return std::move(source_);
  }

 private:
  bool lets_in_at_once(const Region& region) const {
    return region.lanes <= kFewLanes && &region != patient_;
  }
  /// Whether lanes that begin a step have something to do while the step before ends, if what they read was
  /// written before its last region.
  bool begins_early(const Regions& regions) const {
    if (regions.regions.size() < 3) return false;
    const std::vector<Written> written = written_by(program_, regions.regions.back());
    const Region& front = regions.regions.front();
    return std::ranges::any_of(std::views::iota(size_t{0}, front.lane_sets.size()), [&](size_t set) {
      return front.lane_sets[set].chunks > 0 &&
             plan_lane_memory(program_, front, set, written, cuda_lane_bytes()).early_steps > 0;
    });
  }

  void write_region(const Region& region) {
    CudaKernelSource kernel{
        .region = region_, .name = fmt::format("region_{}", source_.kernels.size()), .arenas = {}};
    std::set<int> arenas;
    std::string body;
    int64_t widest = 0, together = 1;  // as the lane set of most blocks wants it
    for (size_t s = 0; s < region.lane_sets.size(); ++s) {
      const LaneSet& set = region.lane_sets[s];
      if (set.chunks == 0) continue;
      if (phase_of(set.steps[0]).library) {
        add_library_step(set.steps[0]);
        continue;
      }
      if (set.chunks > widest) widest = set.chunks, together = together_of(set);
      const std::set<int> awaited = awaited_steps(region, s);
      const LaneMemory memory =
          plan_lane_memory(program_, region, s, written_before_,
                           region.lanes <= kLanesAlone ? cuda_lane_bytes() : kCudaSharedWithOthers);
      kernel.shared_bytes = std::max(kernel.shared_bytes, memory.shared_bytes);
      body += fmt::format("  if (block < {}) {{\n    const Lane lane{{block{}, shared}};\n",
                          kernel.blocks + set.chunks,
                          kernel.blocks > 0 ? fmt::format(" - {}", kernel.blocks) : "");
      const std::string progress = progress_of(set.beside >= 0 ? set.beside : static_cast<int>(s));
      if (!awaited.empty())
        definitions_.push_back(fmt::format("__device__ unsigned {}[{}];\n", progress, set.chunks));
      const std::string early = write_fetches(memory, true, arenas) +
                                write_work(set, memory, 0, memory.early_steps, awaited, progress, arenas),
                        work = write_fetches(memory, false, arenas) +
                               write_waiting_stores(set, memory, arenas) +
                               write_work(set, memory, memory.early_steps, set.steps.size(), awaited,
                                          progress, arenas, waiting_stores_at_once(set, memory));
      const char *wait = "    wait_for_earlier_kernels();\n", *let_in = "    let_next_kernel_in();\n";
      const bool few = lets_in_at_once(region);
      body += (few ? let_in : "") + early + wait + (few ? "" : let_in) + work + "    return;\n  }\n";
      kernel.blocks += set.chunks;
    }
    if (kernel.blocks == 0) return;
    // With more than half of a multiprocessor's memory no two lanes crowd on one while others are idle.
    if (chained_ && region.lanes <= kLanesAlone && 2 * region.lanes > kLanesAlone &&
        kernel.shared_bytes > kCudaSharedWithOthers)
      kernel.shared_bytes = std::max(kernel.shared_bytes, cuda_lane_bytes() / 2 + kMoreThanHalf);
    kernel.arenas.assign(arenas.begin(), arenas.end());
    std::string parameters;
    for (int arena : kernel.arenas)
      parameters += fmt::format("{}char* a{}", parameters.empty() ? "" : ", ", arena);
    if (timed_) parameters += fmt::format("{}uint64_t* times", parameters.empty() ? "" : ", ");
    text_ += fmt::format(
        "extern \"C\" __global__ void __launch_bounds__(kThreads{}) {}({}) {{\n"
        "  extern __shared__ __align__(128) char shared[];\n"
        "  const int64_t block = blockIdx.x;\n{}}}\n",
        together > 1 ? fmt::format(", {}", together) : "", kernel.name, parameters, body);
    source_.kernels.push_back(std::move(kernel));
  }

  void add_library_step(const LaneSet::Step& step) {
    using In = LibraryPlace::In;
    const Call& call = call_of(step);
    const LibraryCall& of = *phase_of(step).library;
    auto place = [&](const LibraryPlace& at) {
      BufferRef ref = call.workspace;
      if (at.in == In::kInput) ref = call.inputs[static_cast<size_t>(at.index)];
      if (at.in == In::kOutput) ref = call.outputs[static_cast<size_t>(at.index)];
      ref.offset += at.offset;
      return ref;
    };
    const LibraryPlaces& at = places(of);
    source_.library_steps.push_back({region_, call.kernel.label, of, place(at.a), place(at.b), place(at.bias),
                                     place(at.d), place(at.scratch)});
  }

  /// A variable for every lane of a set: how far it has come.
  std::string progress_of(int lane_set) const {
    return fmt::format("progress_{}_{}", source_.kernels.size(), lane_set);
  }

  std::string write_fetches(const LaneMemory& memory, bool early, std::set<int>& arenas) {
    std::string text;
    for (const LaneMemory::Fetch& fetch : memory.fetches)
      if (fetch.early == early)
        text += fmt::format("    fetch<{}>(shared + {}, {}{});\n", fetch.bytes, fetch.to,
                            address(fetch.from, arenas),
                            fetch.by_lane ? fmt::format(" + {} * {}", part(fetch.sharers), fetch.bytes) : "");
    return text;
  }

  /// Steps [begin, end) of a lane, telling or waiting for the lane beside it. `storing`: the copy engine may
  /// still read what was made before them.
  std::string write_work(const LaneSet& set, const LaneMemory& memory, size_t begin, size_t end,
                         const std::set<int>& awaited, const std::string& progress, std::set<int>& arenas,
                         bool storing = false) {
    std::string text;
    const auto fetches = std::ranges::count_if(memory.fetches, [&](const LaneMemory::Fetch& fetch) {
      return fetch.early || end > memory.early_steps;  // that are under way
    });
    bool engine_stored = storing;
    int seen = -1, last = -1;
    for (const LaneSet::Step& step : set.steps) last = std::max(last, step.after);
    for (size_t i = begin; i < end; ++i) {
      if (memory.steps[i].fetches > 0)
        text += fmt::format("    arrived<{}>();\n", fetches - memory.steps[i].fetches);
      if (i > begin && storing) text += "    stores_read();\n", storing = false;
      const bool told = awaited.contains(static_cast<int>(i) - 1);
      std::string stores;
      if (i > memory.early_steps) {
        // The lane beside is told of what is stored at once, so that the copy engine would only be waited
        // for.
        const bool at_once = !told && stores_at_once(set, i - 1, memory);
        if (at_once) text += "    ready_to_store();\n", storing = engine_stored = true;
        stores = write_stores(set, i - 1, memory, at_once, arenas);
      }
      if (i > 0 || memory.steps[i].fetches > 0) text += "    __syncthreads();\n";
      text += stores;
      if (told) {
        if (engine_stored) text += "    stores_done();\n";
        if (engine_stored || !stores.empty()) text += "    __syncthreads();\n";
        text += fmt::format("    tell({} + lane.chunk, {});\n", progress, i);
      }
      if (int after = set.steps[i].after; after > seen) {
        text += fmt::format("    wait_for({} + lane.chunk, {});\n", progress, after + 1);
        seen = after;
        if (seen == last) text += fmt::format("    if (threadIdx.x == 0) {}[lane.chunk] = 0;\n", progress);
      }
      const bool timed = timed_ && is_first(set.steps[i]);
      if (timed) {
        timed_->push_back(
            {region_, call_of(set.steps[i]).kernel.label, function_of(set, set.steps[i]), set.chunks});
        text += stamp(2 * (timed_->size() - 1));
      }
      text += write_step(set, set.steps[i], memory.steps[i], arenas);
      if (timed) text += "    __syncthreads();\n" + stamp(2 * timed_->size() - 1);
    }
    return text + (storing ? "    stores_read();\n" : "");
  }

  bool waiting_stores_at_once(const LaneSet& set, const LaneMemory& memory) const {
    return std::ranges::any_of(std::views::iota(size_t{0}, memory.early_steps),
                               [&](size_t step) { return stores_at_once(set, step, memory); });
  }
  /// Of what early steps have made.
  std::string write_waiting_stores(const LaneSet& set, const LaneMemory& memory, std::set<int>& arenas) {
    std::string stores;
    for (size_t i = 0; i < memory.early_steps; ++i) stores += write_stores(set, i, memory, true, arenas);
    if (stores.empty()) return stores;
    return (waiting_stores_at_once(set, memory) ? "    ready_to_store();\n" : "") +
           std::string("    __syncthreads();\n") + stores;
  }

  const Call& call_of(const LaneSet::Step& step) const {
    return program_.calls[static_cast<size_t>(step.call)];
  }
  const CudaPhase& phase_of(const LaneSet::Step& step) const {
    return cuda_of(call_of(step)).phases[static_cast<size_t>(step.phase)];
  }
  const std::string& function_of(const LaneSet& set, const LaneSet::Step& step) const {
    return set.alone && !step.again ? phase_of(step).alone.run : phase_of(step).run;
  }
  int64_t together_of(const LaneSet& set) const {
    int64_t together = phase_of(set.steps[0]).together;
    for (const LaneSet::Step& step : set.steps) together = std::min(together, phase_of(step).together);
    return together;
  }
  /// Whether no lane set before has the step, too.
  bool is_first(const LaneSet::Step& step) { return timed_steps_.insert({step.call, step.phase}).second; }
  static std::string stamp(size_t place) {
    return fmt::format("    if (lane.chunk == 0 && threadIdx.x == 0) times[{}] = clock64();\n", place);
  }
  static std::string address(BufferRef ref, std::set<int>& arenas) {
    arenas.insert(ref.arena);
    return fmt::format("a{} + {}", ref.arena, ref.offset);
  }

  std::string write_step(const LaneSet& set, const LaneSet::Step& step, const LaneMemory::Step& places,
                         std::set<int>& arenas) {
    const Call& call = call_of(step);
    const CudaCall& kernel = cuda_of(call);
    const CudaPhase& phase = phase_of(step);
    for (const std::string& header : kernel.headers)
      if (std::ranges::find(headers_, header) == headers_.end()) headers_.push_back(header);
    for (const std::string& definition : kernel.definitions)
      if (std::ranges::find(definitions_, definition) == definitions_.end())
        definitions_.push_back(definition);
    // A phase adds its lane's place to the address of an operand that is divided: in shared memory there is
    // but this lane's part.
    auto place = [&](const TensorType& type, BufferRef ref, int64_t shared, uint64_t row_operands, size_t i) {
      if (shared == LaneMemory::kElsewhere) return address(ref, arenas);
      return !step.again && divided_by_lane(type, set, row_operands, i)
                 ? fmt::format("shared + {} - {} * {}", shared, part(sharers_of(type, set, phase)),
                               lane_bytes(type, set, phase))
                 : fmt::format("shared + {}", shared);
    };
    std::string lane = "lane";
    if (step.again) lane = "Lane{0, shared}";
    else if (set.strips > phase.strips) lane = fmt::format("Lane{{{}, shared}}", part(set.strips));
    std::string text = fmt::format("    {}({}", function_of(set, step), lane);
    for (size_t i = 0; i < call.inputs.size(); ++i)
      text += fmt::format(", reinterpret_cast<const {}*>({})", cuda_name(kernel.inputs[i].dtype),
                          place(kernel.inputs[i], call.inputs[i], places.inputs[i], phase.row_inputs, i));
    const bool is_last = static_cast<size_t>(step.phase) + 1 == kernel.phases.size();
    const bool hidden = (kernel.squares && !is_last) || (kernel.operand_squares && step.phase > 0);
    for (size_t i = 0; i + hidden < call.outputs.size(); ++i)
      text += fmt::format(", reinterpret_cast<{}*>({})", cuda_name(kernel.outputs[i].dtype),
                          place(kernel.outputs[i], call.outputs[i], places.outputs[i], phase.row_outputs, i));
    text += kernel.workspace_bytes > 0 ? ", " + address(call.workspace, arenas)
                                       : std::string(", static_cast<char*>(nullptr)");
    return text + fmt::format(");  // {}\n", call.kernel.label);
  }

  /// A lane's number among the parts of an operand of which each is so many lanes'.
  static std::string part(int64_t sharers) {
    return sharers == 1 ? "lane.chunk" : fmt::format("lane.chunk / {}", sharers);
  }

  /// What a lane stores of a result: the result where others make it for themselves, or its part of it, of
  /// which those that have the same one store a piece each.
  struct Store {
    int64_t bytes;
    std::string to, from, lanes;  ///< offsets, and which lanes do
    bool at_once;                 ///< the copy engine is worth its start
  };
  Store store_of(const LaneSet& set, const LaneSet::Step& step, size_t output, int64_t bytes) const {
    if (step.again) return {bytes, "", "", "if (lane.chunk == 0) ", false};
    const int64_t sharers = sharers_of(cuda_of(call_of(step)).outputs[output], set, phase_of(step));
    const bool in_pieces = bytes % (16 * sharers) == 0;
    const int64_t piece = in_pieces ? bytes / sharers : bytes;
    Store store = {piece, fmt::format(" + {} * {}", part(in_pieces ? 1 : sharers), piece), "", "",
                   cuda_architecture() >= 90 && piece >= kStoreAtOnce && piece % 16 == 0};
    if (sharers > 1 && in_pieces) store.from = fmt::format(" + lane.chunk % {} * {}", sharers, piece);
    if (sharers > 1 && !in_pieces) store.lanes = fmt::format("if (lane.chunk % {} == 0) ", sharers);
    return store;
  }
  bool stores_at_once(const LaneSet& set, size_t step, const LaneMemory& memory) const {
    const std::vector<int64_t>& stored = memory.steps[step].stored;
    for (size_t i = 0; i < stored.size(); ++i)
      if (stored[i] > 0 && store_of(set, set.steps[step], i, stored[i]).at_once) return true;
    return false;
  }
  /// Copies of what a step left in shared memory and others read; large ones `at_once` by the copy engine.
  std::string write_stores(const LaneSet& set, size_t step, const LaneMemory& memory, bool at_once,
                           std::set<int>& arenas) {
    const LaneMemory::Step& places = memory.steps[step];
    std::string text;
    for (size_t i = 0; i < places.stored.size(); ++i)
      if (places.stored[i] > 0) {
        const Store store = store_of(set, set.steps[step], i, places.stored[i]);
        text += fmt::format("    {}store{}<{}>({}{}, shared + {}{});\n", store.lanes,
                            at_once && store.at_once ? "_at_once" : "", store.bytes,
                            address(call_of(set.steps[step]).outputs[i], arenas), store.to, places.outputs[i],
                            store.from);
      }
    return text;
  }

  const Program& program_;
  bool chained_;
  std::vector<CudaStep>* timed_;
  std::set<std::pair<int, int>> timed_steps_;  // calls and phases
  std::optional<std::vector<Written>> written_before_;
  CudaSource source_;
  int region_ = 0;
  const Region* patient_ = nullptr;  // of few lanes, but what comes next gains more by coming in later
  std::vector<std::string> headers_, definitions_;
  std::string text_;
};

}  // namespace

CudaSource write_regions(const Program& program, const Regions& regions) {
  return Writer(program, true).write(regions);
}

CudaSource write_timed_regions(const Program& program, const Regions& regions, std::vector<CudaStep>& steps) {
  return Writer(program, true, &steps).write(regions);
}

CudaSource write_call(const Call& call) {
  Regions regions;
  const CudaCall& kernel = cuda_of(call);
  for (int phase = 0; phase < static_cast<int>(kernel.phases.size()); ++phase) {
    const CudaPhase& of = kernel.phases[static_cast<size_t>(phase)];
    bool alone = of.alone.chunks > 0;
    int64_t chunks = alone ? of.alone.chunks : of.chunks;
    regions.regions.push_back(
        {{{.rows = 0, .chunks = chunks, .alone = alone, .steps = {{0, phase}}}}, chunks});
  }
  return Writer(Program{.calls = {call}, .outputs = {}}, false).write(regions);
}

}  // namespace wholestep
