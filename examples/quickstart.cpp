// The program of README.md: a network, an optimizer, a loss, data, and the accuracy on digits it never saw.
#include <wholestep/wholestep.h>
#include <cstdio>
namespace ws = wholestep;

int main() {
  ws::nn::Sequential model(
      ws::nn::Conv2d({.in_channels = 1, .out_channels = 6, .kernel_size = 5, .padding = 2}), ws::nn::ReLU(),
      ws::nn::MaxPool2d({.kernel_size = 2}), ws::nn::Flatten(),
      ws::nn::Linear({.in_features = 1176, .out_features = 10}));
  ws::Trainer trainer({.max_epochs = 5, .batch_size = 64});
  ws::FitResult result =
      trainer.fit(model, ws::optim::Adam({.lr = 1e-3}), ws::nn::CrossEntropyLoss(), ws::open_data("digits"));
  std::printf("accuracy on new digits: %.1f %%\n", 100 * *result.history.back().val_accuracy);
}
