// wholestep devices: what there is to compute with, and why not more.
#include <fmt/format.h>
#include <unistd.h>

#include <nlohmann/json.hpp>

#include "wholestep/backend/cpu/isa.h"
#include "wholestep/backend/cpu/thread_pool.h"
#include "wholestep/backend/cuda/library.h"
#include "wholestep/base/human.h"
#include "wholestep/cli/app.h"

namespace wholestep::cli {
namespace {

using nlohmann::json;

int64_t memory_bytes() { return int64_t{::sysconf(_SC_PHYS_PAGES)} * ::sysconf(_SC_PAGESIZE); }

std::string architecture(const CudaDevice& gpu) { return fmt::format("sm_{}{}", gpu.major, gpu.minor); }

json or_null(const std::string& text) { return text.empty() ? json() : json(text); }

json to_json(const CudaReport& report) {
  json gpus = json::array();
  for (const CudaDevice& gpu : report.devices)
    gpus.push_back({{"device", fmt::format("cuda:{}", gpu.index)},
                    {"name", gpu.name},
                    {"architecture", architecture(gpu)},
                    {"multiprocessors", gpu.multiprocessors},
                    {"memory_bytes", gpu.memory_bytes},
                    {"free_bytes", gpu.free_bytes},
                    {"refusal", or_null(gpu.refusal)}});
  return {{"cpu",
           {{"threads", default_pool().threads()},
            {"instruction_set", name(active_isa())},
            {"memory_bytes", memory_bytes()}}},
          {"cuda",
           {{"devices", std::move(gpus)},
            {"versions", or_null(report.versions)},
            {"refusal", or_null(report.refusal)}}}};
}

void print_devices(const CudaReport& report) {
  fmt::print("cpu     {} threads, {}, {} memory\n", default_pool().threads(), name(active_isa()),
             human_bytes(memory_bytes()));
  for (const CudaDevice& gpu : report.devices) {
    fmt::print("cuda:{}  {}, {}, {} multiprocessors, {} memory, {} free\n", gpu.index, gpu.name,
               architecture(gpu), gpu.multiprocessors, human_bytes(gpu.memory_bytes),
               human_bytes(gpu.free_bytes));
    if (!gpu.refusal.empty()) fmt::print("        cannot be used: {}\n", gpu.refusal);
  }
  if (!report.refusal.empty()) fmt::print("cuda    none: {}\n", report.refusal);
  if (!report.versions.empty()) fmt::print("        {}\n", report.versions);
}

}  // namespace

void add_devices(CLI::App& app) {
  CLI::App* verb = add_verb(app, "devices", "What --device can name here, and why not more",
                            "  wholestep devices\n  wholestep devices --json\n");
  auto as_json = std::make_shared<bool>(false);
  verb->add_flag("--json", *as_json, "one JSON object on standard output");
  verb->callback([as_json] {
    CudaReport report = cuda_report();
    if (*as_json) fmt::print("{}\n", to_json(report).dump(2));
    else print_devices(report);
  });
}

}  // namespace wholestep::cli
