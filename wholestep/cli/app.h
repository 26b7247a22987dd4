// The frame of the command: verbs, global options, and one way for every failure to become a line on standard
// error and an exit code.
#pragma once
#include <CLI/CLI.hpp>

namespace wholestep::cli {

/// Runs the command line; returns the exit code of ErrorCode, 0 where all went well.
int run(int argc, char** argv);

// Each verb adds itself with its options, help and examples; it runs when the command line has been parsed.
void add_train(CLI::App& app);
void add_eval(CLI::App& app);
void add_predict(CLI::App& app);
void add_summary(CLI::App& app);
void add_inspect(CLI::App& app);
void add_plan(CLI::App& app);
void add_data(CLI::App& app);
void add_bench(CLI::App& app);
void add_sanity(CLI::App& app);
void add_list(CLI::App& app);
void add_devices(CLI::App& app);
void add_parity(CLI::App& app);

/// A subcommand with a paragraph of examples under its help.
CLI::App* add_verb(CLI::App& app, const std::string& name, const std::string& summary,
                   const std::string& examples);

}  // namespace wholestep::cli
