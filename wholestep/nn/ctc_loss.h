// The loss of sequences whose labels are not aligned with their inputs.
#pragma once
#include "wholestep/nn/loss.h"

namespace wholestep::nn {

struct CTCConfig {
  static constexpr const char *kType = "ctc", *kDoc =
                                                  "-log of the probability of all ways to spell a target, "
                                                  "with blanks between labels and labels repeated";
  int64_t blank = 0;
  std::string reduction = "mean";  ///< or "sum", "none": [N]
  bool zero_infinity = false;
  ConfigFields fields();
};
/// Connectionist temporal classification (Graves et al. 2006). log_probs [T, N, C], of log_softmax(); targets
/// [N, S] i32 or i64, S at least 1, padded behind target_lengths [N] by any label; input_lengths [N], each 1
/// to T. The mean is of losses divided by their target's length. A target that is too long for its input
/// costs infinity, or 0 with zero_infinity. kUsage naming the sample of a length out of range (eagerly).
/// PyTorch's nn.CTCLoss, whose gradient to log_probs is that to what log_softmax() is taken of.
class CTCLoss {
 public:
  explicit CTCLoss(CTCConfig config = {});
  Tensor operator()(const Tensor& log_probs, const Tensor& targets, const Tensor& input_lengths,
                    const Tensor& target_lengths) const;

 private:
  CTCConfig config_;
};

}  // namespace wholestep::nn
