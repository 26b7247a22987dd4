// Command-line options that stand for keys of a run's configuration.
#pragma once
#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "wholestep/cli/run_config.h"

namespace wholestep::cli {

/// Which options a verb has, as bits.
enum RunOptionSet : unsigned {
  kModelOptions = 1,     ///< model, loss, optimizer, batch size: what a plan depends on
  kDataOptions = 2,      ///< data and its order
  kTrainingOptions = 4,  ///< epochs, checkpoints, folders
};

struct RunOptions {
  std::string config;                                      ///< --config
  std::vector<std::string> set;                            ///< --set
  std::vector<std::pair<std::string, std::string>> given;  ///< (key, text) of explicit options
};

/// Adds the options of these sets, --config and --set to a verb.
void add_run_options(CLI::App* verb, RunOptions& options, unsigned sets);

/// `base`, then --config, then --set, then explicit options, each over the ones before it.
nlohmann::json merge(const RunOptions& options, nlohmann::json base = nlohmann::json::object());
/// What to call this configuration in messages: the --config file, else "command line".
std::string source_name(const RunOptions& options);

}  // namespace wholestep::cli
