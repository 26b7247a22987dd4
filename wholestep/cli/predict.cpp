// wholestep predict: classes and probabilities for files.
#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <numeric>

#include "wholestep/base/human.h"
#include "wholestep/cli/app.h"
#include "wholestep/cli/job.h"
#include "wholestep/cli/sample_files.h"
#include "wholestep/cli/terminal.h"
#include "wholestep/train/evaluator.h"
#include "wholestep/train/run_folder.h"
#include "wholestep/train/trained_model.h"

namespace wholestep::cli {
namespace {

using nlohmann::json;

struct PredictOptions {
  bool no_tf32 = false;
  std::string place, device = "auto", precision = "f32";
  std::vector<std::string> files;
  int64_t threads = 0;
  size_t top = 3;
  bool invert = false, json = false;
};

// Classes by falling probability; equal ones in their own order.
std::vector<size_t> ranking(std::span<const float> probabilities) {
  std::vector<size_t> order(probabilities.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::ranges::stable_sort(order, [&](size_t a, size_t b) { return probabilities[a] > probabilities[b]; });
  return order;
}

void print_sample(const std::string& name, int64_t predicted, std::span<const float> probabilities,
                  const std::vector<std::string>& classes, const PredictOptions& options) {
  auto class_name = [&](size_t c) { return c < classes.size() ? classes[c] : std::to_string(c); };
  size_t best = static_cast<size_t>(predicted);
  if (options.json) {
    json line = {
        {"sample", name}, {"class", class_name(best)}, {"index", best}, {"probability", probabilities[best]}};
    for (size_t c = 0; c < probabilities.size(); ++c) line["probabilities"][class_name(c)] = probabilities[c];
    fmt::print("{}\n", line.dump());
    return;
  }
  std::string others;
  std::vector<size_t> order = ranking(probabilities);
  for (size_t i = 0, shown = 1; i < order.size() && shown < options.top; ++i)
    if (order[i] != best) {
      others += fmt::format("  {} {}", class_name(order[i]),
                            human_percent(static_cast<double>(probabilities[order[i]])));
      ++shown;
    }
  fmt::print("{}: {} {}{}\n", name, class_name(best), human_percent(static_cast<double>(probabilities[best])),
             others);
}

void print_numbers(const std::string& name, std::span<const float> numbers,
                   const std::vector<std::string>& targets, const PredictOptions& options) {
  json line = {{"sample", name}};
  std::string text;
  for (size_t k = 0; k < targets.size(); ++k) {
    line["targets"][targets[k]] = numbers[k];
    text += fmt::format("  {} {:.6g}", targets[k], numbers[k]);
  }
  if (options.json) fmt::print("{}\n", line.dump());
  else fmt::print("{}:{}\n", name, text.substr(1));
}

void predict(const PredictOptions& options) {
  constexpr int64_t kBatch = 64;
  Device device = use_device(options.device, options.threads);
  use_precision(options.precision, !options.no_tf32, device);
  FoundCheckpoint found = require_checkpoint(options.place, Prefer::kBest);
  if (!found.damage.empty())
    print_note(fmt::format("wholestep: warning: {}; using {}", found.damage, found.path.string()));
  TrainedModel trained = load_trained_model(found.path);
  NamedSamples samples;
  for (const std::string& file : options.files) read_samples(file, trained, options.invert, samples);
  int64_t count = static_cast<int64_t>(samples.names.size());
  if (count == 0) throw Error(ErrorCode::kBadData, {.what = "there are no samples in these files"});

  std::unique_ptr<nn::Loss> loss = loss_of(trained.run);
  const SampleType sample = trained.sample();
  Evaluator evaluator(*trained.model.module, loss.get(), sample, trained.normalization,
                      batch_sizes(count, kBatch), {.backend = device.backend});
  size_t sample_bytes = static_cast<size_t>(sample.shape.numel() * size_bytes(sample.dtype));
  for (int64_t first = 0; first < count; first += kBatch) {
    size_t rows = static_cast<size_t>(std::min(kBatch, count - first)), begin = static_cast<size_t>(first);
    Predictions p =
        evaluator.run(std::span(samples.pixels).subspan(begin * sample_bytes, rows * sample_bytes), {},
                      static_cast<int64_t>(rows));
    size_t classes = p.probabilities.size() / rows, width = p.numbers.size() / rows;
    for (size_t i = 0; i < rows; ++i)
      if (width > 0)
        print_numbers(samples.names[begin + i], p.numbers.subspan(i * width, width), trained.targets,
                      options);
      else
        print_sample(samples.names[begin + i], p.classes[i], p.probabilities.subspan(i * classes, classes),
                     trained.class_names, options);
  }
}

}  // namespace

void add_predict(CLI::App& app) {
  CLI::App* verb =
      add_verb(app, "predict", "Classes and probabilities for pictures, rows or IDX files",
               "  wholestep predict runs/lenet three.png --invert\n"
               "  wholestep predict runs/lenet rows.csv idx:data/mnist/t10k-images-idx3-ubyte.gz --json\n"
               "Pictures are made grey or RGB as the model takes them, and resized by averaging areas.\n"
               "A .csv file holds a sample a line, each value 0 to 255; for a model trained on a table a\n"
               "header and at least the columns it was trained on.\n");
  auto o = std::make_shared<PredictOptions>();
  verb->add_option("run", o->place, "checkpoint, version folder, or folder of versions")->required();
  verb->add_option("files", o->files, "*.png, *.jpg, *.csv or idx:FILE")->required();
  verb->add_flag("--invert", o->invert, "pictures are dark on light where training was light on dark");
  verb->add_option("--top", o->top, "classes shown for a sample")
      ->capture_default_str()
      ->check(CLI::PositiveNumber);
  verb->add_option("--device", o->device, "auto, cpu, cuda or cuda:N")->capture_default_str();
  verb->add_flag("--no-tf32", o->no_tf32, "exact f32 products on a GPU");
  verb->add_option("--precision", o->precision, "of products on a CPU: f32 or bf16")
      ->capture_default_str()
      ->check(CLI::IsMember({"f32", "bf16"}));
  verb->add_option("--threads", o->threads, "compute threads [one a core]");
  verb->add_flag("--json", o->json, "a JSON object a line, with all probabilities");
  verb->callback([o] { predict(*o); });
}

}  // namespace wholestep::cli
