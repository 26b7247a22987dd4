// wholestep list: what there is to choose from, from the registries themselves.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "wholestep/base/suggest.h"
#include "wholestep/cli/app.h"
#include "wholestep/graph/widen.h"
#include "wholestep/nn/ctc_loss.h"
#include "wholestep/nn/embedding_losses.h"
#include "wholestep/nn/loss.h"
#include "wholestep/nn/transformer.h"
#include "wholestep/nn/zoo.h"
#include "wholestep/optim/lbfgs.h"
#include "wholestep/optim/optimizer.h"

namespace wholestep::cli {
namespace {

using nlohmann::json;

struct Entry {
  std::string name, doc;
  std::vector<ConfigFieldRow> fields = {};
  std::vector<std::string> dtypes = {};   // of the first operand that is not a condition, and its equals
  std::vector<std::string> kernels = {};  // "cpu/direct", fastest first
  std::string shapes = {}, gradient = {}, source = {};
};

template <class Types>
std::vector<Entry> typed_entries(const Types& types) {
  std::vector<Entry> entries;
  for (const auto& type : types) entries.push_back({type.name, type.doc, type.fields});
  return entries;
}

/// The case with `dtype` in place of that of the first operand that is not a condition, wherever it occurs;
/// of an op without operands, of its result.
OpCase with_dtype(OpCase request, DType dtype) {
  auto first = std::ranges::find_if(request.inputs,
                                    [](const TensorType& type) { return type.dtype != DType::boolean; });
  if (first == request.inputs.end()) first = request.inputs.begin();
  if (first == request.inputs.end()) request.attrs.set({"dtype", std::string(name(dtype))});
  else
    for (const DType old = first->dtype; TensorType & type : request.inputs)
      if (type.dtype == old) type.dtype = dtype;
  return request;
}

/// Whether the op infers a result and every backend has a kernel for it.
bool takes(const OpDef& op, const OpCase& request) {
  try {
    Types inputs = request.inputs, outputs = infer_types(op, inputs, request.attrs);
    if (runs_widened(op, inputs)) inputs = widened(inputs), outputs = widened(outputs);
    KernelRequest asked{op.name, inputs, outputs, request.attrs};
    for (const char* backend : {"cpu", "cuda"}) choose_kernel(op, asked, backend).kernel->prepare(asked);
    return true;
  } catch (const Error&) {
    return false;
  }
}

std::vector<Entry> ops() {
  std::vector<Entry> entries;
  for (const OpDef* op : all_ops()) {
    Entry entry{.name = op->name, .doc = op->doc, .shapes = op->shapes, .gradient = op->gradient};
    entry.source = op->where.file_name();
    if (size_t root = entry.source.rfind("wholestep/"); root != std::string::npos)
      entry.source.erase(0, root);
    const std::vector<OpCase> cases = op->cases();
    for (DType dtype :
         {DType::f32, DType::f64, DType::f16, DType::bf16, DType::i32, DType::i64, DType::u8, DType::boolean})
      if (std::ranges::any_of(cases, [&](const OpCase& c) { return takes(*op, with_dtype(c, dtype)); }))
        entry.dtypes.emplace_back(name(dtype));
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

/// What only programs can name: losses of more than an output and a target, and what the host leads.
std::vector<Entry> library() {
  auto entry = [](const char* name, const char* doc, ConfigFields fields) {
    return Entry{name, doc, document_fields(fields)};
  };
  using Decoder = nn::TransformerDecoderLayer;
  return {entry(Decoder::kType, Decoder::kDoc, nn::TransformerEncoderLayerConfig().fields()),
          entry("CosineEmbeddingLoss", nn::CosineEmbeddingConfig::kDoc, nn::CosineEmbeddingConfig().fields()),
          entry("TripletMarginLoss", nn::TripletMarginConfig::kDoc, nn::TripletMarginConfig().fields()),
          entry("CTCLoss", nn::CTCConfig::kDoc, nn::CTCConfig().fields()),
          entry("LBFGS", optim::LBFGSConfig::kDoc, optim::LBFGSConfig().fields())};
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
      {"models", models},
      {"library", library}};
  return all;
}

json to_json(const std::vector<Entry>& entries) {
  json list = json::array();
  for (const Entry& entry : entries) {
    json object = {{"name", entry.name}, {"doc", entry.doc}};
    for (const ConfigFieldRow& field : entry.fields)
      object["fields"].push_back(
          {{"name", field.name}, {"type", field.type}, {"default", field.fallback}, {"doc", field.doc}});
    if (!entry.kernels.empty()) {
      object["dtypes"] = entry.dtypes, object["kernels"] = entry.kernels, object["source"] = entry.source;
      object["shapes"] = entry.shapes, object["gradient"] = entry.gradient;
    }
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
    if (!entry.kernels.empty())
      fmt::print("    shapes: {}\n    gradient: {}\n    dtypes: {}\n    kernels: {}\n    source: {}\n",
                 entry.shapes, entry.gradient.empty() ? "none" : entry.gradient, fmt::join(entry.dtypes, " "),
                 fmt::join(entry.kernels, ", "), entry.source);
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
  CLI::App* verb =
      add_verb(app, "list", "Layers, losses, optimizers, schedules, ops, models and what programs have more",
               "  wholestep list layers\n  wholestep list optimizers --json\n");
  struct Options {
    std::string kind;
    bool json = false;
  };
  auto o = std::make_shared<Options>();
  verb->add_option("kind", o->kind, "layers, losses, optimizers, schedules, ops, models or library")
      ->required();
  verb->add_flag("--json", o->json, "a JSON array on standard output");
  verb->callback([o] { list(o->kind, o->json); });
}

}  // namespace wholestep::cli
