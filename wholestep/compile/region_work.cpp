#include "wholestep/compile/region_work.h"

#include <algorithm>
#include <map>
#include <set>

namespace wholestep {

Regions plan_regions(const Plan& plan) { return build_regions(plan.schedule, plan.backend->placement()); }

std::vector<RegionWork> region_work(const Plan& plan) {
  const Graph& graph = *plan.graph;
  Regions regions = plan_regions(plan);
  Views views;
  for (const ScheduledKernel& call : plan.schedule) views.add(call);
  std::map<int, std::set<int>> reading;  // of every value: the regions that read it
  for (const GraphOutput& output : graph.outputs) reading[views.shown(output.value)].insert(-1);
  for (const Update& update : graph.updates) reading[views.shown(update.value)].insert(-1);
  auto reads = [&](const LaneSet::Step& step, auto&& visit) {
    const ScheduledKernel& call = plan.schedule[static_cast<size_t>(step.call)];
    const PhaseExtent phase =
        dynamic_cast<const PhasedKernel&>(*call.kernel).phase(static_cast<size_t>(step.phase));
    for (size_t i = 0; i < call.inputs.size(); ++i)
      if (has_operand(phase.reads, i)) visit(views.shown(call.inputs[i]));
  };
  auto for_steps = [&](auto&& visit) {
    for (size_t r = 0; r < regions.regions.size(); ++r)
      for (const LaneSet& set : regions.regions[r].lane_sets)
        for (const LaneSet::Step& step : set.steps) visit(static_cast<int>(r), step);
  };
  for_steps(
      [&](int r, const LaneSet::Step& step) { reads(step, [&](int value) { reading[value].insert(r); }); });
  std::vector<RegionWork> work(regions.regions.size());
  std::set<std::pair<int, int>> counted, done;  // value and region, call and phase
  for_steps([&](int r, const LaneSet::Step& step) {
    if (!done.insert({step.call, step.phase}).second) return;
    const Node& node = graph.nodes[static_cast<size_t>(step.call)];
    RegionWork& region = work[static_cast<size_t>(r)];
    auto add = [&](int value) {
      if (counted.insert({value, r}).second) region.bytes += static_cast<double>(graph.type(value).bytes());
    };
    reads(step, [&](int value) {
      int maker = graph.values[static_cast<size_t>(value)].node;
      if (maker < 0 || plan.spans[static_cast<size_t>(maker)].last != r) add(value);
    });
    region.bytes += static_cast<double>(plan.kernels[static_cast<size_t>(step.call)].kernel->workspace_bytes);
    if (plan.spans[static_cast<size_t>(step.call)].last == r)
      for (int value : node.outputs)
        if (std::ranges::any_of(reading[value], [&](int reader) { return reader != r; })) add(value);
    if (step.phase == 0) {
      std::vector<TensorType> inputs = graph.input_types(node), outputs = graph.output_types(node);
      region.flops += flops(*node.op, {node.op->name, inputs, outputs, node.attrs});
    }
  });
  return work;
}

}  // namespace wholestep
