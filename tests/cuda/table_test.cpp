// Tables on a GPU: f32 rows and targets, resident and streamed, with the CPU's figures.
#include <gtest/gtest.h>

#include "support/cuda_device.h"
#include "support/temp_dir.h"
#include "wholestep/data/specs.h"
#include "wholestep/nn/activations.h"
#include "wholestep/nn/element_losses.h"
#include "wholestep/nn/linear.h"
#include "wholestep/nn/sequential.h"
#include "wholestep/optim/adam.h"
#include "wholestep/train/trainer.h"

namespace wholestep::test {
namespace {

FitResult fit(const DataSplits& data, Backend& backend, bool resident) {
  nn::Sequential model(nn::Linear({.in_features = 2, .out_features = 16}), nn::Tanh(),
                       nn::Linear({.in_features = 16, .out_features = 2}));
  model.initialize(1);
  return Trainer({.max_epochs = 5, .batch_size = 32, .resident = resident, .backend = &backend})
      .fit(model, optim::Adam({.lr = 0.01}), nn::MSELoss(), data);
}

TEST(CudaTables, FollowTheCpuResidentAndStreamed) {
  WHOLESTEP_NEEDS_CUDA_DEVICE();
  ExactF32 exact;
  TempDir dir;
  std::string text = "a,b,y,z\n";
  for (int i = 0; i < 20; ++i)
    for (int j = 0; j < 15; ++j) {
      double a = i / 10.0, b = j - 7.0;
      text += std::to_string(a) + "," + std::to_string(b) + "," + std::to_string(a * b) + "," +
              std::to_string(2 * a - b) + "\n";
    }
  write_file(dir / "t.csv", text);
  DataSplits data = open_data("csv:" + (dir / "t.csv").string() + ":target=y+z");
  FitResult cpu = fit(data, cpu_backend(), true), gpu = fit(data, cuda_backend(), true),
            streamed = fit(data, cuda_backend(), false);
  for (size_t i = 0; i < 5; ++i) {
    const EpochResult &c = cpu.history[i], &g = gpu.history[i], &s = streamed.history[i];
    EXPECT_NEAR(g.train_loss, c.train_loss, 1e-3 * c.train_loss);
    EXPECT_NEAR(g.val_regression->mae, c.val_regression->mae, 1e-3 * c.val_regression->mae);
    EXPECT_NEAR(*g.val_regression->r2, *c.val_regression->r2, 1e-3);
    EXPECT_EQ(s.train_loss, g.train_loss);
    EXPECT_EQ(*s.val_regression->r2, *g.val_regression->r2);
  }
  EXPECT_EQ(gpu.predicted_bytes, gpu.used_bytes);
}

}  // namespace
}  // namespace wholestep::test
