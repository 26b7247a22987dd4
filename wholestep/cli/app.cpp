// Parsing, with suggestions for words that are nearly right, and the ends of all errors.
#include "wholestep/cli/app.h"

#include <fmt/format.h>

#include <cerrno>
#include <cstdio>
#include <new>
#include <system_error>

#include "wholestep/base/error.h"
#include "wholestep/base/suggest.h"
#include "wholestep/base/version.h"
#include "wholestep/cli/terminal.h"

namespace wholestep::cli {
namespace {

constexpr const char* kExitCodes =
    "Exit codes: 0 ok, 1 failure, 2 usage, 65 bad data, 66 no input, 74 input/output, 75 checkpointed: run\n"
    "again with --resume, 78 bad configuration, 80 plan refused for memory, 81 stopped at a non-finite "
    "value,\n"
    "130 stopped at once by a second signal.\n";

void add_verbs(CLI::App& app) {
  add_train(app);
  add_eval(app);
  add_predict(app);
  add_summary(app);
  add_inspect(app);
  add_plan(app);
  add_data(app);
  add_bench(app);
  add_sanity(app);
  add_list(app);
  add_devices(app);
  add_parity(app);
}

CLI::App* deepest(CLI::App* app) {
  while (!app->get_subcommands().empty()) app = app->get_subcommands().front();
  return app;
}

// "wholestep data describe"
std::string full_name(const CLI::App* app) {
  return app->get_parent() ? full_name(app->get_parent()) + " " + app->get_name() : app->get_name();
}

std::vector<std::string> option_names(const CLI::App* app) {
  std::vector<std::string> names;
  for (; app; app = app->get_parent())
    for (const CLI::Option* option : app->get_options())
      for (const std::string& name : option->get_lnames()) names.push_back("--" + name);
  return names;
}

std::vector<std::string> verb_names(CLI::App* app) {
  std::vector<std::string> names;
  for (const CLI::App* verb : app->get_subcommands([](const CLI::App*) { return true; }))
    names.push_back(verb->get_name());
  return names;
}

// A word nobody asked for: an option or verb misspelt, or one argument too many.
Error unexpected(CLI::App* verb, std::string word) {
  std::string help = full_name(verb) + " --help";
  if (word.starts_with("-")) {
    word = word.substr(0, word.find('='));
    std::string near = nearest_name(word, option_names(verb));
    return Error(ErrorCode::kUsage, {.what = fmt::format("unknown option '{}'", word),
                                     .where = full_name(verb),
                                     .hint = near.empty() ? fmt::format("see {}", help)
                                                          : fmt::format("did you mean '{}'?", near)});
  }
  std::vector<std::string> verbs = verb_names(verb);
  if (verbs.empty())
    return Error(ErrorCode::kUsage, {.what = fmt::format("unexpected argument '{}'", word),
                                     .where = full_name(verb),
                                     .hint = fmt::format("see {}", help)});
  return Error(ErrorCode::kUsage, {.what = fmt::format("unknown command '{}'", word),
                                   .where = full_name(verb),
                                   .hint = suggest(word, verbs)});
}

Error usage_error(CLI::App& app, const CLI::ParseError& error) {
  CLI::App* verb = deepest(&app);
  if (std::vector<std::string> left = app.remaining(true); !left.empty())
    return unexpected(verb, left.front());
  return Error(ErrorCode::kUsage, {.what = error.what(),
                                   .where = full_name(verb),
                                   .hint = fmt::format("see {} --help", full_name(verb))});
}

void parse(CLI::App& app, int argc, char** argv) {
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& asked_for_text) {  // --help, --version
    app.exit(asked_for_text);
  } catch (const CLI::ParseError& error) {
    throw usage_error(app, error);
  }
}

// Data went to standard output in pieces; a full disk shows only now.
void flush_output() {
  if (std::fflush(stdout) != 0 || std::ferror(stdout))
    throw std::system_error(errno, std::generic_category(), "cannot write to file");
}

int failed(int code, std::string message) {
  for (size_t at = 0; (at = message.find('\n', at)) != std::string::npos;)
    message.replace(at, message.find_first_not_of("\n ", at) - at, message[at - 1] == ':' ? " " : "; ");
  print_error(message);
  return code;
}

}  // namespace

CLI::App* add_verb(CLI::App& app, const std::string& name, const std::string& summary,
                   const std::string& examples) {
  CLI::App* verb = app.add_subcommand(name, summary);
  verb->footer("Examples:\n" + examples);
  return verb;
}

int run(int argc, char** argv) {
  int failure = static_cast<int>(ErrorCode::kFailure);
  try {
    CLI::App app("Deep-learning training, the whole step compiled.", "wholestep");
    app.set_version_flag("--version", fmt::format("wholestep {}", version()));
    app.require_subcommand(1);
    app.fallthrough();
    bool verbose = false;
    app.add_flag("--verbose", verbose, "say more on standard error");
    app.parse_complete_callback([&] { log_to_terminal(verbose); });
    app.footer(kExitCodes);
    add_verbs(app);
    parse(app, argc, argv);
    flush_output();
    return 0;
  } catch (const Error& error) {
    std::fflush(stdout);
    return failed(static_cast<int>(error.code()), error.what());
  } catch (const std::system_error& error) {  // of standard output and of the file system
    return failed(static_cast<int>(ErrorCode::kIo), error.what());
  } catch (const std::bad_alloc&) {
    return failed(failure, "out of memory");
  } catch (const std::exception& error) {
    return failed(failure, error.what());
  }
}

}  // namespace wholestep::cli
