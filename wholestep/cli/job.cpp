// From names to objects.
#include "wholestep/cli/job.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "wholestep/backend/cpu/precision.h"
#include "wholestep/backend/cpu/thread_pool.h"
#include "wholestep/backend/cuda/call.h"
#include "wholestep/base/error.h"
#include "wholestep/base/log.h"
#include "wholestep/cli/open_data.h"
#include "wholestep/data/specs.h"
#include "wholestep/nn/zoo.h"

namespace wholestep::cli {

SampleType Job::sample() const {
  DType dtype = model.targets > 0 ? DType::f32 : dtype_of_data(config.data);
  return {model.input, dtype, model.targets};
}

StepConfig Job::step_config() const {
  TrainerConfig trainer = trainer_config();
  return {.normalization = no_normalization(sample()),
          .clip_norm = trainer.gradient_clip_norm,
          .clip_value = trainer.gradient_clip_value,
          .accumulate = trainer.accumulate_grad_batches,
          .ema_decay = trainer.ema_decay,
          .seed = trainer.seed,
          .memory_budget_bytes = trainer.memory_budget_bytes,
          .compile = {.backend = device.backend, .call_by_call = trainer.call_by_call}};
}

TrainerConfig Job::trainer_config() const {
  TrainerConfig trainer = config.trainer_config();
  trainer.backend = device.backend;
  return trainer;
}

Job make_job(RunConfig config, DeviceUse use) {
  Device device = use_device(config.device, config.threads, use);
  use_precision(config.precision, config.tf32, device);
  Job job{.config = std::move(config),
          .device = std::move(device),
          .model = {},
          .loss = nullptr,
          .optimizer = nullptr};
  if (nn::fits_tables(job.config.model) && dtype_of_data(job.config.data) == DType::f32) {
    job.data = open_data_with_progress(job.config.data);
    const Dataset& rows = *job.data.train;
    nn::TableSizes sizes{rows.sample_shape().numel(), rows.num_classes(), rows.num_targets()};
    job.model = nn::find_model(job.config.model, &sizes);
  } else {
    job.model = nn::find_model(job.config.model);
  }
  if (job.config.loss.is_null()) job.config.loss = default_loss(job.model.targets > 0);
  if (job.model.tokens)
    throw Error(ErrorCode::kBadConfig,
                {.what = "the model takes indices, and the command has no data of them",
                 .where = job.model.name,
                 .hint = "train it in a program of your own, as examples/gpt.cpp does"});
  job.model.module->initialize(static_cast<uint64_t>(job.config.seed));
  ConfigReader loss(job.config.loss, "loss"), optimizer(job.config.optimizer, "optimizer"),
      schedule(job.config.schedule, "schedule");
  job.loss = nn::read_loss(loss);
  job.loss->check(*job.model.module);
  if (job.model.targets > 0) nn::check_regresses(*job.loss);
  job.optimizer = optim::read_optimizer(optimizer);
  job.optimizer->set_schedule(optim::read_schedule(schedule));
  job.optimizer->schedule()->set_run_steps(
      job.config.trainer.max_epochs);  // for plans without data; fit() knows the real one
  job.optimizer->attach(job.model.module->trainable_parameters());
  return job;
}

DataSplits open_job_data(const Job& job) {
  DataSplits data = job.data.train ? job.data : open_data_with_progress(job.config.data);
  check_data_fits(job.model, *data.train, job.config.data);
  return data;
}

std::unique_ptr<nn::Loss> loss_of(const nlohmann::json& run) {
  bool known = run.is_object() && run.contains("loss");
  nlohmann::json spec = as_table(known ? run["loss"] : nlohmann::json("cross-entropy"));
  ConfigReader reader(spec, "the checkpoint's configuration: loss");
  std::unique_ptr<nn::Loss> loss = nn::read_loss(reader);
  reader.finish();
  return loss;
}

Device use_device(const std::string& name, int64_t threads, DeviceUse use) {
  if (threads < 0 || threads > 1024)
    throw Error(ErrorCode::kBadConfig, {.what = "this number of threads cannot be used",
                                        .got = std::to_string(threads),
                                        .expected = "0 to 1024"});
  if (threads > 0) set_threads(static_cast<int>(threads));
  Device device = find_device(name, use);
  std::string why = device.refusal.empty() ? "" : fmt::format("; no GPU: {}", device.refusal);
  log(LogLevel::kInfo, fmt::format("device {}{}", to_string(device), why));
  return device;
}

void use_precision(const std::string& precision, bool tf32, const Device& device) {
  const bool bf16 = precision == name(Precision::bf16);
  if (bf16 && !device.backend->host_memory())
    throw Error(ErrorCode::kBadConfig,
                {.what = "products in bf16 are for the CPU",
                 .got = fmt::format("precision bf16 on {}", to_string(device)),
                 .hint = "--device cpu; on a GPU tf32 is the faster precision, and on by default"});
  set_product_precision(bf16 ? Precision::bf16 : Precision::f32);
  set_tf32_allowed(tf32);
}

std::string to_string(const Device& device) {
  return device.title.empty() ? device.name : fmt::format("{} ({})", device.name, device.title);
}

void check_data_fits(const nn::Model& model, const Dataset& dataset, const std::string& data) {
  if (dataset.sample_shape() != model.input)
    throw Error(ErrorCode::kBadConfig,
                {.what = "the samples do not fit the model",
                 .where = fmt::format("{} into {}", data, model.name),
                 .got = fmt::format("samples {}", to_string(dataset.sample_shape())),
                 .expected = to_string(model.input),
                 .hint = dataset.dtype() == DType::f32
                             ? "mlp is made for the columns of any table; or change \"input\" in a model.json"
                             : "choose a model with that input, or change \"input\" in its model.json"});
  if (dataset.num_targets() != model.targets)
    throw Error(ErrorCode::kBadConfig,
                {.what = model.targets > 0 && dataset.num_targets() > 0
                             ? "the data has another number of targets than the model"
                             : "one of data and model is of classes, the other of numbers",
                 .where = fmt::format("{} into {}", data, model.name),
                 .got = fmt::format("{} targets", dataset.num_targets()),
                 .expected = std::to_string(model.targets),
                 .hint = "name the data's column by class= or target=, and give model.json \"classes\" or "
                         "\"targets\""});
  if (dataset.num_classes() != model.classes)
    throw Error(ErrorCode::kBadConfig,
                {.what = "the data has another number of classes than the model",
                 .where = fmt::format("{} into {}", data, model.name),
                 .got = fmt::format("{} classes", dataset.num_classes()),
                 .expected = std::to_string(model.classes),
                 .hint = "change \"classes\" and the last layer's out_features in a model.json"});
}

void check_same_names(const TableNames& trained, const Dataset& dataset, const std::string& data) {
  auto check = [&](const char* what, const auto& got, const auto& expected) {
    if (!std::ranges::equal(got, expected))
      throw Error(ErrorCode::kBadConfig,
                  {.what = fmt::format("the data has other {} than the training had", what),
                   .where = data,
                   .got = fmt::format("{}", fmt::join(got, ", ")),
                   .expected = fmt::format("{}", fmt::join(expected, ", "))});
  };
  check("features", dataset.feature_names(), trained.features);
  check("targets", dataset.target_names(), trained.targets);
  if (!trained.features.empty()) check("classes", dataset.class_names(), trained.classes);
}

}  // namespace wholestep::cli
