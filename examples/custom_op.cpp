// An op of one's own, defined outside the library: shape rule, gradient and CPU kernel in one row, no
// registration. It differentiates, runs eagerly, and compiles like any other op.
//
// distances: d[n, k] = sum over i of (x[n, i] - c[k, i])^2, here the logits of a classifier that compares
// each sample with one learned prototype a class.
#include <wholestep/backend/cpu/call.h>
#include <wholestep/wholestep.h>
#include <cmath>
#include <cstdio>

namespace ws = wholestep;
using ws::Tensor;

Tensor distances(const Tensor& x, const Tensor& c);

// (x [N, D], c [K, D]) -> [N, K]. What is wrong is said here; the op's name and operands are added to it.
ws::Types infer_distances(std::span<const ws::TensorType> in, const ws::Attrs&) {
  const ws::Shape &x = in[0].shape, &c = in[1].shape;
  if (in[0].dtype != ws::DType::f32 || in[1].dtype != ws::DType::f32 || x.rank() != 2 || c.rank() != 2 ||
      x[1] != c[1])
    throw ws::Error(ws::ErrorCode::kUsage, {.what = "distances are taken between rows of equal length",
                                            .got = to_string(in[0]) + " and " + to_string(in[1]),
                                            .expected = "f32 [N, D] and f32 [K, D]"});
  return {{ws::DType::f32, {x[0], c[0]}}};
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
std::unique_ptr<ws::PreparedKernel> prepare_distances(const ws::KernelRequest& q) {
  int64_t n = q.inputs[0].shape[0], d = q.inputs[0].shape[1], k = q.inputs[1].shape[0];
  return ws::row_call(n, 1, 1, [=](const ws::CpuArgs& args, ws::Range rows) {
    const float *x = args.in<float>(0), *c = args.in<float>(1);
    for (int64_t i = rows.begin; i < rows.end; ++i)
      for (int64_t j = 0; j < k; ++j) {
        double total = 0;
        for (int64_t e = 0; e < d; ++e) {
          double difference = static_cast<double>(x[i * d + e]) - static_cast<double>(c[j * d + e]);
          total += difference * difference;
        }
        args.out<float>(0)[i * k + j] = static_cast<float>(total);
      }
  });
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

/// d loss / d prototypes against central differences: the largest difference.
double gradient_error(const Tensor& x, const Tensor& prototypes, const Tensor& labels) {
  Tensor c = prototypes.clone().set_requires_grad();
  auto loss = [&] { return cross_entropy(-distances(x, c), labels); };
  loss().backward();
  double worst = 0;
  for (size_t i = 0; i < c.data<float>().size(); ++i) {
    float kept = c.data<float>()[i];
    auto loss_at = [&](float value) {
      c.data<float>()[i] = value;
      return loss().item<double>();
    };
    double high = loss_at(kept + 1e-2f), low = loss_at(kept - 1e-2f);
    c.data<float>()[i] = kept;
    worst = std::max(worst, std::abs((high - low) / 2e-2 - static_cast<double>(c.grad().data<float>()[i])));
  }
  return worst;
}

int main() {
  constexpr int64_t kSamples = 90, kClasses = 3;
  Tensor x = ws::zeros({ws::DType::f32, {kSamples, 2}}), labels = ws::zeros({ws::DType::i64, {kSamples}});
  ws::PhiloxStream random(0, 0);
  for (int64_t n = 0; n < kSamples; ++n) {  // three clouds on a circle
    size_t i = static_cast<size_t>(n);
    double angle = 2.1 * static_cast<double>(n % kClasses);
    labels.data<int64_t>()[i] = n % kClasses;
    x.data<float>()[2 * i] = static_cast<float>(std::cos(angle) + 0.2 * random.normal());
    x.data<float>()[2 * i + 1] = static_cast<float>(std::sin(angle) + 0.2 * random.normal());
  }
  Tensor prototypes = ws::zeros({ws::DType::f32, {kClasses, 2}});
  ws::nn::init::normal(prototypes, 0, 0.1, ws::nn::init::stream(0, "prototypes"));
  double error = gradient_error(x, prototypes, labels);

  // The same op inside a compiled step.
  prototypes.set_role(ws::TensorRole::kParameter, "prototypes");
  auto graph = std::make_shared<ws::Graph>();
  {
    ws::Trace trace(graph);
    Tensor batch = graph->add_input(ws::InputKind::kBatch, "x", x.type());
    Tensor classes = graph->add_input(ws::InputKind::kBatch, "labels", labels.type());
    Tensor loss = cross_entropy(-distances(batch, prototypes), classes);
    prototypes.assign(prototypes - 0.5 * ws::grad(loss, std::vector{prototypes})[0]);
    graph->add_output("loss", loss);
  }
  ws::CompiledStep step(ws::make_plan(graph));
  step.write("x", x);
  step.write("labels", labels);
  for (int i = 0; i < 100; ++i) step.run();
  double loss = step.output("loss").item<double>();

  std::printf("gradient: off by at most %.1e\n", error);
  std::printf("loss after 100 steps: %.3f\n", loss);
  return error < 1e-4 && loss < 0.1 ? 0 : 1;
}
