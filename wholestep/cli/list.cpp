// wholestep list: what there is to choose from, from the registries themselves.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "wholestep/base/suggest.h"
#include "wholestep/cli/app.h"
#include "wholestep/graph/op.h"
#include "wholestep/nn/loss.h"
#include "wholestep/nn/zoo.h"
#include "wholestep/optim/optimizer.h"

namespace wholestep::cli {
namespace {

using nlohmann::json;

struct Entry {
  std::string name, doc;
  std::vector<ConfigFieldRow> fields = {};
  std::vector<std::string> kernels = {};  // "cpu/direct", fastest first
};

template <class Types>
std::vector<Entry> typed_entries(const Types& types) {
  std::vector<Entry> entries;
  for (const auto& type : types) entries.push_back({type.name, type.doc, type.fields});
  return entries;
}

std::vector<Entry> ops() {
  std::vector<Entry> entries;
  for (const OpDef* op : all_ops()) {
    Entry entry{op->name, op->doc};
    for (const Kernel& kernel : op->kernels)
      entry.kernels.push_back(fmt::format("{}/{}", kernel.backend, kernel.name));
    entries.push_back(std::move(entry));
  }
  return entries;
}

std::vector<Entry> models() {
  std::vector<Entry> entries;
  for (const nn::ZooEntry& entry : nn::zoo()) entries.push_back({entry.name, entry.doc});
  return entries;
}

struct Kind {
  std::string name;
  std::vector<Entry> (*entries)();
};

const std::vector<Kind>& kinds() {
  static const std::vector<Kind> all = {
      {"layers", [] { return typed_entries(nn::layer_types()); }},
      {"losses", [] { return typed_entries(nn::loss_types()); }},
      {"optimizers", [] { return typed_entries(optim::optimizer_types()); }},
      {"schedules", [] { return typed_entries(optim::schedule_types()); }},
      {"ops", ops},
      {"models", models}};
  return all;
}

json to_json(const std::vector<Entry>& entries) {
  json list = json::array();
  for (const Entry& entry : entries) {
    json object = {{"name", entry.name}, {"doc", entry.doc}};
    for (const ConfigFieldRow& field : entry.fields)
      object["fields"].push_back(
          {{"name", field.name}, {"type", field.type}, {"default", field.fallback}, {"doc", field.doc}});
    if (!entry.kernels.empty()) object["kernels"] = entry.kernels;
    list.push_back(std::move(object));
  }
  return list;
}

void print_fields(const std::vector<ConfigFieldRow>& fields) {
  size_t width = 0;
  auto title = [](const ConfigFieldRow& field) {
    return field.fallback.empty() || field.fallback == "required" ? field.name
                                                                  : field.name + " = " + field.fallback;
  };
  for (const ConfigFieldRow& field : fields) width = std::max(width, title(field).size());
  for (const ConfigFieldRow& field : fields)
    fmt::print("    {:<{}}  {}{} ({})\n", title(field), width,
               field.fallback == "required" ? "required: " : "", field.doc, field.type);
}

void print_entries(const std::vector<Entry>& entries) {
  size_t width = 0;
  for (const Entry& entry : entries) width = std::max(width, entry.name.size());
  for (const Entry& entry : entries) {
    fmt::print("{:<{}}  {}\n", entry.name, width, entry.doc);
    print_fields(entry.fields);
    if (!entry.kernels.empty()) fmt::print("    kernels: {}\n", fmt::join(entry.kernels, ", "));
  }
}

void list(const std::string& kind_name, bool as_json) {
  std::vector<std::string> names;
  for (const Kind& kind : kinds()) {
    if (kind.name == kind_name) {
      if (as_json) fmt::print("{}\n", to_json(kind.entries()).dump(2));
      else print_entries(kind.entries());
      return;
    }
    names.push_back(kind.name);
  }
  throw Error(ErrorCode::kUsage, {.what = "there is no such list",
                                  .got = fmt::format("'{}'", kind_name),
                                  .hint = suggest(kind_name, names)});
}

}  // namespace

void add_list(CLI::App& app) {
  CLI::App* verb = add_verb(app, "list", "Layers, losses, optimizers, schedules, ops and models there are",
                            "  wholestep list layers\n  wholestep list optimizers --json\n");
  struct Options {
    std::string kind;
    bool json = false;
  };
  auto o = std::make_shared<Options>();
  verb->add_option("kind", o->kind, "layers, losses, optimizers, schedules, ops or models")->required();
  verb->add_flag("--json", o->json, "a JSON array on standard output");
  verb->callback([o] { list(o->kind, o->json); });
}

}  // namespace wholestep::cli
