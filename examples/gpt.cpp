// A small GPT, or an LSTM, that learns to write, one character after another:
//
//   example_gpt FILE [STEPS [gpt | lstm]]
//
// The last tenth of the text is kept for validation. Without a file it learns a rhyme by heart.
#include <wholestep/wholestep.h>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <sstream>

namespace ws = wholestep;
using ws::Tensor;

constexpr const char* kRhyme =
    "Twinkle, twinkle, little star, how I wonder what you are! Up above the world so high, like a diamond in "
    "the "
    "sky. Twinkle, twinkle, little star, how I wonder what you are! ";

/// A text as numbers: which of its distinct characters, in order, each one is.
struct Text {
  std::string characters;  ///< the alphabet
  std::vector<int64_t> train, validation;

  explicit Text(const std::string& text) {
    bool seen[256] = {};
    for (unsigned char c : text) seen[c] = true;
    std::vector<int64_t> number(256), all;
    for (size_t c = 0; c < 256; ++c)
      if (seen[c]) number[c] = static_cast<int64_t>(characters.size()), characters += static_cast<char>(c);
    for (unsigned char c : text) all.push_back(number[c]);
    auto cut = all.begin() + static_cast<std::ptrdiff_t>(all.size() * 9 / 10);
    train.assign(all.begin(), cut);
    validation.assign(cut, all.end());
  }
};

/// So many stretches of a text beginning anywhere, and what follows each of their characters.
struct Batch {
  Tensor x, next;
  Batch(const std::vector<int64_t>& text, int64_t rows, int64_t length, ws::PhiloxStream& random) {
    std::vector<int64_t> from, to;
    for (int64_t row = 0; row < rows; ++row) {
      auto first =
          text.begin() + static_cast<std::ptrdiff_t>(random.below(text.size() - static_cast<size_t>(length)));
      from.insert(from.end(), first, first + length);
      to.insert(to.end(), first + 1, first + 1 + length);
    }
    x = ws::tensor(from, {rows, length});
    next = ws::tensor(to, {rows * length});
  }
};

/// The mean loss over all characters as a step of its own, with an update where there is an optimizer.
ws::CompiledStep compile(ws::nn::Module& model, int64_t rows, int64_t length,
                         ws::optim::Optimizer* optimizer) {
  auto graph = std::make_shared<ws::Graph>();
  ws::Trace trace(graph);
  model.train(optimizer != nullptr);
  Tensor x = graph->add_input(ws::InputKind::kBatch, "x", {ws::DType::i64, {rows, length}}),
         next = graph->add_input(ws::InputKind::kBatch, "next", {ws::DType::i64, {rows * length}});
  Tensor scores = model(x);  // [rows, length, characters]
  Tensor loss = cross_entropy(reshape(scores, {rows * length, scores.dim(2)}), next);
  if (optimizer) {
    std::vector<Tensor> grads = ws::grad(loss, optimizer->parameters());
    optimizer->step(ws::optim::clip_grad_norm(grads, 1.0).grads);
  }
  graph->add_output("loss", loss);
  return ws::CompiledStep(ws::make_plan(graph));
}

double run(ws::CompiledStep& step, const Batch& batch) {
  step.write("x", batch.x);
  step.write("next", batch.next);
  step.run();
  return step.output("loss").item<double>();
}

/// The model's own continuation of a newline or a space, each character drawn by its probability.
std::string written_by(ws::nn::Module& model, const Text& text, int64_t longest, int64_t count) {
  ws::NoGrad no_grad;
  model.eval();
  ws::PhiloxStream random(7, 0);
  std::vector<int64_t> tokens = {0};
  for (int64_t i = 0; i < count; ++i) {
    int64_t length = std::min<int64_t>(longest, static_cast<int64_t>(tokens.size()));
    std::vector<int64_t> last(tokens.end() - length, tokens.end());
    Tensor logits = slice(model(ws::tensor(last, {1, length})), 1, length - 1, length);
    double drawn = static_cast<double>(random.uniform());
    Tensor chances = softmax(logits);
    size_t token = 0;
    for (float p : chances.data<float>()) {
      drawn -= static_cast<double>(p);
      if (drawn < 0) break;
      ++token;
    }
    tokens.push_back(static_cast<int64_t>(std::min(token, text.characters.size() - 1)));
  }
  std::string written;
  for (size_t i = 1; i < tokens.size(); ++i) written += text.characters[static_cast<size_t>(tokens[i])];
  return written;
}

std::unique_ptr<ws::nn::Module> make_gpt(int64_t characters, int64_t length, int64_t width, int64_t layers) {
  return std::make_unique<ws::nn::GPT>(ws::nn::GPTConfig{.vocab_size = characters,
                                                         .block_size = length,
                                                         .n_layer = layers,
                                                         .n_head = 4,
                                                         .n_embd = width,
                                                         .dropout = 0});
}
std::unique_ptr<ws::nn::Module> make_lstm(int64_t characters, int64_t width) {
  return std::make_unique<ws::nn::Sequential>(
      ws::nn::Embedding({.num_embeddings = characters, .embedding_dim = width}),
      ws::nn::LSTM({.input_size = width, .hidden_size = width, .batch_first = true}),
      ws::nn::Linear({.in_features = width, .out_features = characters}));
}

int main(int argc, char** argv) {
  std::ostringstream content;
  if (argc > 1) content << std::ifstream(argv[1]).rdbuf();
  else
    for (int i = 0; i < 20; ++i) content << kRhyme;
  Text text(content.str());
  const bool rhyme = argc <= 1;
  const int64_t rows = 16, length = rhyme ? 32 : 64, width = rhyme ? 32 : 128, layers = rhyme ? 2 : 4,
                steps = argc > 2 ? std::atoll(argv[2])
                        : rhyme  ? 150
                                 : 5000;
  if (static_cast<int64_t>(text.validation.size()) <= length) {
    std::fprintf(stderr, "%s holds too little text\n", rhyme ? "" : argv[1]);
    return 1;
  }

  const bool lstm = argc > 3 && std::string(argv[3]) == "lstm";
  const int64_t characters = static_cast<int64_t>(text.characters.size());
  std::unique_ptr<ws::nn::Module> made =
      lstm ? make_lstm(characters, 2 * width) : make_gpt(characters, length, width, layers);
  ws::nn::Module& model = *made;
  model.initialize(1);
  ws::optim::AdamW adamw({.lr = rhyme ? 1e-2 : 2e-3, .betas = {0.9, 0.99}, .weight_decay = 0.1});
  auto cosine = std::make_shared<ws::optim::Cosine>(
      ws::optim::CosineConfig{.eta_min = 1e-4, .warmup = {.steps = std::min<int64_t>(100, steps / 10)}});
  cosine->set_run_steps(steps);
  adamw.set_schedule(cosine);
  adamw.attach(model.parameters());

  ws::CompiledStep train = compile(model, rows, length, &adamw),
                   validate = compile(model, 64, length, nullptr);
  auto validation_loss = [&] {
    ws::PhiloxStream random(2, 0);
    double total = 0;
    for (int i = 0; i < 20; ++i) total += run(validate, Batch(text.validation, 64, length, random)) / 20;
    return total;
  };
  auto start = std::chrono::steady_clock::now();
  ws::PhiloxStream random(1, 0);
  const int64_t interval = std::max<int64_t>(1, steps / 10);
  double loss = 0;
  for (int64_t step = 1; step <= steps; ++step) {
    double one = run(train, Batch(text.train, rows, length, random));
    loss += one / static_cast<double>(interval);
    if (step % interval > 0) continue;
    std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
    std::printf("step %lld of %lld  loss %.4f  validation loss %.4f  %.0f s\n", static_cast<long long>(step),
                static_cast<long long>(steps), loss, validation_loss(), seconds.count());
    std::fflush(stdout);
    loss = 0;
  }
  std::printf("---\n%s\n---\n", written_by(model, text, length, 300).c_str());
  return validation_loss() < 2.5 ? 0 : 1;
}
