// A configuration made into the objects that train: model, loss, optimizer on the device it names.
#pragma once
#include <memory>

#include "wholestep/cli/run_config.h"
#include "wholestep/nn/loss.h"
#include "wholestep/nn/model_spec.h"
#include "wholestep/optim/optimizer.h"
#include "wholestep/train/train_step.h"

namespace wholestep::cli {

struct Job {
  RunConfig config;
  nn::Model model;  ///< initialised from the seed
  std::unique_ptr<nn::Loss> loss;
  std::unique_ptr<optim::Optimizer> optimizer;  ///< attached to the model's parameters, with its schedule

  StepConfig step_config() const;  ///< for plans without data: samples are not normalised
};

/// Also sets the number of compute threads. kBadConfig for a model or device that does not exist.
Job make_job(RunConfig config);

/// Takes the device and threads of a command: kBadConfig naming the devices there are.
void use_device(const std::string& device, int64_t threads);

/// Throws kBadConfig where samples of the data are not what the model takes.
void check_data_fits(const nn::Model& model, const Dataset& dataset, const std::string& data);

}  // namespace wholestep::cli
