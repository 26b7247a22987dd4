// wholestep sanity: a model that can learn at all overfits one batch. If this fails, nothing else is worth
// trying.
#include <fmt/format.h>

#include <nlohmann/json.hpp>

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

// What the model says of the batch, without dropout. Losses of numbers differ in scale, so these are learned
// when little of their variance is left.
struct Fit {
  double loss = 0;
  std::optional<double> r2;  // of numbers that vary

  bool learned() const { return r2 ? *r2 > 0.99 : loss < 0.01; }
  double figure() const { return r2.value_or(loss); }
  const char* name() const { return r2 ? "R2" : "loss"; }
  const char* goal() const { return r2 ? "over 0.99" : "under 0.01"; }
};

struct Outcome {
  Fit first = {}, last = {};
  int64_t steps = 0, rows = 0;
};

Outcome overfit(Job& job, const Dataset& dataset, int64_t max_steps) {
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
  auto fit_now = [&] {
    step.reset_eval_metrics();
    step.evaluate(batch);
    std::optional<Regression> numbers = step.eval_regression();
    return Fit{step.eval_metrics().loss(), numbers ? numbers->r2 : std::nullopt};
  };
  outcome.first = outcome.last = fit_now();
  while (outcome.steps < max_steps && !outcome.last.learned()) {
    step.train(batch);
    ++outcome.steps;
    if (step.train_metrics().skipped_steps > 0)
      throw Error(ErrorCode::kNonFinite, {.what = fmt::format("step {} was not finite", outcome.steps),
                                          .where = step.first_non_finite(),
                                          .hint = "lower --lr"});
    if (outcome.steps % kCheckEvery == 0 || outcome.steps == max_steps) outcome.last = fit_now();
  }
  return outcome;
}

void sanity(const SanityOptions& options) {
  Job job = make_job(read_run_config(merge(options.run), source_name(options.run), {"model", "data"}));
  DataSplits data = open_job_data(job);
  Outcome o = overfit(job, *data.train, options.max_steps);
  bool passed = o.last.learned();
  if (options.json) {
    nlohmann::json object = {{"model", job.model.name},    {"samples", o.rows},   {"steps", o.steps},
                             {"first_loss", o.first.loss}, {"loss", o.last.loss}, {"passed", passed}};
    if (o.last.r2) object["r2"] = *o.last.r2;
    fmt::print("{}\n", object.dump());
  } else if (passed) {
    fmt::print("{} learned a batch of {} by heart: {} {:.4f} at first, {:.4f} after {} steps\n",
               job.model.name, o.rows, o.last.name(), o.first.figure(), o.last.figure(),
               human_count(o.steps));
  }
  if (!passed)
    throw Error(ErrorCode::kFailure,
                {.what = fmt::format("{} cannot learn a batch of {} by heart", job.model.name, o.rows),
                 .got = fmt::format("{} {:.4f} after {} steps, {:.4f} at first", o.last.name(),
                                    o.last.figure(), o.steps, o.first.figure()),
                 .expected = o.last.goal(),
                 .hint = "try another --lr or --max-steps; if it stays so, the model is broken"});
}

}  // namespace

void add_sanity(CLI::App& app) {
  CLI::App* verb =
      add_verb(app, "sanity", "Check that a model can overfit one batch",
               "  wholestep sanity lenet --data digits\n"
               "  wholestep sanity model.json --data mnist --optimizer sgd --lr 0.05 --momentum 0.9\n"
               "Trains on the first 64 samples until their loss is under 0.01, of numbers until R2 is over\n"
               "0.99; exit code 1 if it never is.\n");
  auto o = std::make_shared<SanityOptions>();
  add_run_options(verb, o->run, kModelOptions | kDataOptions);
  verb->add_option("--max-steps", o->max_steps, "steps to try")
      ->capture_default_str()
      ->check(CLI::PositiveNumber);
  verb->add_flag("--json", o->json, "one JSON object on standard output");
  verb->callback([o] { sanity(*o); });
}

}  // namespace wholestep::cli
