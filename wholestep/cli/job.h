// A configuration made into the objects that train: model, loss, optimizer, and the device it names.
#pragma once
#include <memory>

#include "wholestep/backend/device.h"
#include "wholestep/cli/run_config.h"
#include "wholestep/nn/loss.h"
#include "wholestep/nn/model_spec.h"
#include "wholestep/optim/optimizer.h"
#include "wholestep/train/train_step.h"

namespace wholestep::cli {

struct Job {
  RunConfig config;
  Device device;
  nn::Model model;  ///< initialised from the seed
  std::unique_ptr<nn::Loss> loss;
  std::unique_ptr<optim::Optimizer> optimizer;  ///< attached to the model's parameters, with its schedule
  DataSplits data = {};  ///< opened already where the model's sizes follow from it, see open_job_data()

  SampleType sample() const;             ///< what the model is fed: of tables f32, else u8
  StepConfig step_config() const;        ///< for plans without data: samples are not normalised
  TrainerConfig trainer_config() const;  ///< that of the configuration, on the device
};

/// Also sets the number of compute threads. kBadConfig for a model or device that does not exist. A model of
/// the zoo that fits tables is made for the configuration's, where that is one.
Job make_job(RunConfig config, DeviceUse use = DeviceUse::kRun);

/// The configuration's data; kBadConfig where the model takes or gives something else.
DataSplits open_job_data(const Job& job);

/// That of the configuration of a run, as checkpoints keep it; cross-entropy where that is null.
std::unique_ptr<nn::Loss> loss_of(const nlohmann::json& run);

/// Takes the device and threads of a command: kBadConfig naming the devices there are.
Device use_device(const std::string& device, int64_t threads, DeviceUse use = DeviceUse::kRun);
/// How products are computed from now on: `precision` of "f32", "bf16" on the CPU, TF32 or not on a GPU.
/// kBadConfig where the device has no bf16.
void use_precision(const std::string& precision, bool tf32, const Device& device);
/// "cuda:0 (NVIDIA H200)"
std::string to_string(const Device& device);

/// Throws kBadConfig where samples or targets of the data are not what the model takes and gives.
void check_data_fits(const nn::Model& model, const Dataset& dataset, const std::string& data);
/// Names of what a model was trained on: of a table its columns and classes.
struct TableNames {
  std::vector<std::string> features, targets, classes;
};
/// Throws kBadConfig where the data's names are others, in this order.
void check_same_names(const TableNames& trained, const Dataset& dataset, const std::string& data);

}  // namespace wholestep::cli
