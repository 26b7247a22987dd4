// Trains for one epoch, saves the weights, reads them back, and catches an error: what install_test.cpp looks
// for is printed.
#include <wholestep/wholestep.h>
#include <cstdio>

namespace ws = wholestep;

int main(int, char** arguments) {
  ws::nn::Sequential model(ws::nn::Flatten(), ws::nn::Linear({.in_features = 784, .out_features = 10}));
  ws::Trainer trainer({.max_epochs = 1, .batch_size = 64, .run_folder = arguments[1]});
  ws::FitResult result = trainer.fit(model, ws::optim::SGD({.lr = 0.1, .momentum = 0.9}),
                                     ws::nn::CrossEntropyLoss(), ws::open_data("digits:train=640,test=100"));
  ws::verify_checkpoint(result.checkpoint);
  std::printf("version %.*s\n", static_cast<int>(ws::version().size()), ws::version().data());
  std::printf("steps %lld\n", static_cast<long long>(result.steps));
  std::printf("loss fell: %s\n", *result.history[0].val_loss < 2.3 ? "yes" : "no");
  try {
    model(ws::zeros({ws::DType::f32, {4, 7}}));
  } catch (const ws::Error& error) {
    std::printf("error %d: %s\n", static_cast<int>(error.code()), error.what());
  }
}
