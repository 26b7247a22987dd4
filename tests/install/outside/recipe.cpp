// An op, a layer, a loss and an optimizer of one's own in one training run, which goes on from its checkpoint
// where it was stopped; then the weights as safetensors. install_test.cpp runs it: recipe FOLDER STOP_AFTER,
// where 0 steps are all.
#include <wholestep/backend/cpu/call.h>
#include <wholestep/wholestep.h>
#include <cmath>
#include <cstdio>
#include <cstdlib>

namespace ws = wholestep;
using ws::Tensor;

/// (x [N, D], c [K, D]) -> [N, K]: the sum of |x[n] - c[k]|.
ws::Types infer_city_block(std::span<const ws::TensorType> in, const ws::Attrs&) {
  const ws::Shape &x = in[0].shape, &c = in[1].shape;
  if (in[0].dtype != ws::DType::f32 || in[1].dtype != ws::DType::f32 || x.rank() != 2 || c.rank() != 2 ||
      x[1] != c[1])
    throw ws::Error(ws::ErrorCode::kUsage, {.what = "distances are taken between rows of equal length",
                                            .got = to_string(in[0]) + " and " + to_string(in[1]),
                                            .expected = "f32 [N, D] and f32 [K, D]"});
  return {{ws::DType::f32, {x[0], c[0]}}};
}

// With s[n, k] the signs of x[n] - c[k]: dx[n] = sum_k g[n, k] s[n, k], dc[k] = -sum_n g[n, k] s[n, k].
std::vector<Tensor> vjp_city_block(const ws::OpRecord& r, std::span<const Tensor> grads) {
  Tensor signs = sign(unsqueeze(r.inputs[0], 1) - r.inputs[1]) * unsqueeze(grads[0], 2);  // [N, K, D]
  return {sum(signs, {1}), -sum(signs, {0})};
}

std::unique_ptr<ws::PreparedKernel> prepare_city_block(const ws::KernelRequest& q) {
  const int64_t n = q.inputs[0].shape[0], d = q.inputs[0].shape[1], k = q.inputs[1].shape[0];
  return ws::row_call(n, 1, 1, [=](const ws::CpuArgs& args, ws::Range rows) {
    for (int64_t i = rows.begin; i < rows.end; ++i)
      for (int64_t j = 0; j < k; ++j) {
        float total = 0;
        for (int64_t e = 0; e < d; ++e)
          total += std::abs(args.in<float>(0)[i * d + e] - args.in<float>(1)[j * d + e]);
        args.out<float>(0)[i * k + j] = total;
      }
  });
}

const ws::OpDef kCityBlock{
    .name = "city_block",
    .doc = "sums of absolute differences between the rows of x and of c",
    .operands = {"x", "c"},
    .infer = infer_city_block,
    .vjp = vjp_city_block,
    .kernels = {{.backend = "cpu", .name = "rows", .prepare = prepare_city_block}},
};

/// Scores by nearness to a learned row a class: bias - city_block(x, weight), for x [N, D].
class Nearest final : public ws::nn::Module {
 public:
  Nearest(int64_t features, int64_t classes, std::source_location where = std::source_location::current())
      : Module(where), weight_(new_parameter({classes, features})), bias_(new_parameter({classes})) {}
  Tensor forward(const Tensor& x) override { return bias_ - apply1(kCityBlock, {x, weight_}); }
  std::string_view type() const override { return "Nearest"; }

 protected:
  void members(ws::nn::MemberVisitor& member) override {
    member.parameter("weight", weight_);
    member.parameter("bias", bias_);
  }
  void reset_parameters(const ws::nn::init::Draws& draws) override {
    ws::nn::init::normal(weight_, 0, 0.5, draws("weight"));
    ws::nn::init::constant(bias_, 8);
  }

 private:
  Tensor weight_, bias_;
};

/// max(0, 1 - output * target)^2 with a target of 1 for the label's column, -1 for the others.
class SquaredHinge final : public ws::nn::Loss {
 public:
  std::string_view name() const override { return "squared-hinge"; }
  Tensor unreduced(const Tensor& output, const Tensor& target) const override {
    return square(relu(1.0 - output * target));
  }
  Tensor target_of(const Tensor& labels, const Tensor& output) const override {
    return ws::nn::one_hot_like(labels, output) * 2.0 - 1.0;
  }
};

/// The sign of a momentum that the gradient is part of (Lion, Chen et al. 2023).
class Lion final : public ws::optim::Optimizer {
 public:
  explicit Lion(double lr) : Optimizer(lr) {}
  std::string_view type() const override { return "lion"; }

 protected:
  std::vector<ws::optim::Slot> slots(const Tensor&) const override { return {{"exp_avg"}}; }
  std::vector<Tensor> scalars(const Tensor& rate, const Tensor&, std::span<const Tensor>) const override {
    return {rate};
  }
  std::vector<Tensor> update(const Tensor& p, const Tensor& grad, std::span<const Tensor> slots,
                             std::span<const Tensor> scalars) const override {
    return {p - scalars[0] * sign(ws::optim::moving_average(slots[0], grad, 0.9)),
            ws::optim::moving_average(slots[0], grad, 0.99)};
  }
};

struct StopAfter final : ws::Callback {
  explicit StopAfter(int64_t count) : steps(count) {}
  void on_batch_end(const ws::BatchEnd& end, const ws::TrainStep&) override {
    if (end.step == steps) ws::Trainer::request_stop();
  }
  const int64_t steps;
};

int main(int, char** arguments) {
  const std::filesystem::path folder = arguments[1], last = folder / "checkpoints/last";
  ws::DataSplits data = ws::open_data("digits:train=640,test=100");
  ws::nn::Sequential model(ws::nn::Flatten(), ws::nn::Linear({.in_features = 784, .out_features = 16}),
                           ws::nn::Tanh(), Nearest(16, 10));
  Lion lion(4e-3);
  ws::Trainer trainer({.max_epochs = 20, .run_folder = folder});
  trainer.add_callback(std::make_shared<StopAfter>(std::atoll(arguments[2])));
  ws::FitResult result =
      trainer.fit(model, lion, SquaredHinge(), data, exists(last) ? last : std::filesystem::path());
  if (result.reason == ws::StopReason::kInterrupted) {
    std::printf("stopped after %lld steps\n", static_cast<long long>(result.steps));
    return 0;
  }
  std::printf("steps %lld, accuracy %.0f %%\n", static_cast<long long>(result.steps),
              100 * *result.history.back().val_accuracy);

  std::map<std::string, Tensor> weights;
  for (const auto& [name, parameter] : model.named_parameters()) weights[name] = parameter;
  ws::save_safetensors(folder / "weights.safetensors", weights);
  Tensor x = ws::tensor(std::vector<float>(784, 0.25f), {1, 1, 28, 28});
  ws::save_npy(folder / "scores.npy", model.eval()(x));
}
