// An op of one's own, defined outside the library, in two ways: composed of ops, and as a row with a shape
// rule, a gradient and a CPU kernel. Nothing is registered; either differentiates, runs eagerly, compiles,
// and works inside a layer, like any other op.
//
// distances: d[n, k] = sum over i of (x[n, i] - c[k, i])^2, here the scores of a classifier that compares
// each sample with one learned prototype a class.
#include <wholestep/backend/cpu/call.h>
#include <wholestep/wholestep.h>
#include <cstdio>

namespace ws = wholestep;
using ws::Tensor;

/// x [N, D], c [K, D] -> [N, K], by way of [N, K, D].
Tensor composed_distances(const Tensor& x, const Tensor& c) {
  return sum(square(ws::unsqueeze(x, 1) - c), {-1});
}

// (x [N, D], c [K, D]) -> [N, K]. What is wrong is said here; the op's name and operands are added to it.
ws::Types infer_distances(std::span<const ws::TensorType> in, const ws::Attrs&) {
  const ws::Shape &x = in[0].shape, &c = in[1].shape;
  bool real = in[0].dtype == ws::DType::f32 || in[0].dtype == ws::DType::f64;
  if (!real || in[1].dtype != in[0].dtype || x.rank() != 2 || c.rank() != 2 || x[1] != c[1])
    throw ws::Error(ws::ErrorCode::kUsage, {.what = "distances are taken between rows of equal length",
                                            .got = to_string(in[0]) + " and " + to_string(in[1]),
                                            .expected = "[N, D] and [K, D], both f32 or f64"});
  return {{in[0].dtype, {x[0], c[0]}}};
}

// In the library's own ops, so the gradient needs no kernel, fuses, and can be differentiated again:
// dx[n] = 2 (x[n] sum_k g[n, k] - sum_k g[n, k] c[k]), and dc the same with g transposed.
std::vector<Tensor> vjp_distances(const ws::OpRecord& r, std::span<const Tensor> grads) {
  const Tensor &x = r.inputs[0], &c = r.inputs[1], &g = grads[0];
  return {2.0 * (x * sum(g, {1}, true) - matmul(g, c)),
          2.0 * (c * reshape(sum(g, {0}), {-1, 1}) - matmul(g, x, true))};
}

// One chunk of rows per call; row_call() cuts by sizes alone, so the bits do not depend on the threads. Both
// the first operand and the result are read and written by rows (bit 0), the prototypes as a whole.
template <class T>
std::unique_ptr<ws::PreparedKernel> prepare_rows(const ws::KernelRequest& q) {
  int64_t n = q.inputs[0].shape[0], d = q.inputs[0].shape[1], k = q.inputs[1].shape[0];
  return ws::row_call(n, 1, 1, [=](const ws::CpuArgs& args, ws::Range rows) {
    const T *x = args.in<T>(0), *c = args.in<T>(1);
    for (int64_t i = rows.begin; i < rows.end; ++i)
      for (int64_t j = 0; j < k; ++j) {
        double total = 0;
        for (int64_t e = 0; e < d; ++e) {
          double difference = static_cast<double>(x[i * d + e]) - static_cast<double>(c[j * d + e]);
          total += difference * difference;
        }
        args.out<T>(0)[i * k + j] = static_cast<T>(total);
      }
  });
}
std::unique_ptr<ws::PreparedKernel> prepare_distances(const ws::KernelRequest& q) {
  return q.inputs[0].dtype == ws::DType::f64 ? prepare_rows<double>(q) : prepare_rows<float>(q);
}

const ws::OpDef kDistances{
    .name = "distances",
    .doc = "squared distances between the rows of x and of c",
    .operands = {"x", "c"},
    .infer = infer_distances,
    .vjp = vjp_distances,
    .kernels = {{.backend = "cpu", .name = "rows", .prepare = prepare_distances}},
};

Tensor distances(const Tensor& x, const Tensor& c) { return apply1(kDistances, {x, c}); }

bool gradients_are_right() {
  std::vector<Tensor> operands = {ws::randn({5, 3}, ws::DType::f64), ws::randn({4, 3}, ws::DType::f64)};
  ws::gradcheck([](const std::vector<Tensor>& in) { return composed_distances(in[0], in[1]); }, operands);
  ws::gradcheck([](const std::vector<Tensor>& in) { return distances(in[0], in[1]); }, operands);
  return ws::allclose(distances(operands[0], operands[1]), composed_distances(operands[0], operands[1]));
}

/// A rule that forgets the 2 of dc.
bool wrong_gradients_are_named() {
  ws::OpDef wrong = kDistances;
  wrong.vjp = [](const ws::OpRecord& r, std::span<const Tensor> grads) {
    std::vector<Tensor> right = vjp_distances(r, grads);
    return std::vector<Tensor>{right[0], right[1] * 0.5};
  };
  try {
    ws::gradcheck([&](const std::vector<Tensor>& in) { return apply1(wrong, in); },
                  {ws::randn({5, 3}, ws::DType::f64), ws::randn({4, 3}, ws::DType::f64)});
  } catch (const ws::Error& error) {
    std::printf("%s\n", error.what());
    return true;
  }
  return false;
}

/// Scores [N, classes] of samples x [N, features]: minus their mean squared distances from the prototypes.
class Prototypes final : public ws::nn::Module {
 public:
  Prototypes(int64_t features, int64_t classes, std::source_location where = std::source_location::current())
      : Module(where), weight_(new_parameter({classes, features})) {}
  Tensor forward(const Tensor& x) override {
    return distances(x, weight_) / -static_cast<double>(weight_.dim(1));
  }
  std::string_view type() const override { return "Prototypes"; }

 protected:
  void members(ws::nn::MemberVisitor& member) override { member.parameter("weight", weight_); }
  void reset_parameters(const ws::nn::init::Draws& draws) override {
    ws::nn::init::normal(weight_, 0, 0.1, draws("weight"));
  }

 private:
  Tensor weight_;
};

/// In compiled steps, as the Trainer's are.
double trained_accuracy() {
  ws::nn::Sequential model(ws::nn::Flatten(), Prototypes(784, 10));
  ws::Trainer trainer({.max_epochs = 6, .batch_size = 100});
  ws::FitResult result = trainer.fit(model, ws::optim::Adam({.lr = 0.1}), ws::nn::CrossEntropyLoss(),
                                     ws::make_digits({.train = 4000, .test = 300}));
  return *result.history.back().val_accuracy;
}

int main() {
  bool right = gradients_are_right() && wrong_gradients_are_named();
  double accuracy = trained_accuracy();
  std::printf("accuracy of prototypes %.1f %%\n", 100 * accuracy);
  return right && accuracy > 0.7 ? 0 : 1;
}
