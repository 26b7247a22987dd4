// Collects what report.html shows while a run goes on, and writes the page.
#pragma once
#include <filesystem>
#include <optional>
#include <string>

#include "wholestep/cli/job.h"
#include "wholestep/train/report.h"

namespace wholestep::cli {

/// The training plan has to be looked at while there is one: add this to the trainer.
class PlanObserver final : public Callback {
 public:
  explicit PlanObserver(int64_t batch_size) : batch_size_(batch_size) {}
  void on_fit_begin(const TrainStep& step) override;
  std::optional<MemoryReport> memory;
  std::vector<PlanRow> kernels;

 private:
  int64_t batch_size_;
};

/// The report of a finished or stopped run. `evaluated` is the dataset `evaluation` is of.
ReportData collect_report(const Job& job, const DataSplits& data, const FitResult& result,
                          const PlanObserver& plan);
/// Adds an evaluation of the model, its mistakes with their pictures.
void add_evaluation(ReportData& report, Evaluation evaluation, const std::string& evaluated,
                    const Dataset& dataset);

/// "accuracy 98.41 %  loss 0.0512", or of numbers "R2 0.9871  RMSE 0.1204  MAE 0.0961  loss 0.0145".
std::string quality_of(const Evaluation& evaluation);
/// {"mae": ..., "mse": ..., "rmse": ..., "r2": ...}
nlohmann::json regression_json(const Regression& regression);

std::string bad_step(const FitResult& result);    ///< of a run that stopped at one: "step 12"
std::string outcome_of(const FitResult& result);  ///< "finished after 5 epochs"

}  // namespace wholestep::cli
