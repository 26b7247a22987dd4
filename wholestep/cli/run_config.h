// Everything a training run is made of, as config files, --set and config.toml write it.
#pragma once
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "wholestep/io/config_fields.h"
#include "wholestep/train/trainer.h"

namespace wholestep::cli {

struct RunConfig {
  std::string model, data, validation, device = "auto", out;
  bool tf32 = true;
  std::string precision = "f32";
  int64_t threads = 0;
  nlohmann::json loss = nullptr;                     ///< valid for nn::read_loss(); null: default_loss()
  nlohmann::json optimizer = {{"type", "adam"}};     ///< valid for optim::read_optimizer()
  nlohmann::json schedule = {{"type", "constant"}};  ///< valid for optim::read_schedule()

  // The table [trainer].
  TrainerConfig trainer;
  int64_t seed = 0, num_workers = 0;  ///< as a config field can hold them; see trainer_config()

  ConfigFields fields();          ///< outside any table
  ConfigFields trainer_fields();  ///< of [trainer]

  TrainerConfig trainer_config() const;
  std::filesystem::path out_folder() const;  ///< `out`, by default runs/<model>
};

/// Reads it and reports every problem at once, unknown keys with the nearest known one, keys of `required`
/// that are empty. `where` names the source in messages.
RunConfig read_run_config(const nlohmann::json& object, const std::string& where,
                          const std::vector<std::string>& required);

/// That of a run that names none: by whether targets are numbers or classes.
nlohmann::json default_loss(bool numbers);

/// {"type": "mse"} of the short form "mse"; anything else as it is.
nlohmann::json as_table(const nlohmann::json& value);

/// The same as an object, every default spelled out.
nlohmann::json resolved(const RunConfig& config);

/// What a resumed run may not change: one line for each value that differs, apart from those that do not
/// influence what is computed.
std::vector<std::string> changes_that_matter(const nlohmann::json& before, const nlohmann::json& after);

}  // namespace wholestep::cli
