// report.html: one self-contained page that shows a colleague what a training run did. A plain struct in, the
// page's text out.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "wholestep/compile/plan_table.h"
#include "wholestep/io/image.h"
#include "wholestep/train/trainer.h"

namespace wholestep {

/// A wrong prediction with its picture.
struct Mistake {
  Evaluation::Sample sample;
  Image picture;
};

/// A line of the model's summary.
struct LayerRow {
  std::string name, description, output;
  int64_t parameters = 0;
};

struct ReportData {
  std::string title;     ///< "lenet"
  std::string data;      ///< "60000 train and 10000 test samples [1, 28, 28] from mnist"
  std::string outcome;   ///< "finished after 5 epochs"
  std::string finished;  ///< date and time
  std::vector<EpochResult> history;
  double seconds = 0, samples_s = 0;
  int64_t parameters = 0;  ///< trained elements

  std::optional<Evaluation> evaluation;  ///< of the model the report is about
  std::string evaluated;  ///< what was evaluated: "the best checkpoint, epoch 4, on 10,000 samples"
  std::vector<std::string> class_names, target_names;
  std::vector<Mistake> mistakes;  ///< worst first; empty where samples are no pictures

  std::optional<MemoryReport> memory;  ///< of the training plan
  std::vector<PlanRow> kernels;
  std::vector<LayerRow> layers;

  std::string configuration;                                     ///< TOML
  std::vector<std::pair<std::string, std::string>> environment;  ///< version, CPU, threads, ...
};

/// A whole HTML document without references to anything outside it.
std::string render_report(const ReportData& data);

/// The epoch of the lowest validation loss, of the lowest training loss where nothing was validated; null for
/// an empty history.
const EpochResult* best_epoch(const std::vector<EpochResult>& history);

}  // namespace wholestep
