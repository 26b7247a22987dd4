// wholestep sanity: a model that can learn at all overfits one batch. If this fails, nothing else is worth
// trying.
#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <numeric>

#include "wholestep/base/human.h"
#include "wholestep/cli/app.h"
#include "wholestep/cli/job.h"
#include "wholestep/cli/run_options.h"

namespace wholestep::cli {
namespace {

struct SanityOptions {
  RunOptions run;
  int64_t max_steps = 2000;
  bool json = false;
};

struct Outcome {
  double first_loss = 0, loss = 0;
  int64_t steps = 0, rows = 0;
};

// The loss is that of evaluation on the same batch: what the model says of it, without dropout.
Outcome overfit(Job& job, const Dataset& dataset, double target, int64_t max_steps) {
  constexpr int64_t kCheckEvery = 5;
  Outcome outcome{.rows = std::min(job.config.trainer.samples_a_step(), dataset.size())};
  DataLoader loader(std::shared_ptr<const Dataset>(std::shared_ptr<const Dataset>(), &dataset),
                    {.batch_size = outcome.rows});
  const Batch& batch = *loader.next();
  StepConfig config = job.step_config();
  config.normalization = normalization_of(dataset);
  TrainStep step(*job.model.module, *job.loss, *job.optimizer, dataset.sample_type(), config);
  job.optimizer->schedule()->set_run_steps(max_steps);
  step.prepare({outcome.rows}, {outcome.rows});
  auto loss_now = [&] {
    step.evaluate(batch);
    std::span<const float> losses = step.predictions().losses;
    return std::accumulate(losses.begin(), losses.end(), 0.0) / static_cast<double>(losses.size());
  };
  outcome.first_loss = outcome.loss = loss_now();
  while (outcome.steps < max_steps && !(outcome.loss < target)) {
    step.train(batch);
    ++outcome.steps;
    if (step.train_metrics().skipped_steps > 0)
      throw Error(ErrorCode::kNonFinite, {.what = fmt::format("step {} was not finite", outcome.steps),
                                          .where = step.first_non_finite(),
                                          .hint = "lower --lr"});
    if (outcome.steps % kCheckEvery == 0 || outcome.steps == max_steps) outcome.loss = loss_now();
  }
  return outcome;
}

void sanity(const SanityOptions& options) {
  constexpr double kTarget = 0.01;
  Job job = make_job(read_run_config(merge(options.run), source_name(options.run), {"model", "data"}));
  DataSplits data = open_job_data(job);
  Outcome o = overfit(job, *data.train, kTarget, options.max_steps);
  bool passed = o.loss < kTarget;
  if (options.json)
    fmt::print("{}\n", nlohmann::json{{"model", job.model.name},
                                      {"samples", o.rows},
                                      {"steps", o.steps},
                                      {"first_loss", o.first_loss},
                                      {"loss", o.loss},
                                      {"passed", passed}}
                           .dump());
  else if (passed)
    fmt::print("{} learned a batch of {} by heart: loss {:.4f} at first, {:.4f} after {} steps\n",
               job.model.name, o.rows, o.first_loss, o.loss, human_count(o.steps));
  if (!passed)
    throw Error(
        ErrorCode::kFailure,
        {.what = fmt::format("{} cannot learn a batch of {} by heart", job.model.name, o.rows),
         .got = fmt::format("loss {:.4f} after {} steps, {:.4f} at first", o.loss, o.steps, o.first_loss),
         .expected = fmt::format("under {}", kTarget),
         .hint = "try another --lr or --max-steps; if it stays so, the model is broken"});
}

}  // namespace

void add_sanity(CLI::App& app) {
  CLI::App* verb = add_verb(
      app, "sanity", "Check that a model can overfit one batch",
      "  wholestep sanity lenet --data digits\n"
      "  wholestep sanity model.json --data mnist --optimizer sgd --lr 0.05 --momentum 0.9\n"
      "Trains on the first 64 samples until their loss is under 0.01; exit code 1 if it never is.\n");
  auto o = std::make_shared<SanityOptions>();
  add_run_options(verb, o->run, kModelOptions | kDataOptions);
  verb->add_option("--max-steps", o->max_steps, "steps to try")
      ->capture_default_str()
      ->check(CLI::PositiveNumber);
  verb->add_flag("--json", o->json, "one JSON object on standard output");
  verb->callback([o] { sanity(*o); });
}

}  // namespace wholestep::cli
