// A confusion matrix as a heat map, and what it says in words: recall and precision of classes, pairs most
// often confused.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

namespace wholestep {

/// confusion[true class][predicted class], square; names one per class.
struct ConfusionMatrix {
  std::vector<std::vector<int64_t>> counts;
  std::vector<std::string> class_names;
};

/// Inline SVG; numbers in the cells up to 20 classes.
std::string confusion_svg(const ConfusionMatrix& matrix);
/// A table of classes, those of lowest recall first where there are more than 12 of them.
std::string class_table_html(const ConfusionMatrix& matrix);

struct ConfusedPair {
  int64_t label = 0, predicted = 0, count = 0;
  double share = 0;  ///< of the samples of class `label`
};
/// The pairs that occur, most frequent first, at most `limit`.
std::vector<ConfusedPair> most_confused(const ConfusionMatrix& matrix, size_t limit);

}  // namespace wholestep
