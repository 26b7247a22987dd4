// Labels are sorted into what a batched matrix product knows: batch, rows, columns, and what is summed over.
#include "wholestep/ops/einsum.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "wholestep/ops/arrange.h"
#include "wholestep/ops/matmul.h"
#include "wholestep/ops/reduce.h"

namespace wholestep {
namespace {

/// A tensor with a label for each of its axes: letters, and digits for the axes of "...", '0' the last one.
struct Labelled {
  Tensor tensor;
  std::string labels;
};

bool has(const std::string& labels, char label) { return labels.find(label) != std::string::npos; }

[[noreturn]] void refuse(const std::string& equation, const std::string& what, const std::string& got = "") {
  throw Error(ErrorCode::kUsage, {.what = what, .where = "einsum '" + equation + "'", .got = got});
}

/// "...ij" of a tensor with `rank` axes -> "10ij".
std::string labels_of(const std::string& equation, const std::string& term, int rank) {
  const size_t dots = term.find("...");
  std::string letters = term;
  if (dots != std::string::npos) letters.erase(dots, 3);
  for (char c : letters)
    if (!std::isalpha(static_cast<unsigned char>(c)))
      refuse(equation, "subscripts are letters, commas, '...' and one '->'", fmt::format("'{}'", c));
  const int more = rank - static_cast<int>(letters.size());
  if (more < 0 || (more > 0 && dots == std::string::npos))
    refuse(equation, "an operand has as many axes as subscripts",
           fmt::format("'{}' for {} axes", term, rank));
  if (dots != std::string::npos)
    for (int i = more; i-- > 0;)
      letters.insert(dots + static_cast<size_t>(more - 1 - i), 1, static_cast<char>('0' + i));
  return letters;
}

/// A label that an operand names twice stands for its diagonal.
Labelled without_repeats(const std::string& equation, Labelled x) {
  for (size_t i = 0; i < x.labels.size(); ++i)
    if (size_t j = x.labels.find(x.labels[i], i + 1); j != std::string::npos) {
      const char label = x.labels[i];
      const int64_t a = static_cast<int64_t>(i), b = static_cast<int64_t>(j);
      if (x.tensor.dim(a) != x.tensor.dim(b))
        refuse(equation, "one label has two extents",
               fmt::format("{} in {}", label, to_string(x.tensor.shape())));
      x.tensor = diagonal(x.tensor, a, b);
      x.labels.erase(j, 1);
      x.labels.erase(i, 1);
      x.labels += label;
      return without_repeats(equation, std::move(x));
    }
  return x;
}

/// Summed over every label that is not in `wanted`.
Labelled summed(Labelled x, const std::string& wanted) {
  std::vector<int64_t> axes;
  std::string left;
  for (size_t i = 0; i < x.labels.size(); ++i)
    if (has(wanted, x.labels[i])) left += x.labels[i];
    else axes.push_back(static_cast<int64_t>(i));
  return {axes.empty() ? x.tensor : sum(x.tensor, axes), left};
}

/// With its axes in the order of `labels`, all of which it has.
Tensor in_order(const Labelled& x, const std::string& labels) {
  std::vector<int64_t> axes;
  for (char label : labels) axes.push_back(static_cast<int64_t>(x.labels.find(label)));
  return x.labels == labels ? x.tensor : permute(x.tensor, axes);
}

/// The labels that `wanted` names, of a product of a and b.
Labelled contracted(Labelled a, Labelled b, const std::string& wanted,
                    const std::map<char, int64_t>& extents) {
  a = summed(std::move(a), wanted + b.labels);
  b = summed(std::move(b), wanted + a.labels);
  std::string batch, rows, columns, inner;
  for (char label : a.labels) (!has(b.labels, label) ? rows : has(wanted, label) ? batch : inner) += label;
  for (char label : b.labels)
    if (!has(a.labels, label)) columns += label;
  auto product = [&](const std::string& labels) {
    int64_t n = 1;
    for (char label : labels) n *= extents.at(label);
    return n;
  };
  Tensor left = reshape(in_order(a, batch + rows + inner), {product(batch), product(rows), product(inner)});
  Tensor right =
      reshape(in_order(b, batch + inner + columns), {product(batch), product(inner), product(columns)});
  Shape shape;
  for (char label : batch + rows + columns) shape.push_back(extents.at(label));
  return {reshape(matmul(left, right), shape), batch + rows + columns};
}

std::vector<std::string> terms_of(const std::string& text) {
  std::vector<std::string> terms = {""};
  for (char c : text)
    if (c == ',') terms.emplace_back();
    else terms.back() += c;
  return terms;
}

}  // namespace

Tensor einsum(const std::string& equation, const std::vector<Tensor>& operands) {
  std::string text = equation;
  std::erase(text, ' ');
  const size_t arrow = text.find("->");
  const std::vector<std::string> terms = terms_of(text.substr(0, arrow));
  if (terms.size() != operands.size())
    refuse(equation, "einsum needs subscripts for every operand",
           fmt::format("{} for {} operands", terms.size(), operands.size()));

  // Extents by label; where one is 1, that of "..." broadcasts.
  std::vector<Labelled> list;
  std::map<char, int64_t> extents;
  std::map<char, int> counts;
  for (size_t i = 0; i < terms.size(); ++i) {
    Labelled x{operands[i], labels_of(equation, terms[i], operands[i].rank())};
    for (char label : x.labels) ++counts[label];
    x = without_repeats(equation, std::move(x));
    for (size_t axis = 0; axis < x.labels.size(); ++axis) {
      int64_t& extent = extents.emplace(x.labels[axis], 1).first->second;
      const int64_t own = x.tensor.shape()[static_cast<int>(axis)];
      if (own != extent && own != 1 && extent != 1)
        refuse(equation, "one label has two extents",
               fmt::format("{} of {} and of {}", x.labels[axis], extent, own));
      if (extent == 1) extent = own;
    }
    list.push_back(std::move(x));
  }
  for (Labelled& x : list) {
    Shape shape;
    for (char label : x.labels) shape.push_back(extents.at(label));
    x.tensor = expand(x.tensor, shape);
  }

  std::string result;
  int dots = 0;
  for (auto [label, extent] : extents) dots += std::isdigit(static_cast<unsigned char>(label)) != 0;
  if (arrow == std::string::npos) {
    for (int i = dots; i-- > 0;) result += static_cast<char>('0' + i);
    for (auto [label, count] : counts)
      if (count == 1 && std::isalpha(static_cast<unsigned char>(label))) result += label;
  } else {
    const std::string term = text.substr(arrow + 2);
    const bool has_dots = term.find("...") != std::string::npos;
    const int letters = static_cast<int>(term.size()) - (has_dots ? 3 : 0);
    result = labels_of(equation, term, letters + (has_dots ? dots : 0));
    for (size_t i = 0; i < result.size(); ++i)
      if (!extents.contains(result[i]) || result.find(result[i], i + 1) != std::string::npos)
        refuse(equation, "the result names labels of the operands, each once", term);
  }

  Labelled all = list[0];
  for (size_t i = 1; i < list.size(); ++i) {
    std::string wanted = result;
    for (size_t later = i + 1; later < list.size(); ++later) wanted += list[later].labels;
    all = contracted(std::move(all), list[i], wanted, extents);
  }
  return in_order(summed(std::move(all), result), result);
}

}  // namespace wholestep
