// Keeping and using what was trained: a run folder with checkpoints, a model loaded from one, and its
// answers.
#include <wholestep/wholestep.h>
#include <cstdio>

namespace ws = wholestep;

/// Trains LeNet for an epoch and returns the folder of its last checkpoint.
std::filesystem::path train(const ws::DataSplits& data, const std::filesystem::path& run_folder) {
  ws::nn::Model lenet = ws::nn::find_model("lenet");
  ws::Trainer trainer({.max_epochs = 1,
                       .description = ws::describe_model(lenet, nullptr),  // so that it can be loaded again
                       .run_folder = run_folder});
  return trainer.fit(*lenet.module, ws::optim::Adam(), ws::nn::CrossEntropyLoss(), data).checkpoint;
}

int main(int, char** arguments) {
  const std::filesystem::path run_folder = arguments[1] ? arguments[1] : "runs/example";
  ws::DataSplits data = ws::open_data("digits:train=4000,test=500");
  ws::TrainedModel trained = ws::load_trained_model(train(data, run_folder));

  ws::Evaluation all =
      ws::evaluate(*trained.model.module, ws::nn::CrossEntropyLoss(), *data.test, trained.normalization);
  std::printf("accuracy on %lld new digits: %.1f %%\n", static_cast<long long>(all.samples),
              100 * *all.accuracy);

  ws::Evaluator evaluator(*trained.model.module, nullptr, trained.model.input, trained.normalization, {1});
  std::vector<uint8_t> pixels(static_cast<size_t>(data.test->sample_bytes()));
  data.test->read(0, pixels);
  ws::Predictions answer = evaluator.run(pixels, {}, 1);
  size_t best = static_cast<size_t>(answer.classes[0]);
  std::printf("the first is a %d, taken for a %s with probability %.2f\n", data.test->label(0),
              trained.class_names[best].c_str(), static_cast<double>(answer.probabilities[best]));
  return all.accuracy > 0.5 ? 0 : 1;
}
