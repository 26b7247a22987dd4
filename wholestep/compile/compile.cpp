// The order of the passes. Every stage can be kept and printed; debug builds verify the graph after each.
#include "wholestep/compile/compile.h"

#include <chrono>

#include "wholestep/compile/passes.h"

namespace wholestep {
namespace {

std::vector<ScheduledKernel> scheduled(const Graph& graph, const std::vector<SelectedKernel>& kernels) {
  std::vector<ScheduledKernel> list;
  for (size_t i = 0; i < graph.nodes.size(); ++i) {
    const Node& node = graph.nodes[i];
    ScheduledKernel entry{.label = node.scope.empty() ? node.op->name : node.scope + " " + node.op->name,
                          .kernel = kernels[i].kernel,
                          .inputs = node.inputs,
                          .outputs = node.outputs,
                          .overwrites = {},
                          .view = node.op->name == "reshape",
                          .turn = node.turn};
    for (const Update& update : graph.updates)
      if (graph.values[static_cast<size_t>(update.value)].node == static_cast<int>(i))
        entry.overwrites.push_back(update.target);
    list.push_back(std::move(entry));
  }
  return list;
}

}  // namespace

Plan make_plan(std::shared_ptr<const Graph> traced, const CompileOptions& options) {
  auto start = std::chrono::steady_clock::now();
  Plan plan;
  plan.backend = options.backend;
  plan.call_by_call = options.call_by_call;
  plan.graph = std::move(traced);
  auto stage = [&](const char* name, GraphPtr result) {
#ifndef NDEBUG
    verify(*result);
#endif
    plan.graph = std::move(result);
    if (options.keep_stages) plan.stages.push_back({name, plan.graph});
  };
  if (options.simplify) stage("simplify", simplify(*plan.graph));
  if (options.layout) {
    GraphPtr moved = layout(*plan.graph);
    stage("layout", options.simplify ? simplify(*moved) : moved);
  }
  stage("widen", widen(*plan.graph));
  if (options.fuse) stage("fuse", fuse(*plan.graph));
  if (options.pixel_sums) stage("pixel-sums", sum_pixels(*plan.graph, *options.backend));
  if (options.strips) stage("strips", share_rows(*plan.graph, *options.backend));
  if (options.pixels) stage("pixels", read_pixels(*plan.graph, *options.backend));
  if (options.recompute) stage("recompute", recompute(*plan.graph, *options.backend));
  if (options.squares) stage("squares", squares(*plan.graph, *options.backend));
  stage("schedule", schedule(*plan.graph));
  plan.kernels = select_kernels(*plan.graph, *options.backend);
  plan.schedule = scheduled(*plan.graph, plan.kernels);
  plan.spans = options.backend->spans(plan.schedule);
  plan_memory(plan, options.reuse_memory);
  plan.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return plan;
}

}  // namespace wholestep
