// The program of README.md: a network, an optimizer, a loss, data, and the accuracy on digits it never saw.
#include <wholestep/wholestep.h>
#include <cstdio>

namespace ws = wholestep;

int main() {
  ws::nn::Sequential model(ws::nn::Flatten(), ws::nn::Linear({.in_features = 784, .out_features = 128}),
                           ws::nn::ReLU(), ws::nn::Linear({.in_features = 128, .out_features = 10}));
  ws::Trainer trainer({.max_epochs = 3, .batch_size = 64});
  ws::FitResult result = trainer.fit(model, ws::optim::Adam({.lr = 1e-3}), ws::nn::CrossEntropyLoss(),
                                     ws::open_data("digits:train=20000,test=4000"));
  std::printf("accuracy on new digits: %.1f %%\n", 100 * *result.history.back().val_accuracy);
}
