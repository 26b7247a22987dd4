// Sequence: which schedule holds is decided inside the step.
#include "wholestep/optim/sequence.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "wholestep/optim/plateau.h"

namespace wholestep::optim {
namespace {

std::vector<std::string> problems_of(const std::vector<std::shared_ptr<Schedule>>& schedules,
                                     const std::vector<int64_t>& milestones) {
  std::vector<std::string> problems;
  if (schedules.empty() || milestones.size() + 1 != schedules.size())
    problems.push_back(fmt::format("{} schedules need as many milestones but one, got {}", schedules.size(),
                                   milestones.size()));
  if (!std::ranges::is_sorted(milestones)) problems.push_back("'milestones' must rise");
  for (const auto& schedule : schedules)
    if (schedule->type() == ReduceOnPlateauConfig::kType)
      problems.push_back("reduce-on-plateau counts epochs and cannot take turns with schedules of steps");
  return problems;
}

std::unique_ptr<Schedule> read_sequence(ConfigReader& reader) {
  auto milestones = reader.get("milestones", std::vector<int64_t>{}, {.min = 1});
  const nlohmann::json* tables = reader.child("schedules");
  if (!tables || !tables->is_array()) {
    reader.add_problem("schedules", "expected an array of tables");
    return nullptr;
  }
  std::vector<std::shared_ptr<Schedule>> schedules;
  for (const nlohmann::json& table : *tables) {
    ConfigReader nested(table, fmt::format("{}: schedules[{}]", reader.where(), schedules.size()));
    schedules.push_back(read_schedule(nested));
    reader.absorb(nested);
    if (!schedules.back()) return nullptr;
  }
  std::vector<std::string> problems = problems_of(schedules, milestones);
  for (const std::string& problem : problems) reader.add_problem(problem);
  return problems.empty() ? std::make_unique<Sequence>(std::move(schedules), std::move(milestones)) : nullptr;
}

}  // namespace

Sequence::Sequence(std::vector<std::shared_ptr<Schedule>> schedules, std::vector<int64_t> milestones)
    : schedules_(std::move(schedules)), milestones_(std::move(milestones)) {
  throw_problems("schedule sequence", problems_of(schedules_, milestones_));
}

void Sequence::set_run_steps(int64_t steps) {
  for (size_t i = 0; i < schedules_.size(); ++i) {
    int64_t begin = i > 0 ? milestones_[i - 1] : 0, end = i < milestones_.size() ? milestones_[i] : steps;
    schedules_[i]->set_run_steps(std::max<int64_t>(1, end - begin));
  }
}

std::string Sequence::description() const {
  std::vector<std::string> parts;
  for (const auto& schedule : schedules_) parts.push_back(schedule->description());
  return fmt::format("sequence({}, milestones={})", fmt::join(parts, ", "), milestones_);
}

void Sequence::write_spec(nlohmann::json& spec) const {
  spec = {{"type", kType}, {"schedules", nlohmann::json::array()}, {"milestones", milestones_}};
  for (const auto& schedule : schedules_) {
    nlohmann::json table = nlohmann::json::object();
    schedule->write_spec(table);
    spec["schedules"].push_back(std::move(table));
  }
}

Tensor Sequence::after_warmup(const Tensor& base, const Tensor& t) const {
  Tensor rate;
  for (size_t i = schedules_.size(); i-- > 0;) {
    double begin = i > 0 ? static_cast<double>(milestones_[i - 1]) : 0;
    Tensor here = schedules_[i]->rate(base, maximum(t - begin, 0.0));
    rate = rate.defined() ? where(t < static_cast<double>(milestones_[i]), here, rate) : here;
  }
  return rate;
}

ConfigType<Schedule> sequence_type() {
  return {Sequence::kType,
          Sequence::kDoc,
          {{"schedules", "list of tables", "required", "schedules, each with its type and fields"},
           {"milestones", "list of integers, at least 1", "required", "steps at which the next begins"}},
          read_sequence};
}

}  // namespace wholestep::optim
