// wholestep bench: training steps a second on the networks of the speed comparison. The protocol and the
// fields of its JSON lines are those of the scripts that measure other frameworks, so that results stand side
// by side: four random batches in memory take turns, 8 steps to warm up, 3 timed rounds, the median counts.
// On a device the batches lie there, and a round is queued whole and waited for at its end.
#include <fmt/format.h>
#include <sys/resource.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <nlohmann/json.hpp>

#include "wholestep/backend/cpu/peaks.h"
#include "wholestep/backend/cpu/thread_pool.h"
#include "wholestep/base/human.h"
#include "wholestep/base/philox.h"
#include "wholestep/base/suggest.h"
#include "wholestep/cli/app.h"
#include "wholestep/cli/job.h"
#include "wholestep/compile/region_work.h"

namespace wholestep::cli {
namespace {

using nlohmann::json;
using Clock = std::chrono::steady_clock;

struct Work {
  std::string name, model;
  int64_t batch_size;
  json optimizer;
};

const std::vector<Work>& all_work() {
  static const std::vector<Work> work = {
      {"W1", "w1", 32, {{"type", "sgd"}, {"lr", 0.01}}},
      {"W2", "w2", 64, {{"type", "sgd"}, {"lr", 0.01}, {"momentum", 0.9}}},
      {"W3", "w3", 32, {{"type", "adam"}}},
      {"W4", "w4", 32, {{"type", "adam"}}},
      {"W4s", "w4s", 32, {{"type", "adam"}}},
      {"R18", "resnet18", 32, {{"type", "adam"}}},
      {"R50", "resnet50", 32, {{"type", "adam"}}},
      {"V16", "vit-b-16", 32, {{"type", "adam"}}},
  };
  return work;
}

const Work& find_work(const std::string& name) {
  std::vector<std::string> names;
  for (const Work& work : all_work()) {
    if (work.name == name) return work;
    names.push_back(work.name);
  }
  throw Error(ErrorCode::kUsage,
              {.what = "no such work", .got = fmt::format("'{}'", name), .hint = suggest(name, names)});
}

struct BenchOptions {
  std::vector<std::string> work = {"W1", "W2", "W3", "W4", "W4s"};
  std::string device = "auto", precision = "f32";
  double seconds = 2;
  int64_t threads = 0;
  bool infer = false, no_tf32 = false, json = false, peaks = false;
};

constexpr int64_t kBatches = 4;

struct RandomBatches {
  std::vector<uint8_t> pixels;
  std::vector<int32_t> labels;
  int64_t rows, sample_bytes;

  RandomBatches(const nn::Model& model, int64_t batch_size)
      : rows(batch_size), sample_bytes(model.input.numel()) {
    PhiloxStream random(0, 1);
    pixels.resize(static_cast<size_t>(kBatches * rows * sample_bytes));
    labels.resize(static_cast<size_t>(kBatches * rows));
    for (uint8_t& pixel : pixels) pixel = static_cast<uint8_t>(random.uniform(0.0f, 256.0f));
    for (int32_t& label : labels)
      label = std::min(static_cast<int32_t>(random.uniform(0.0f, static_cast<float>(model.classes))),
                       static_cast<int32_t>(model.classes - 1));
  }
  std::span<const uint8_t> pixels_of(int64_t batch) const {
    return std::span(pixels).subspan(static_cast<size_t>(batch * rows * sample_bytes),
                                     static_cast<size_t>(rows * sample_bytes));
  }
  std::span<const int32_t> labels_of(int64_t batch) const {
    return std::span(labels).subspan(static_cast<size_t>(batch * rows), static_cast<size_t>(rows));
  }
};

/// The step of a work, as it runs on the device: batches written one by one on the CPU, where that is a copy
/// from memory to memory, resident elsewhere.
class Runner {
 public:
  Runner(Job& job, const BenchOptions& options, int64_t batch_size)
      : batches_(job.model, batch_size),
        resident_(!job.device.backend->host_memory()),
        infer_(options.infer),
        step_(*job.model.module, *job.loss, *job.optimizer, job.model.input, job.step_config()) {
    if (resident_) {
      std::vector<std::string> classes(static_cast<size_t>(job.model.classes));
      dataset_ = std::make_unique<InMemoryDataset>(job.model.input, batches_.pixels, batches_.labels, classes,
                                                   "bench");
      step_.keep_resident(*dataset_, infer_ ? dataset_.get() : nullptr);
    }
    step_.prepare({batch_size}, {batch_size});
  }

  const TrainStep& step() const { return step_; }
  bool resident() const { return resident_; }

  /// Returns when all are done.
  void run(int64_t steps) {
    if (resident_) {
      if (infer_) step_.evaluate_resident(batches_.rows, steps), step_.eval_metrics();
      else step_.train_resident(batches_.rows, steps), step_.train_metrics();
      return;
    }
    for (int64_t i = 0; i < steps; ++i) {
      auto pixels = batches_.pixels_of(i % kBatches);
      auto labels = batches_.labels_of(i % kBatches);
      if (infer_) step_.evaluate(pixels, labels);
      else step_.train(pixels, labels);
    }
  }

 private:
  RandomBatches batches_;
  bool resident_, infer_;
  std::unique_ptr<Dataset> dataset_;
  TrainStep step_;
};

/// What a step has to move and to compute.
RegionWork step_work(const Plan& plan) {
  RegionWork total;
  for (const RegionWork& region : region_work(plan)) total.bytes += region.bytes, total.flops += region.flops;
  return total;
}

struct Measured {
  std::array<double, 3> steps_s{};  ///< of the rounds, rising
};

Measured measure(double seconds, Runner& runner) {
  auto since = [](Clock::time_point start) {
    return std::chrono::duration<double>(Clock::now() - start).count();
  };
  runner.run(2 * kBatches);
  // Rounds that double until they last, so that waiting at their ends does not count.
  int64_t steps = 1;
  double took = 0;
  for (; took < 0.15; steps *= 2) {
    auto start = Clock::now();
    runner.run(steps);
    took = since(start);
  }
  double per_step = took / static_cast<double>(steps / 2);
  int64_t round = std::max<int64_t>(5, static_cast<int64_t>(seconds / 3 / per_step));
  Measured measured;
  for (double& rate : measured.steps_s) {
    auto start = Clock::now();
    runner.run(round);
    rate = static_cast<double>(round) / since(start);
  }
  std::ranges::sort(measured.steps_s);
  return measured;
}

/// What the step holds on the device; on the CPU, of the whole process.
double peak_mib(const Runner& runner) {
  if (runner.resident()) return static_cast<double>(runner.step().used_bytes()) / (1 << 20);
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  return static_cast<double>(usage.ru_maxrss) / 1024;
}

double rounded(double value, double per_unit) { return std::round(value * per_unit) / per_unit; }

void bench(const Work& work, const BenchOptions& options) {
  RunConfig config;
  config.model = work.model;
  config.optimizer = work.optimizer;
  config.device = options.device;
  config.threads = options.threads;
  config.tf32 = !options.no_tf32;
  config.precision = options.precision;
  Job job = make_job(std::move(config));
  Runner runner(job, options, work.batch_size);
  Measured m = measure(options.seconds, runner);
  const TrainStep& step = runner.step();
  const RegionWork of_step =
      step_work(options.infer ? step.eval_plan(work.batch_size) : step.train_plan(work.batch_size));
  double samples_s = m.steps_s[1] * static_cast<double>(work.batch_size);
  if (options.json) {
    json line = {{"peer", "wholestep"},
                 {"work", work.name},
                 {"mode", "step"},
                 {"device", job.device.backend->name()},
                 {"infer", options.infer},
                 {"threads", default_pool().threads()},
                 {"tf32", !options.no_tf32},
                 {"precision", options.precision},
                 {"steps_s", rounded(m.steps_s[1], 100)},
                 {"lo", rounded(m.steps_s[0], 100)},
                 {"hi", rounded(m.steps_s[2], 100)},
                 {"samples_s", rounded(samples_s, 10)},
                 {"gflops_s", rounded(of_step.flops * m.steps_s[1] / 1e9, 10)},
                 {"gb_s", rounded(of_step.bytes * m.steps_s[1] / 1e9, 10)},
                 {"peak_mib", rounded(peak_mib(runner), 10)}};
    fmt::print("{}\n", line.dump());
  } else {
    fmt::print(
        "{:<5} {:>10} steps/s  ({} to {})  {:>12} samples/s  {:>10} arena  {:>8.1f} GFLOP/s  {:>7.1f} GB/s\n",
        work.name, human_rate(m.steps_s[1]), human_rate(m.steps_s[0]), human_rate(m.steps_s[2]),
        human_rate(samples_s), human_bytes(step.predicted_bytes()), of_step.flops * m.steps_s[1] / 1e9,
        of_step.bytes * m.steps_s[1] / 1e9);
  }
  std::fflush(stdout);
}

/// What the CPU reaches at most, to hold rates against.
void print_peaks(const BenchOptions& options) {
  if (options.threads > 0) set_threads(static_cast<int>(options.threads));
  const CpuPeaks peaks = measure_cpu_peaks();
  if (options.json)
    fmt::print("{}\n", json{{"peer", "peaks"},
                            {"threads", default_pool().threads()},
                            {"gflops_s", rounded(peaks.flops / 1e9, 10)},
                            {"gb_s", rounded(peaks.bytes / 1e9, 10)}}
                           .dump());
  else
    fmt::print("{} threads: {:.1f} GFLOP/s of f32 multiply-adds in registers, {:.1f} GB/s of a copy\n",
               default_pool().threads(), peaks.flops / 1e9, peaks.bytes / 1e9);
}

}  // namespace

void add_bench(CLI::App& app) {
  CLI::App* verb = add_verb(
      app, "bench", "Steps a second on the networks of the speed comparison",
      "  wholestep bench --work W1,W2,W3 --threads 2\n"
      "  wholestep bench --work W2 --infer --seconds 5 --json\n"
      "W1 tiny CNN, W2 LeNet-5, W3 MLP, W4 wide CNN, W4s strided CNN; of pictures of 224x224 pixels R18 and\n"
      "R50, ResNet-18 and -50, and V16, ViT-B/16.\n");
  auto o = std::make_shared<BenchOptions>();
  verb->add_option("--work", o->work, "which, with commas between [W1,W2,W3,W4,W4s]")->delimiter(',');
  verb->add_option("--device", o->device, "auto, cpu, cuda or cuda:N")->capture_default_str();
  verb->add_flag("--no-tf32", o->no_tf32, "exact f32 products on a GPU");
  verb->add_option("--precision", o->precision, "of products on a CPU: f32 or bf16")
      ->capture_default_str()
      ->check(CLI::IsMember({"f32", "bf16"}));
  verb->add_option("--threads", o->threads, "compute threads [one a core]");
  verb->add_option("--seconds", o->seconds, "of measuring for each work")
      ->capture_default_str()
      ->check(CLI::PositiveNumber);
  verb->add_flag("--infer", o->infer, "evaluation steps instead of training steps");
  verb->add_flag("--json", o->json, "a JSON object a line");
  verb->add_flag("--peaks", o->peaks, "no work, but what the CPU reaches in arithmetic and in copying");
  verb->callback([o] {
    if (o->peaks) return print_peaks(*o);
    std::vector<const Work*> work;
    for (const std::string& name : o->work) work.push_back(&find_work(name));
    for (const Work* one : work) bench(*one, *o);
  });
}

}  // namespace wholestep::cli
