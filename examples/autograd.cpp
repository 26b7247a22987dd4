// Gradients: of leaves and of anything in between, of second order, with less memory, and checked.
#include <wholestep/wholestep.h>
#include <cstdio>

namespace ws = wholestep;
using ws::Tensor;

bool leaves_collect_gradients() {
  Tensor w = ws::tensor(std::vector<float>{1, 2, 3}, {3}).set_requires_grad();
  ws::sum(w * w).backward();
  ws::sum(w * 3.0).backward();  // adds to what is there
  std::printf("%s\n", to_string(w.grad()).c_str());
  bool right = ws::array_equal(w.grad(), w * 2.0 + 3.0);
  w.zero_grad();
  return right && !w.grad().defined();
}

bool gradients_of_anything() {
  Tensor x = ws::tensor(std::vector<double>{0.5, -1}, {2}).set_requires_grad();
  Tensor h = ws::tanh(x), loss = ws::sum(h * h);
  std::vector<Tensor> wanted = {x, h};
  std::vector<Tensor> grads = ws::grad(loss, wanted);
  return ws::allclose(grads[1], h * 2.0) && ws::allclose(grads[0], h * 2.0 * (1.0 - h * h));
}

/// |d loss / dx|^2, itself to be differentiated: create_graph tapes the gradient.
Tensor gradient_penalty(const Tensor& loss, const Tensor& x) {
  return ws::sum(ws::square(ws::grad(loss, std::span(&x, 1), /*create_graph=*/true)[0]));
}

bool second_order() {
  Tensor x = ws::tensor(std::vector<double>{2}, {1}).set_requires_grad();
  gradient_penalty(ws::sum(x * x * x), x).backward();  // (3 x^2)^2 -> 36 x^3
  return x.grad().item<double>() == 288;
}

bool what_is_left_out() {
  Tensor x = ws::ones({2}).set_requires_grad();
  Tensor constant = (x * 2.0).detach();
  {
    ws::NoGrad no_grad;
    if ((x * 2.0).requires_grad()) return false;
  }
  ws::sum(x * constant).backward();
  return ws::array_equal(x.grad(), constant);
}

bool less_memory() {
  Tensor x = ws::randn({256, 256}).set_requires_grad(), w = ws::randn({256, 256}) * 0.05;
  w.set_requires_grad();
  auto stretch = [&](const Tensor& t) { return ws::tanh(ws::matmul(ws::tanh(ws::matmul(t, w)), w)); };
  ws::sum(ws::checkpoint(stretch, x)).backward();  // runs the stretch again, w gets its gradient too
  std::vector<Tensor> wanted = {x, w};
  std::vector<Tensor> plain = ws::grad(ws::sum(stretch(x)), wanted);
  return ws::array_equal(plain[0], x.grad()) && ws::array_equal(plain[1], w.grad());
}

void checked() {
  auto f = [](const std::vector<Tensor>& in) { return ws::sum(ws::silu(in[0]) * in[1]); };
  ws::gradcheck(f, {ws::randn({3, 4}, ws::DType::f64), ws::randn({4}, ws::DType::f64)});
}

bool overwritten_values_are_noticed() {
  Tensor x = ws::ones({2}).set_requires_grad(), factor = ws::full({2}, 3);
  Tensor loss = ws::sum(x * factor);
  factor.set({0}, 4);
  try {
    loss.backward();
  } catch (const ws::Error& error) {
    std::printf("%s\n", error.what());
    return true;
  }
  return false;
}

int main() {
  checked();
  return leaves_collect_gradients() && gradients_of_anything() && second_order() && what_is_left_out() &&
                 less_memory() && overwritten_values_are_noticed()
             ? 0
             : 1;
}
