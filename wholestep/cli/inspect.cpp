// wholestep inspect: the graph of a training step after each stage of compilation.
#include <fmt/format.h>

#include "wholestep/base/suggest.h"
#include "wholestep/cli/app.h"
#include "wholestep/cli/job.h"
#include "wholestep/cli/run_options.h"

namespace wholestep::cli {
namespace {

struct InspectOptions {
  RunOptions run;
  std::string stage = "all", format = "text";
};

void print_stage(const Stage& stage, const std::string& format) {
  if (format == "dot") {
    fmt::print("// {}\n{}", stage.name, to_dot(*stage.graph));
    return;
  }
  fmt::print("== {}: {} nodes\n{}\n", stage.name, stage.graph->nodes.size(), to_string(*stage.graph));
}

void inspect(const InspectOptions& options) {
  Job job =
      make_job(read_run_config(merge(options.run), source_name(options.run), {"model"}), DeviceUse::kPlan);
  TrainStep step(*job.model.module, *job.loss, *job.optimizer, job.sample(), job.step_config());
  Plan plan = step.make_train_plan(job.config.trainer.samples_a_step(), /*keep_stages=*/true);
  std::vector<std::string> names;
  for (const Stage& stage : plan.stages) {
    if (options.stage == "all" || options.stage == stage.name) print_stage(stage, options.format);
    names.push_back(stage.name);
  }
  if (options.stage != "all" && std::ranges::find(names, options.stage) == names.end()) {
    names.push_back("all");
    throw Error(ErrorCode::kUsage, {.what = "compilation has no such stage",
                                    .got = fmt::format("'{}'", options.stage),
                                    .hint = suggest(options.stage, names)});
  }
}

}  // namespace

void add_inspect(CLI::App& app) {
  CLI::App* verb =
      add_verb(app, "inspect", "The graph of a training step after each stage of compilation",
               "  wholestep inspect lenet --stage trace\n"
               "  wholestep inspect mlp --stage fuse --batch-size 32\n"
               "  wholestep inspect lenet --stage differentiate --format dot | dot -Tsvg > lenet.svg\n");
  auto o = std::make_shared<InspectOptions>();
  add_run_options(verb, o->run, kModelOptions);
  verb->add_option("--stage", o->stage, "trace, differentiate, optimizer, simplify, ..., or all")
      ->capture_default_str();
  verb->add_option("--format", o->format, "text or dot (Graphviz)")
      ->capture_default_str()
      ->check(CLI::IsMember({"text", "dot"}));
  verb->callback([o] { inspect(*o); });
}

}  // namespace wholestep::cli
