#include "wholestep/backend/cuda/region_source.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

namespace wholestep {
namespace {

const CudaCall& cuda_of(const Call& call) { return dynamic_cast<const CudaCall&>(*call.kernel.kernel); }

class Writer {
 public:
  explicit Writer(std::span<const Call> calls) : calls_(calls) {}

  CudaSource write(const Regions& regions) {
    for (const Region& region : regions.regions) write_kernel(region);
    std::string head = "#include \"prelude.cuh\"\n";
    for (const std::string& header : headers_) head += fmt::format("#include \"{}\"\n", header);
    for (const std::string& definition : definitions_) head += definition;
    source_.text = head + text_;
    return std::move(source_);
  }

 private:
  void write_kernel(const Region& region) {
    CudaKernelSource kernel{.name = fmt::format("region_{}", source_.kernels.size()), .arenas = {}};
    std::set<int> arenas;
    std::string body;
    for (const LaneSet& set : region.lane_sets) {
      if (set.chunks == 0) continue;
      body += fmt::format("  if (block < {}) {{\n    const Lane lane{{block, shared}};\n",
                          kernel.blocks + set.chunks);
      if (kernel.blocks > 0)
        body.replace(body.rfind("lane{block"), 10, fmt::format("lane{{block - {}", kernel.blocks));
      for (size_t i = 0; i < set.steps.size(); ++i) {
        if (i > 0) body += "    __syncthreads();\n";
        body += write_step(set.steps[i], arenas, kernel.shared_bytes);
      }
      body += "    return;\n  }\n";
      kernel.blocks += set.chunks;
    }
    if (kernel.blocks == 0) return;
    kernel.arenas.assign(arenas.begin(), arenas.end());
    std::string parameters;
    for (int arena : kernel.arenas)
      parameters += fmt::format("{}char* a{}", parameters.empty() ? "" : ", ", arena);
    text_ += fmt::format(
        "extern \"C\" __global__ void __launch_bounds__(kThreads) {}({}) {{\n"
        "  extern __shared__ __align__(128) char shared[];\n"
        "  wait_for_earlier_kernels();\n"
        "  const int64_t block = blockIdx.x;\n{}}}\n",
        kernel.name, parameters, body);
    source_.kernels.push_back(std::move(kernel));
  }

  std::string write_step(const LaneSet::Step& step, std::set<int>& arenas, int64_t& shared_bytes) {
    const Call& call = calls_[static_cast<size_t>(step.call)];
    const CudaCall& kernel = cuda_of(call);
    const CudaPhase& phase = kernel.phases[static_cast<size_t>(step.phase)];
    for (const std::string& header : kernel.headers)
      if (std::ranges::find(headers_, header) == headers_.end()) headers_.push_back(header);
    if (!kernel.definitions.empty() &&
        std::ranges::find(definitions_, kernel.definitions) == definitions_.end())
      definitions_.push_back(kernel.definitions);
    shared_bytes = std::max(shared_bytes, phase.shared_bytes);
    auto address = [&](BufferRef ref) {
      arenas.insert(ref.arena);
      return fmt::format("a{} + {}", ref.arena, ref.offset);
    };
    std::string text = fmt::format("    {}(lane", phase.run);
    for (size_t i = 0; i < call.inputs.size(); ++i)
      text += fmt::format(", reinterpret_cast<const {}*>({})", cuda_name(kernel.inputs[i]),
                          address(call.inputs[i]));
    for (size_t i = 0; i < call.outputs.size(); ++i)
      text +=
          fmt::format(", reinterpret_cast<{}*>({})", cuda_name(kernel.outputs[i]), address(call.outputs[i]));
    text += kernel.workspace_bytes > 0 ? ", " + address(call.workspace) : ", static_cast<char*>(nullptr)";
    return text + fmt::format(");  // {}\n", call.kernel.label);
  }

  std::span<const Call> calls_;
  CudaSource source_;
  std::vector<std::string> headers_, definitions_;
  std::string text_;
};

}  // namespace

CudaSource write_regions(const Program& program, const Regions& regions) {
  return Writer(program.calls).write(regions);
}

CudaSource write_call(const Call& call) {
  Regions regions;
  const CudaCall& kernel = cuda_of(call);
  for (int phase = 0; phase < static_cast<int>(kernel.phases.size()); ++phase) {
    int64_t chunks = kernel.phases[static_cast<size_t>(phase)].chunks;
    regions.regions.push_back({{{.rows = 0, .chunks = chunks, .steps = {{0, phase}}}}, chunks});
  }
  return Writer({&call, 1}).write(regions);
}

}  // namespace wholestep
