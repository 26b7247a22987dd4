// wholestep plan: what a training step will cost and how it will run, before any data is read.
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "wholestep/backend/cuda/call.h"
#include "wholestep/backend/regions.h"
#include "wholestep/base/human.h"
#include "wholestep/base/philox.h"
#include "wholestep/cli/app.h"
#include "wholestep/cli/job.h"
#include "wholestep/cli/run_options.h"
#include "wholestep/compile/plan_table.h"

namespace wholestep::cli {
namespace {

struct PlanOptions {
  RunOptions run;
  bool evaluation = false, json = false, profile = false;
};

/// On a GPU a region is a kernel: its lane sets lie side by side in the grid, each a chain of calls.
std::string regions_text(const Plan& plan) {
  Regions regions = build_regions(plan.schedule, Placement::kFewest);
  std::string text = fmt::format("{} regions, each one kernel of so many blocks\n", regions.regions.size());
  for (size_t i = 0; i < regions.regions.size(); ++i) {
    std::string chains;
    for (const LaneSet& set : regions.regions[i].lane_sets) {
      int before = -1;
      chains += chains.empty() ? "" : " | ";
      for (const LaneSet::Step& step : set.steps) {
        const Node& node = plan.graph->nodes[static_cast<size_t>(step.call)];
        if (step.call == before) continue;
        chains += fmt::format("{}{}{}{}", before < 0 ? "" : ", ", node.scope, node.scope.empty() ? "" : " ",
                              node.op->name);
        before = step.call;
      }
    }
    text += fmt::format("  {:>3} {:>6}  {}\n", i, regions.regions[i].lanes, chains);
  }
  return text;
}

/// What a region of a GPU's step cannot do without: bytes between the multiprocessors and memory, each value
/// it needs from before read once and each that is needed later written once, and operations.
struct RegionWork {
  double bytes = 0, flops = 0;
};

std::vector<RegionWork> region_work(const Plan& plan) {
  const Graph& graph = *plan.graph;
  Regions regions = build_regions(plan.schedule, Placement::kFewest);
  Views views;
  for (const ScheduledKernel& call : plan.schedule) views.add(call);
  std::map<int, std::set<int>> reading;  // of every value: the regions that read it
  for (const GraphOutput& output : graph.outputs) reading[views.shown(output.value)].insert(-1);
  for (const Update& update : graph.updates) reading[views.shown(update.value)].insert(-1);
  auto reads = [&](const LaneSet::Step& step, auto&& visit) {
    const ScheduledKernel& call = plan.schedule[static_cast<size_t>(step.call)];
    const auto& phase = dynamic_cast<const CudaCall&>(*call.kernel).phases[static_cast<size_t>(step.phase)];
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
  std::set<std::pair<int, int>> counted;  // value, region
  for_steps([&](int r, const LaneSet::Step& step) {
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

/// A batch of random pixels and labels: a step is never timed on zeros.
void write_random_batch(CompiledStep& step, const nn::Model& model, int64_t batch, uint64_t seed) {
  PhiloxStream random(seed, 1);
  std::vector<uint8_t> pixels(static_cast<size_t>(batch * model.input.numel()));
  std::vector<int32_t> labels(static_cast<size_t>(batch));
  for (uint8_t& pixel : pixels) pixel = static_cast<uint8_t>(random.below(256));
  for (int32_t& label : labels)
    label = static_cast<int32_t>(random.below(static_cast<uint64_t>(model.classes)));
  step.write("pixels", std::as_bytes(std::span(pixels)));
  step.write("labels", std::as_bytes(std::span(labels)));
}

/// Where the time of a step goes: on a GPU by region, with what one block of each phase takes; on the CPU by
/// kernel.
std::string profile_text(const Job& job, Plan plan, int64_t batch) {
  constexpr int kSteps = 100;
  using Clock = std::chrono::steady_clock;
  CompiledStep step(std::move(plan));
  write_random_batch(step, job.model, batch, static_cast<uint64_t>(job.config.seed));
  const std::string any_output = step.plan().graph->outputs.front().name;
  auto run = [&](int steps) {
    auto start = Clock::now();
    step.run(steps);
    step.output(any_output);  // waits
    return std::chrono::duration<double, std::micro>(Clock::now() - start).count() / steps;
  };
  run(kSteps / 10);
  double step_us = std::min({run(kSteps), run(kSteps), run(kSteps)});
  std::string text = fmt::format("{:.2f} us a step\n", step_us);
  std::vector<PhaseTime> phases = step.profile();
  std::vector<RegionWork> work;
  if (!phases.empty()) work = region_work(step.plan());
  for (const PhaseTime& p : phases)
    if (p.label.empty()) {
      const RegionWork& w = work[static_cast<size_t>(p.region)];
      text += fmt::format(
          "  region {:>2}, {:>5} blocks {:>10.2f} us {:>10.3f} MB {:>8.2f} TB/s {:>11.3f} MFLOP {:>8.2f} "
          "TFLOP/s\n",
          p.region, p.blocks, p.microseconds, w.bytes / 1e6, w.bytes / p.microseconds / 1e6, w.flops / 1e6,
          w.flops / p.microseconds / 1e6);
    } else {
      text += fmt::format("    {:>9.2f} us x {:<5} {:<24} {}\n", p.microseconds, p.blocks, p.label,
                          p.what.substr(0, p.what.find('<')));
    }
  if (!phases.empty()) return text;
  std::vector<double> seconds = step.time_kernels();
  for (size_t i = 0; i < seconds.size(); ++i)
    if (step.plan().graph->nodes[i].op->name != "reshape")  // lies over its operand
      text += fmt::format("    {:>9.2f} us  {}\n", seconds[i] * 1e6, step.plan().schedule[i].label);
  return text;
}

void print_plan(const PlanOptions& options) {
  Job job = make_job(read_run_config(merge(options.run), source_name(options.run), {"model"}),
                     options.profile ? DeviceUse::kRun : DeviceUse::kPlan);
  const TrainerConfig& trainer = job.config.trainer;
  TrainStep step(*job.model.module, *job.loss, *job.optimizer, job.model.input, job.step_config());
  step.check_budget(trainer.samples_a_step(), trainer.eval_batch_size);
  int64_t together = step.bytes_for(trainer.samples_a_step(), trainer.eval_batch_size);
  Plan plan = options.evaluation ? step.make_eval_plan(trainer.eval_batch_size)
                                 : step.make_train_plan(trainer.samples_a_step());
  int64_t batch = options.evaluation ? trainer.eval_batch_size : trainer.samples_a_step();
  if (options.json) {
    nlohmann::json object = to_json(plan);
    object["model"] = job.model.name;
    object["batch_size"] = batch;
    object["mode"] = options.evaluation ? "evaluation" : "training";
    object["run_bytes"] = together;
    fmt::print("{}\n", object.dump(2));
    return;
  }
  fmt::print("{}, {} step, batch {}\n\n{}\n", job.model.name, options.evaluation ? "evaluation" : "training",
             batch, to_text(plan));
  if (plan.backend->name() == "cuda") fmt::print("{}\n", regions_text(plan));
  fmt::print(
      "a run with training batch {} and evaluation batch {}: {} B ({}), samples kept in memory not counted\n",
      trainer.samples_a_step(), trainer.eval_batch_size, human_count(together), human_bytes(together));
  if (options.profile) fmt::print("\n{}", profile_text(job, std::move(plan), batch));
}

}  // namespace

void add_plan(CLI::App& app) {
  CLI::App* verb =
      add_verb(app, "plan", "Memory by kind, kernels, fused regions and refusals of a step",
               "  wholestep plan lenet --batch-size 64\n"
               "  wholestep plan w4 --memory-budget 256MiB\n"
               "  wholestep plan model.json --evaluation --json\n"
               "  wholestep plan w2 --device cuda --profile\n"
               "A plan over the budget is refused with the largest batch that fits, exit code 80.\n");
  auto o = std::make_shared<PlanOptions>();
  add_run_options(verb, o->run, kModelOptions);
  verb->add_flag("--evaluation", o->evaluation, "the evaluation step instead of the training step");
  CLI::Option* json = verb->add_flag("--json", o->json, "one JSON object on standard output");
  verb->add_flag("--profile", o->profile, "run the step on random samples and say where its time goes")
      ->excludes(json);
  verb->callback([o] { print_plan(*o); });
}

}  // namespace wholestep::cli
