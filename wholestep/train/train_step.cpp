// The training step as one traced function, and the memory and plans around it.
#include "wholestep/train/train_step.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <functional>
#include <set>

#include "wholestep/backend/memory_cache.h"
#include "wholestep/graph/grad.h"
#include "wholestep/ops/elementwise.h"
#include "wholestep/ops/reduce.h"
#include "wholestep/ops/shape.h"
#include "wholestep/optim/clip.h"

namespace wholestep {
namespace {

Tensor state_scalar(DType dtype, const std::string& name) {
  return zeros({dtype, {}}).set_role(TensorRole::kState, name);
}

std::optional<Regression> read_regression(const Tensor& sums, const Tensor& seen) {
  if (!sums.defined()) return std::nullopt;
  std::vector<double> values(static_cast<size_t>(sums.numel()));
  sums.read(std::as_writable_bytes(std::span(values)));
  return regression_of(values, seen.item<int64_t>());
}

void set_zero(const Tensor& t) {
  if (t.defined()) t.write(std::vector<std::byte>(static_cast<size_t>(t.type().bytes())));
}

template <class T>
void set(const Tensor& t, T value) {
  WHOLESTEP_CHECK(t.dtype() == kDTypeOf<T>);
  t.write(std::as_bytes(std::span(&value, 1)));
}

/// Every update of the trace so far keeps the old value unless `commit` holds: a bad step changes nothing.
void make_transactional(Graph& graph, const Tensor& commit) {
  for (size_t i = 0; i < graph.updates.size(); ++i) {
    Update update = graph.updates[i];
    update.value = graph.value_of(where(commit, graph.tensor(update.value), graph.tensor(update.target)));
    graph.updates[i] = update;
  }
}

}  // namespace

TrainStep::TrainStep(nn::Module& model, const nn::Loss& loss, optim::Optimizer& optimizer,
                     const SampleType& sample, StepConfig config)
    : model_(model),
      loss_(loss),
      optimizer_(optimizer),
      sample_(sample),
      config_(std::move(config)),
      random_(config_.seed),
      train_loss_sum_(state_scalar(DType::f64, "metrics.train_loss_sum")),
      train_correct_(state_scalar(DType::i64, "metrics.train_correct")),
      train_seen_(state_scalar(DType::i64, "metrics.train_seen")),
      skipped_(state_scalar(DType::i64, "metrics.skipped_steps")),
      eval_loss_sum_(state_scalar(DType::f64, "metrics.eval_loss_sum")),
      eval_correct_(state_scalar(DType::i64, "metrics.eval_correct")),
      eval_seen_(state_scalar(DType::i64, "metrics.eval_seen")) {
  loss_.check(model_);
  if (regresses()) {
    check_regresses(loss_);
    for (auto [errors, name] :
         {std::pair{&train_errors_, "metrics.train_errors"}, std::pair{&eval_errors_, "metrics.eval_errors"}})
      *errors = zeros({DType::f64, {4, sample_.targets}}).set_role(TensorRole::kState, name);
  }
  if (loss_.reduction() == "none")
    throw Error(ErrorCode::kBadConfig, {.what = "training needs a loss that is one number",
                                        .got = loss_.description(),
                                        .expected = "the reduction mean or sum"});
  if (config_.ema_decay > 0) ema_.emplace(model_.parameters(), config_.ema_decay);
}

// Tracing

Tensor TrainStep::target_under(const Tensor& logits, const Tensor& targets) const {
  return regresses() ? standardize_targets(targets, config_.normalization) : loss_.target_of(targets, logits);
}

Tensor TrainStep::score(const Tensor& logits, const Tensor& targets) const {
  if (regresses()) return regression_sums(in_units_of_data(logits, config_.normalization), targets);
  return sum(equal(loss_.classes(logits), cast(targets, DType::i64)));
}

/// Of the sum of the losses, divided at last by what the whole batch comes to.
TrainStep::LossAndGrads TrainStep::trace_pieces(const Tensor& samples, const Tensor& targets,
                                                int64_t pieces) {
  auto add = [](Tensor& total, const Tensor& x) { total = total.defined() ? total + x : x; };
  int64_t rows = targets.dim(0);
  std::vector<Tensor> parameters = optimizer_.parameters();
  LossAndGrads all{.loss = {}, .score = {}, .grads = std::vector<Tensor>(parameters.size())};
  Tensor divisor;
  for (int64_t i = 0; i < pieces; ++i) {
    ++Trace::current()->turn;
    int64_t begin = rows * i / pieces, end = rows * (i + 1) / pieces;
    Tensor piece = slice(targets, 0, begin, end);
    Tensor logits = run_model(model_, normalize(slice(samples, 0, begin, end), config_.normalization));
    Tensor target = target_under(logits, piece), losses = loss_.unreduced(logits, target);
    Tensor total = sum(losses);
    std::vector<Tensor> grads = grad(total, parameters);
    NoGrad no_grad;
    add(all.loss, total);
    add(all.score, score(logits, piece));
    add(divisor, loss_.divisor(losses, logits, target));
    for (size_t p = 0; p < grads.size(); ++p) add(all.grads[p], grads[p]);
  }
  ++Trace::current()->turn;
  NoGrad no_grad;
  if (loss_.reduction() == "sum") return all;
  all.loss = all.loss / divisor;
  for (Tensor& g : all.grads) g = g / cast(divisor, g.dtype());
  return all;
}

std::shared_ptr<Graph> TrainStep::trace_train(int64_t batch, std::vector<Stage>* stages) {
  auto graph = std::make_shared<Graph>();
  Trace trace(graph);
  UseRandom use(random_);
  random_.next_node = 0;
  model_.train(true);
  auto stage = [&](const char* name) {
    if (stages) stages->push_back({name, std::make_shared<Graph>(*graph)});
  };

  auto [samples, targets] =
      train_data_.defined() ? train_data_.next(batch) : batch_slots(*graph, sample_, batch);
  std::vector<Update> position = std::move(graph->updates);  // moves on also when the step is skipped
  graph->updates.clear();
  LossAndGrads all;
  if (int64_t pieces = std::min(config_.accumulate, batch); pieces > 1) {
    all = trace_pieces(samples, targets, pieces);
  } else {
    Tensor logits = run_model(model_, normalize(samples, config_.normalization));
    all = {
        .loss = loss_(logits, target_under(logits, targets)), .score = score(logits, targets), .grads = {}};
    stage("trace");
    all.grads = grad(all.loss, optimizer_.parameters());
  }
  auto& [loss, batch_score, grads] = all;
  stage("differentiate");

  Tensor commit = logical_and(isfinite(loss), optim::all_finite(grads));
  if (config_.clip_value > 0) grads = optim::clip_grad_value(grads, config_.clip_value);
  if (config_.clip_norm > 0) grads = optim::clip_grad_norm(grads, config_.clip_norm).grads;
  optimizer_.step(grads);
  if (ema_) ema_->update();
  random_.step.assign(random_.step + 1.0);
  double counted = loss_.reduction() == "sum" ? 1 : static_cast<double>(batch);  // losses in `loss`
  train_loss_sum_.assign(train_loss_sum_ + cast(loss, DType::f64) * counted);
  train_score().assign(train_score() + batch_score);
  train_seen_.assign(train_seen_ + static_cast<double>(batch));
  make_transactional(*graph, commit);
  skipped_.assign(where(commit, skipped_, skipped_ + 1.0));
  graph->updates.insert(graph->updates.end(), position.begin(), position.end());
  graph->add_output("loss", loss);
  graph->add_output("commit", commit);
  stage("optimizer");
  return graph;
}

std::shared_ptr<Graph> TrainStep::trace_eval(int64_t batch) {
  auto graph = std::make_shared<Graph>();
  Trace trace(graph);
  auto [samples, targets] =
      eval_data_.defined() ? eval_data_.next(batch) : batch_slots(*graph, sample_, batch);
  std::vector<Update> position = graph->updates;
  if (ema_) ema_->apply();
  EvaluationTrace e = trace_evaluation(*graph, model_, &loss_, config_.normalization, samples, targets);
  graph->updates = position;  // the averages were for this evaluation alone
  eval_loss_sum_.assign(eval_loss_sum_ + sum(cast(e.losses, DType::f64)));
  eval_score().assign(eval_score() + score(e.logits, targets));
  eval_seen_.assign(eval_seen_ + static_cast<double>(batch));
  return graph;
}

Plan TrainStep::make_train_plan(int64_t batch, bool keep_stages) {
  CompileOptions options = config_.compile;
  options.keep_stages = keep_stages;
  std::vector<Stage> traced;
  Plan plan = make_plan(trace_train(batch, keep_stages ? &traced : nullptr), options);
  plan.stages.insert(plan.stages.begin(), traced.begin(), traced.end());
  return plan;
}

Plan TrainStep::make_eval_plan(int64_t batch, bool keep_stages) {
  CompileOptions options = config_.compile;
  options.keep_stages = keep_stages;
  return make_plan(trace_eval(batch), options);
}

// Memory

void TrainStep::keep_resident(const Dataset& train, const Dataset* validation) {
  train_data_ = ResidentData(train, "train");
  if (validation) eval_data_ = ResidentData(*validation, "eval");
}

namespace {

/// The tensors that plans share, each once: bytes by kind before anything is allocated.
struct SharedTensors {
  std::vector<Tensor> parameters, state, constants;

  /// `first` are the first of the state, in this order.
  explicit SharedTensors(const std::vector<const Plan*>& plans, const std::vector<Tensor>& first)
      : state(first) {
    std::set<const Storage*> seen;
    for (const Tensor& t : first) seen.insert(t.impl()->storage.get());
    for (const Plan* plan : plans)
      for (const GraphInput& input : plan->graph->inputs) {
        if (input.kind == InputKind::kBatch || !seen.insert(input.binding.impl()->storage.get()).second)
          continue;
        (input.kind == InputKind::kParameter ? parameters
         : input.kind == InputKind::kState   ? state
                                             : constants)
            .push_back(input.binding);
      }
  }
};

/// The most that one of the plans needs of what all of them share.
template <class Bytes>
int64_t most_of(const std::vector<const Plan*>& plans, Bytes bytes) {
  int64_t most = 0;
  for (const Plan* plan : plans) most = std::max(most, std::invoke(bytes, plan->memory));
  return most;
}

int64_t bytes_of(const std::vector<const Plan*>& plans, const SharedTensors& shared) {
  return packed_bytes(shared.parameters) + packed_bytes(shared.state) + packed_bytes(shared.constants) +
         most_of(plans, &MemoryReport::feed_bytes) + most_of(plans, &MemoryReport::arena_bytes);
}

}  // namespace

int64_t TrainStep::bytes_for(int64_t train_batch, int64_t eval_batch) {
  Plan train = make_train_plan(train_batch), eval = make_eval_plan(eval_batch);
  return bytes_of({&train, &eval}, SharedTensors({&train, &eval}, metric_tensors()));
}

void TrainStep::check_budget(int64_t train_batch, int64_t eval_batch) {
  int64_t budget = config_.memory_budget_bytes, needed = bytes_for(train_batch, eval_batch);
  if (budget == 0 || needed <= budget) return;
  // The evaluation batch shrinks along with the training batch, as it may be what does not fit.
  auto fits = [&](int64_t batch) {
    return bytes_for(batch * config_.accumulate, std::min(batch, eval_batch)) <= budget;
  };
  int64_t low = 0,
          high = std::max<int64_t>(1, train_batch / config_.accumulate);  // low fits (or is 0), high may not
  if (fits(high)) low = high;
  while (high - low > 1) {
    int64_t middle = low + (high - low) / 2;
    (fits(middle) ? low : high) = middle;
  }
  throw Error(
      ErrorCode::kPlanRefused,
      {.what = "the plan does not fit the memory budget",
       .where = fmt::format("training batch {}, evaluation batch {}", train_batch, eval_batch),
       .got = fmt::format("{} bytes", needed),
       .expected = fmt::format("at most {}", budget),
       .hint = low == 0 ? "not even a batch of 1 fits"
                        : fmt::format("the largest batch that fits is {} (with an evaluation batch of {})",
                                      low, std::min(low, eval_batch))});
}

void TrainStep::prepare(std::vector<int64_t> train_batches, std::vector<int64_t> eval_batches) {
  Backend& backend = *config_.compile.backend;
  check_budget(*std::ranges::max_element(train_batches), *std::ranges::max_element(eval_batches));
  std::map<int64_t, Plan> train_plans, eval_plans;
  for (int64_t batch : train_batches) train_plans.try_emplace(batch, make_train_plan(batch));
  for (int64_t batch : eval_batches) eval_plans.try_emplace(batch, make_eval_plan(batch));
  std::vector<const Plan*> all;
  for (auto* plans : {&train_plans, &eval_plans})
    for (auto& [batch, plan] : *plans) all.push_back(&plan);

  // Constants are used where they lie, if the device can reach them there.
  SharedTensors shared(all, metric_tensors());
  predicted_bytes_ = bytes_of(all, shared);
  auto here = [&](const Tensor& t) { return lies_on(*t.impl()->storage, backend); };
  auto moved = std::ranges::partition(shared.constants, here);
  used_bytes_ = packed_bytes(std::span(shared.constants.begin(), moved.begin()));
  train_steps_.clear();
  eval_steps_.clear();
  last_ = last_evaluation_ = nullptr;
  feed_.reset();
  for (auto* memory : {&arena_, &parameter_memory_, &state_memory_}) memory->reset();
  parameter_memory_ = pack(backend, shared.parameters);
  state_memory_ = pack(backend, shared.state);
  if (!moved.empty()) used_bytes_ += pack(backend, moved)->bytes();
  arena_ = backend.allocate(most_of(all, &MemoryReport::arena_bytes));
  for (const auto& memory : {parameter_memory_, state_memory_, arena_}) used_bytes_ += memory->bytes();
  int64_t before = backend.counters().bytes_in_use;
  if (int64_t batch = most_of(all, &MemoryReport::batch_bytes)) feed_ = backend.make_feed(batch);
  used_bytes_ += backend.counters().bytes_in_use - before;
  eager_memory().empty_cache();  // where parameters and state lay before
  for (auto& [batch, plan] : train_plans)
    train_steps_[batch] = std::make_unique<CompiledStep>(std::move(plan), arena_);
  for (auto& [batch, plan] : eval_plans)
    eval_steps_[batch] = std::make_unique<CompiledStep>(std::move(plan), arena_);
}

// Running

namespace {

CompiledStep& step_for(const std::map<int64_t, std::unique_ptr<CompiledStep>>& steps, int64_t rows) {
  auto it = steps.find(rows);
  if (it == steps.end())
    throw Error(ErrorCode::kUsage,
                {.what = "no plan was prepared for this batch size", .got = std::to_string(rows)});
  return *it->second;
}

}  // namespace

void TrainStep::train(const Batch& batch) {
  last_rows_ = batch.rows;
  last_ = &step_for(train_steps_, last_rows_);
  write_batch(*last_, sample_, batch, feed_.get());
  last_->run();
}

void TrainStep::set_order(std::span<const int64_t> samples, int64_t position) {
  train_data_.set_order(samples);
  train_data_.set_position(position);
}

void TrainStep::train_resident(int64_t rows, int64_t steps) {
  last_rows_ = rows;
  last_ = &step_for(train_steps_, rows);
  last_->run(steps);
}

void TrainStep::evaluate(const Batch& batch) {
  last_evaluation_ = &step_for(eval_steps_, batch.rows);
  write_batch(*last_evaluation_, sample_, batch, feed_.get());
  last_evaluation_->run();
}

void TrainStep::start_resident_evaluation() { eval_data_.set_position(0); }

void TrainStep::evaluate_resident(int64_t rows, int64_t steps) {
  last_evaluation_ = &step_for(eval_steps_, rows);
  last_evaluation_->run(steps);
}

// Reading

Predictions TrainStep::predictions() {
  WHOLESTEP_CHECK(last_evaluation_);
  return read_predictions(*last_evaluation_, prediction_buffer_);
}

std::vector<Tensor> TrainStep::metric_tensors() const {
  std::vector<Tensor> tensors = {train_loss_sum_, train_correct_, train_seen_, skipped_,
                                 eval_loss_sum_,  eval_correct_,  eval_seen_};
  if (regresses()) tensors.insert(tensors.end(), {train_errors_, eval_errors_});
  return tensors;
}

/// The metrics open the state's memory, each at the start of a line: `count` of them are read at once.
Metrics TrainStep::read_metrics(size_t first, size_t count) const {
  WHOLESTEP_CHECK(state_memory_);
  constexpr size_t kLine = static_cast<size_t>(kAlignment);
  std::array<std::byte, 4 * kLine> lines{};
  config_.compile.backend->copy_out(lines.data(), state_memory_->data() + first * kLine,
                                    static_cast<int64_t>(count * kLine));
  auto read = [&](size_t index, auto value) {
    std::memcpy(&value, lines.data() + index * kLine, sizeof value);
    return value;
  };
  std::optional<int64_t> correct;
  if (!regresses()) correct = read(1, int64_t{});
  return {read(0, double{}), correct, read(2, int64_t{}), read(3, int64_t{})};
}

Metrics TrainStep::train_metrics() const { return read_metrics(0, 4); }
Metrics TrainStep::eval_metrics() const { return read_metrics(4, 3); }
std::optional<Regression> TrainStep::train_regression() const {
  return read_regression(train_errors_, train_seen_);
}
std::optional<Regression> TrainStep::eval_regression() const {
  return read_regression(eval_errors_, eval_seen_);
}
void TrainStep::reset_train_metrics() {
  for (const Tensor& t : {train_loss_sum_, train_correct_, train_seen_, train_errors_}) set_zero(t);
}
void TrainStep::reset_eval_metrics() {
  for (const Tensor& t : {eval_loss_sum_, eval_correct_, eval_seen_, eval_errors_}) set_zero(t);
}

double TrainStep::last_loss() const {
  WHOLESTEP_CHECK(last_);
  float loss = 0;
  last_->read("loss", std::as_writable_bytes(std::span(&loss, 1)));
  return static_cast<double>(loss);
}

std::string TrainStep::first_non_finite() {
  WHOLESTEP_CHECK(last_);
  bool committed = false;
  last_->read("commit", std::as_writable_bytes(std::span(&committed, 1)));
  if (committed) return "";
  int64_t position = train_data_.defined() ? train_data_.position() - last_rows_ : 0;
  if (train_data_.defined()) train_data_.set_position(position);
  int64_t skipped = skipped_.item<int64_t>();
  std::string found = last_->first_non_finite();
  set(skipped_, skipped);  // the replay counted once more, and moved on
  if (train_data_.defined()) train_data_.set_position(position);
  return found;
}

void TrainStep::poison_arena() {
  std::vector<std::byte> poison(static_cast<size_t>(arena_->bytes()), std::byte{0xFF});
  config_.compile.backend->copy_in(arena_->data(), poison.data(), arena_->bytes());
}

namespace {

/// The same data under another name.
Tensor renamed(const Tensor& t, std::string name) { return t.detach().set_role(t.role(), std::move(name)); }

}  // namespace

std::vector<Tensor> TrainStep::model_tensors() const {
  std::vector<Tensor> tensors;
  size_t i = 0;
  for (auto& [name, tensor] : model_.named_parameters())
    tensors.push_back(ema_ ? renamed(ema_->averages()[i++], tensor.name()) : tensor);
  for (auto& [name, tensor] : model_.named_buffers()) tensors.push_back(tensor);
  return tensors;
}

std::vector<Tensor> TrainStep::state_tensors() const {
  std::vector<Tensor> tensors = {random_.seed,   random_.step, train_loss_sum_,
                                 train_correct_, train_seen_,  skipped_};
  if (regresses()) tensors.push_back(train_errors_);
  for (const Tensor& t : optimizer_.state()) tensors.push_back(t);
  if (!ema_) return tensors;
  tensors.push_back(ema_->state().back());
  for (const Tensor& p : model_.parameters()) tensors.push_back(renamed(p, p.name() + ".trained"));
  return tensors;
}

const Plan& TrainStep::train_plan(int64_t batch) const { return step_for(train_steps_, batch).plan(); }
const Plan& TrainStep::eval_plan(int64_t batch) const { return step_for(eval_steps_, batch).plan(); }

}  // namespace wholestep
