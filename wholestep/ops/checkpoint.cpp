// The stretch is taped as one op made for this call, whose gradient rule runs it again and differentiates
// what was taped meanwhile.
#include "wholestep/ops/checkpoint.h"

#include <algorithm>
#include <set>

#include "wholestep/graph/grad.h"
#include "wholestep/graph/graph.h"
#include "wholestep/ops/random.h"

namespace wholestep {
namespace {

struct CheckpointOp : OpDef {
  TensorFunction function;
  size_t inputs = 0;         ///< operands that are the function's; the others it reaches by itself
  int64_t first_random = 0;  ///< the number of its first random draw
};

bool same_value(const Tensor& a, const Tensor& b) {
  const Tensor::Impl &x = *a.impl(), &y = *b.impl();
  return &x == &y || (x.producer && x.producer == y.producer && x.producer_output == y.producer_output);
}

/// What was taped since, from which `results` come, reads from before: the operands the stretch has as a
/// whole.
std::vector<Tensor> read_from_before(const std::vector<Tensor>& results, int64_t since) {
  std::vector<Tensor> found;
  std::vector<std::shared_ptr<TapeNode>> stack;
  std::set<const TapeNode*> seen_nodes;
  std::set<std::pair<const void*, int>> seen;
  auto visit_tensor = [&](const Tensor& t) {
    const auto& node = t.impl()->producer;
    if (node && node->sequence >= since) {
      if (seen_nodes.insert(node.get()).second) stack.push_back(node);
    } else if (t.requires_grad()) {
      const void* key = node ? static_cast<const void*>(node.get()) : t.impl().get();
      if (seen.insert({key, t.impl()->producer_output}).second) found.push_back(t);
    }
  };
  for (const Tensor& t : results) visit_tensor(t);
  while (!stack.empty()) {
    std::shared_ptr<TapeNode> node = stack.back();
    stack.pop_back();
    for (const Tensor& t : node->inputs) visit_tensor(t);
  }
  return found;
}

std::vector<Tensor> run_again_and_differentiate(const OpRecord& r, std::span<const Tensor> output_grads) {
  const auto& op = static_cast<const CheckpointOp&>(r.op);
  const bool create_graph = set_grad_enabled(true);
  RandomState& random = RandomState::current();
  const int64_t next = std::exchange(random.next_node, op.first_random), since = tape_position();
  std::vector<Tensor> results, seeds;
  try {
    std::vector<Tensor> all =
        op.function({r.inputs.begin(), r.inputs.begin() + static_cast<int64_t>(op.inputs)});
    for (size_t i = 0; i < all.size(); ++i)
      if (output_grads[i].defined()) results.push_back(all[i]), seeds.push_back(output_grads[i]);
  } catch (...) {
    set_grad_enabled(create_graph);
    random.next_node = next;
    throw;
  }
  set_grad_enabled(create_graph);
  random.next_node = next;
  std::vector<Tensor> grads = grad_since(since, results, r.inputs, seeds, create_graph);
  for (size_t i = 0; i < grads.size(); ++i)  // the gradient of one given twice is that of both
    for (size_t j = 0; j < i; ++j)
      if (same_value(r.inputs[i], r.inputs[j])) grads[i] = {};
  return grads;
}

}  // namespace

std::vector<Tensor> checkpoint(TensorFunction function, const std::vector<Tensor>& inputs) {
  const bool traced = Trace::current() || std::ranges::any_of(inputs, &Tensor::symbolic);
  if (traced || !grad_enabled()) return function(inputs);
  const int64_t since = tape_position(), first_random = RandomState::current().next_node;
  std::vector<Tensor> results = function(inputs), operands = inputs;
  for (const Tensor& t : read_from_before(results, since)) {
    const bool given =
        std::ranges::any_of(inputs, [&](const Tensor& input) { return input.impl() == t.impl(); });
    if (!given) operands.push_back(t);
  }
  if (std::ranges::none_of(operands, &Tensor::requires_grad)) return results;
  auto op = std::make_shared<CheckpointOp>();
  op->name = "checkpoint";
  op->vjp = run_again_and_differentiate;
  op->takes_half = true;  // the function is run again on what it was given
  op->function = std::move(function);
  op->inputs = inputs.size();
  op->first_random = first_random;
  for (Tensor& t : results) t = t.detach();
  tape(op, operands, {}, results);
  return results;
}

Tensor checkpoint(const std::function<Tensor(const Tensor&)>& function, const Tensor& x) {
  return checkpoint(
      [function](const std::vector<Tensor>& inputs) { return std::vector{function(inputs[0])}; }, {x})[0];
}

}  // namespace wholestep
