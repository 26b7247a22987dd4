// Does a step stay as fast as it was? Times step 20 and step 2,000 of LeNet (medians of the steps around
// them) and says how long the plan took to make. Usage: steady_state [steps]
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <vector>

#include "wholestep/base/philox.h"
#include "wholestep/nn/class_losses.h"
#include "wholestep/nn/zoo.h"
#include "wholestep/optim/sgd.h"
#include "wholestep/train/train_step.h"

namespace {

using namespace wholestep;
using Clock = std::chrono::steady_clock;

double median_around(const std::vector<double>& seconds, size_t at) {
  size_t first = at < 15 ? 0 : at - 15;
  std::vector<double> near(seconds.begin() + static_cast<long>(first),
                           seconds.begin() + static_cast<long>(std::min(seconds.size(), at + 15)));
  std::ranges::nth_element(near, near.begin() + static_cast<long>(near.size() / 2));
  return near[near.size() / 2];
}

}  // namespace

int main(int argc, char** argv) {
  const size_t steps = argc > 1 ? static_cast<size_t>(std::atol(argv[1])) : 2000;
  constexpr int64_t kBatch = 64;
  nn::Model model = nn::find_model("lenet");
  model.module->initialize(0);
  optim::SGD sgd({.lr = 0.01, .momentum = 0.9});
  sgd.attach(model.module->parameters());
  nn::CrossEntropyLoss loss;
  TrainStep step(*model.module, loss, sgd, model.input, {.normalization = {{0.13f}, {0.31f}}});
  step.prepare({kBatch}, {kBatch});

  PhiloxStream random(1, 1);
  std::vector<uint8_t> pixels(static_cast<size_t>(kBatch * model.input.numel()));
  std::vector<int32_t> labels(kBatch);
  for (uint8_t& p : pixels) p = static_cast<uint8_t>(random.below(256));
  for (int32_t& l : labels) l = static_cast<int32_t>(random.below(10));

  std::vector<double> seconds;
  for (size_t i = 0; i < steps + 15; ++i) {
    auto start = Clock::now();
    step.train(pixels, labels);
    seconds.push_back(std::chrono::duration<double>(Clock::now() - start).count());
  }
  double early = median_around(seconds, 20), late = median_around(seconds, steps);
  fmt::print("step 20: {:.3f} ms, step {}: {:.3f} ms, ratio {:.3f}; plan made in {:.4f} s\n", early * 1e3,
             steps, late * 1e3, late / early, step.train_plan(kBatch).seconds);
}
