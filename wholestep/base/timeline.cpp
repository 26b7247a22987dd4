#include "wholestep/base/timeline.h"

#include <fmt/format.h>

#include <algorithm>
#include <string_view>

namespace wholestep {

std::string chrome_trace(const Timeline& timeline) {
  std::vector<std::string_view> rows;  // a row's number is its place here
  std::string events;
  for (const Timeline::Span& span : timeline.spans()) {
    auto row = std::ranges::find(rows, span.row);
    if (row == rows.end()) row = rows.insert(rows.end(), span.row);
    events += fmt::format(
        R"({{"ph":"X","pid":1,"tid":{},"name":"{}","ts":{:.3f},"dur":{:.3f},"args":{{"submission":{}}}}},)"
        "\n",
        row - rows.begin(), span.what, span.begin, span.end - span.begin, span.number);
  }
  for (size_t i = 0; i < rows.size(); ++i)
    events += fmt::format(R"({{"ph":"M","pid":1,"tid":{},"name":"thread_name","args":{{"name":"{}"}}}},)"
                          "\n",
                          i, rows[i]);
  return fmt::format("{{\"displayTimeUnit\":\"ns\",\"traceEvents\":[\n{}]}}\n",
                     std::string_view(events).substr(0, events.empty() ? 0 : events.size() - 2));
}

}  // namespace wholestep
