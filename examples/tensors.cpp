// Tensors without a network: made, combined, printed, converted, saved. Everything here is PyTorch's or
// NumPy's by name, default and result.
#include <wholestep/wholestep.h>
#include <cstdio>
#include <filesystem>

namespace ws = wholestep;
using ws::Tensor;

void make_and_print() {
  Tensor a = ws::reshape(ws::arange(6.0), {2, 3});
  Tensor b = ws::tensor(std::vector<float>{10, 20, 30}, {3});
  std::printf("%s\n", to_string(a * 0.5 + b).c_str());
}

void make_random() {
  ws::manual_seed(7);
  Tensor noise = ws::randn({1000, 3});
  std::printf("mean %s, deviation %s\n", to_string(ws::mean(noise, {0})).c_str(),
              to_string(ws::std(noise, {0})).c_str());
}

void look_inside(const Tensor& x) {
  std::printf("%s, strides of %lld and %lld, the last element %g\n", to_string(x.type()).c_str(),
              static_cast<long long>(x.strides()[0]), static_cast<long long>(x.strides()[1]),
              x.at<double>({-1, -1}));
  x.set({0, 0}, 5);
  for (float& element : x.data<float>()) element += 1;
}

double train_where_the_gpu_is() {
  ws::Backend& device = *ws::find_device("auto").backend;  // the first GPU, else the CPU
  ws::nn::Linear layer({.in_features = 8, .out_features = 1});
  layer.to(device);
  Tensor x = ws::randn({64, 8}).to(device), y = ws::sum(x, {1}, /*keep_dims=*/true);
  ws::optim::Adam adam({.lr = 0.1});
  adam.attach(layer.parameters());
  double loss = 0;
  for (int step = 0; step < 100; ++step) {
    Tensor error = ws::mean(ws::square(layer(x) - y));
    adam.step(ws::grad(error, layer.parameters()));
    loss = error.item<double>();
  }
  return loss;
}

/// Attention of queries [N, H, T, D] over keys and values [N, H, S, D], written out.
Tensor attention(const Tensor& query, const Tensor& key, const Tensor& value) {
  Tensor scores = ws::einsum("nhtd,nhsd->nhts", {query, key}) / std::sqrt(static_cast<double>(query.dim(-1)));
  return ws::einsum("nhts,nhsd->nhtd", {ws::softmax(scores), value});
}

/// The mean of the k nearest rows of `points` to each row of `x`: [N, D], [M, D] -> [N, D].
Tensor mean_of_nearest(const Tensor& x, const Tensor& points, int64_t k) {
  Tensor apart = ws::norm(ws::unsqueeze(x, 1) - points, 2, {-1});         // [N, M]
  Tensor nearest = ws::topk(apart, k, -1, /*largest=*/false).indices;     // [N, k]
  Tensor rows = ws::index_select(points, 0, ws::reshape(nearest, {-1}));  // [N * k, D]
  return ws::mean(ws::reshape(rows, {x.dim(0), k, points.dim(1)}), {1});
}

bool halves_keep_what_they_hold() {
  Tensor x = ws::rand({100}).to(ws::DType::bf16);
  return ws::array_equal(x.to(ws::DType::f64).to(ws::DType::bf16), x);
}

bool files_keep_bits(const std::filesystem::path& folder) {
  Tensor x = ws::randn({3, 4});
  ws::save_npy(folder / "x.npy", x);
  ws::save_safetensors(folder / "all.safetensors", {{"x", x}, {"labels", ws::arange(3)}});
  return ws::array_equal(ws::load_npy(folder / "x.npy"), x) &&
         ws::array_equal(ws::load_safetensors(folder / "all.safetensors").at("x"), x);
}

bool memory_is_bounded() {
  ws::eager_memory().set_limit(int64_t{64} << 20);
  try {
    ws::zeros({1 << 30});
  } catch (const ws::Error& error) {
    std::printf("%s\n", error.what());
  }
  ws::eager_memory().set_limit(int64_t{8} << 30);
  return ws::zeros({1 << 20}).numel() == 1 << 20;  // and on it goes
}

int main() {
  make_and_print();
  make_random();
  look_inside(ws::eye(3));
  const double loss = train_where_the_gpu_is();
  std::printf("loss %g\n", loss);
  Tensor q = ws::randn({2, 4, 5, 8}), kv = ws::randn({2, 4, 7, 8});
  bool right = attention(q, kv, kv).shape() == ws::Shape{2, 4, 5, 8};
  right &=
      mean_of_nearest(ws::zeros({1, 1}), ws::reshape(ws::arange(1.0, 9.0), {8, 1}), 3).item<double>() == 2;

  const std::filesystem::path folder = std::filesystem::temp_directory_path() / "wholestep_example_tensors";
  std::filesystem::create_directories(folder);
  right &= halves_keep_what_they_hold() && files_keep_bits(folder) && memory_is_bounded();
  std::filesystem::remove_all(folder);
  return right && loss < 0.05 ? 0 : 1;
}
