// GPT-2 (Radford et al. 2019) as one layer: the decoder of a transformer over tokens, each predicting the
// next.
#pragma once
#include "wholestep/nn/embedding.h"
#include "wholestep/nn/transformer.h"

namespace wholestep::nn {

struct GPTConfig {
  static constexpr const char
      *kType = "GPT",
      *kDoc = "GPT-2: tokens x [N, T] of i32 or i64 to logits [N, T, vocab_size] of the next ones";
  int64_t vocab_size = 50257;
  int64_t block_size = 1024;
  int64_t n_layer = 12;
  int64_t n_head = 12;
  int64_t n_embd = 768;
  double dropout = 0.1;
  bool bias = true;
  ConfigFields fields();
  std::vector<std::string> problems() const;
};

/// Parameters of wte (tokens; also the last layer's weight), wpe (places), h.0, ... (TransformerEncoderLayer)
/// and ln_f, drawn as GPT-2's: normal with deviation 0.02, over sqrt(2 n_layer) where results are added up;
/// biases 0.
class GPT final : public ConfiguredLayer<GPTConfig> {
 public:
  explicit GPT(GPTConfig config, std::source_location where = std::source_location::current());
  Tensor forward(const Tensor& x) override;

 protected:
  void members(MemberVisitor& member) override;
  void reset_parameters(const init::Draws& draws) override;

 private:
  Embedding wte_, wpe_;
  std::vector<TransformerEncoderLayer> h_;
  LayerNorm ln_f_;
};

}  // namespace wholestep::nn
