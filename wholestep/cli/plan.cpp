// wholestep plan: what a training step will cost and how it will run, before any data is read.
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <nlohmann/json.hpp>
#include <set>

#include "wholestep/backend/cpu/peaks.h"
#include "wholestep/backend/cpu/thread_pool.h"
#include "wholestep/base/human.h"
#include "wholestep/base/philox.h"
#include "wholestep/cli/app.h"
#include "wholestep/cli/job.h"
#include "wholestep/cli/run_options.h"
#include "wholestep/compile/plan_table.h"
#include "wholestep/compile/region_work.h"

namespace wholestep::cli {
namespace {

struct PlanOptions {
  RunOptions run;
  bool evaluation = false, json = false, profile = false;
};

/// What runs in a region: in parentheses what its lanes make each for itself, then its lane sets side by
/// side, each a chain of calls.
std::string chains_of(const Plan& plan, const Region& region) {
  auto name = [&](const LaneSet::Step& step) {
    const Node& node = plan.graph->nodes[static_cast<size_t>(step.call)];
    return fmt::format("{}{}{}", node.scope, node.scope.empty() ? "" : " ", node.op->name);
  };
  std::string repeated, chains;
  std::set<int> seen;
  for (const LaneSet& set : region.lane_sets) {
    int before = -1;
    chains += chains.empty() ? "" : " | ";
    for (const LaneSet::Step& step : set.steps) {
      if (step.again) {
        if (seen.insert(step.call).second) repeated += (repeated.empty() ? "" : ", ") + name(step);
      } else if (step.call != before) {
        chains += (before < 0 ? "" : ", ") + name(step);
        before = step.call;
      }
    }
  }
  return repeated.empty() ? chains : fmt::format("({}) {}", repeated, chains);
}

std::string regions_text(const Plan& plan) {
  const std::vector<Region> regions = plan_regions(plan).regions;
  std::string text = fmt::format("{} regions, {}\n", regions.size(),
                                 plan.backend->name() == "cuda"
                                     ? "each one kernel of so many blocks, calls of libraries beside it"
                                     : "a barrier behind each, in so many chunks");
  for (size_t i = 0; i < regions.size(); ++i)
    text += fmt::format("  {:>3} {:>6}  {}\n", i, regions[i].lanes, chains_of(plan, regions[i]));
  return text;
}

/// A batch of random samples and targets: a step is never timed on zeros.
void write_random_batch(CompiledStep& step, const Job& job, int64_t rows) {
  const SampleType sample = job.sample();
  PhiloxStream random(static_cast<uint64_t>(job.config.seed), 1);
  size_t count = static_cast<size_t>(rows), values = count * static_cast<size_t>(sample.shape.numel());
  std::vector<uint8_t> pixels(sample.dtype == DType::u8 ? values : 0);
  std::vector<int32_t> labels(sample.targets == 0 ? count : 0);
  std::vector<float> features(values - pixels.size()), targets(count * static_cast<size_t>(sample.targets));
  for (uint8_t& pixel : pixels) pixel = static_cast<uint8_t>(random.below(256));
  for (int32_t& label : labels)
    label = static_cast<int32_t>(random.below(static_cast<uint64_t>(job.model.classes)));
  for (std::vector<float>* numbers : {&features, &targets})
    for (float& number : *numbers) number = random.uniform(-1.0f, 1.0f);
  std::span<const uint8_t> bytes = pixels;
  if (!features.empty()) bytes = {reinterpret_cast<const uint8_t*>(features.data()), values * sizeof(float)};
  write_batch(step, sample,
              {.rows = rows, .pixels = bytes, .labels = labels, .targets = targets, .samples = {}});
}

/// Where the time of a step goes: by region, with what one chunk of each phase takes. On the CPU beside the
/// time that the machine's measured peaks allow for the region's work.
std::string profile_text(const Job& job, Plan plan, int64_t batch) {
  using Clock = std::chrono::steady_clock;
  CompiledStep step(std::move(plan));
  write_random_batch(step, job, batch);
  const std::string any_output = step.plan().graph->outputs.front().name;
  auto run = [&](int64_t steps) {
    auto start = Clock::now();
    step.run(steps);
    step.output(any_output);  // waits
    return std::chrono::duration<double, std::micro>(Clock::now() - start).count() /
           static_cast<double>(steps);
  };
  run(3);
  const int64_t steps = std::clamp<int64_t>(static_cast<int64_t>(3e5 / run(1)), 3, 100);
  double step_us = std::min({run(steps), run(steps), run(steps)});
  std::string text = fmt::format("{:.2f} us a step\n", step_us);
  std::vector<PhaseTime> phases = step.profile();
  const std::vector<RegionWork> work = region_work(step.plan());
  const bool on_cpu = step.plan().backend->name() == "cpu";
  const CpuPeaks peaks = on_cpu ? measure_cpu_peaks() : CpuPeaks{};
  if (on_cpu)
    text += fmt::format("peaks of {} threads: {:.0f} GFLOP/s in registers, {:.1f} GB/s of a copy\n",
                        default_pool().threads(), peaks.flops / 1e9, peaks.bytes / 1e9);
  for (const PhaseTime& p : phases)
    if (p.label.empty()) {
      const RegionWork& w = work[static_cast<size_t>(p.region)];
      text += fmt::format(
          "  region {:>2}, {:>5} {} {:>10.2f} us {:>10.3f} MB {:>8.2f} GB/s {:>11.3f} MFLOP {:>8.2f} GFLOP/s",
          p.region, p.blocks, on_cpu ? "chunks" : "blocks", p.microseconds, w.bytes / 1e6,
          w.bytes / p.microseconds / 1e3, w.flops / 1e6, w.flops / p.microseconds / 1e3);
      if (on_cpu) {
        // Fewer chunks than threads leave some idle.
        double busy = std::min(1.0, static_cast<double>(p.blocks) / default_pool().threads());
        double floor = std::max(w.bytes / peaks.bytes, w.flops / peaks.flops) * 1e6 / busy;
        text += fmt::format(" {:>10.2f} us by the peaks, {:.0f} %", floor, 100 * floor / p.microseconds);
      }
      text += "\n";
    } else {
      text += fmt::format("    {:>9.2f} us x {:<5} {:<24} {}\n", p.microseconds, p.blocks, p.label,
                          p.what.substr(0, p.what.find('<')));
    }
  return text;
}

void print_plan(const PlanOptions& options) {
  Job job = make_job(read_run_config(merge(options.run), source_name(options.run), {"model"}),
                     options.profile ? DeviceUse::kRun : DeviceUse::kPlan);
  const TrainerConfig& trainer = job.config.trainer;
  TrainStep step(*job.model.module, *job.loss, *job.optimizer, job.sample(), job.step_config());
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
  fmt::print("{}\n", regions_text(plan));
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
