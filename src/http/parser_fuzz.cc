// Feeds the bytes whole and in two uneven parts: both must come to the same head, body and verdict.
#include <cstdlib>

#include "http/parser.h"

namespace {

using namespace gantry::http;

struct Outcome {
  bool failed = false;
  bool done = false;
  std::string target;
  std::string body;
  bool operator==(const Outcome&) const = default;
};

Outcome run(Parser::Kind kind, std::string_view input, size_t step) {
  Parser parser(kind, 4096);
  Outcome out;
  std::string pending;
  while (!input.empty() && !parser.done() && !out.failed) {
    std::string_view part = input.substr(0, step);
    input.remove_prefix(part.size());
    pending.append(part);
    while (true) {
      auto used = parser.put(pending, out.body);
      if (!used) {
        out.failed = true;
        break;
      }
      pending.erase(0, *used);
      if (*used == 0 || pending.empty() || parser.done()) break;
    }
  }
  out.done = parser.done();
  if (parser.head_done()) {
    out.target = parser.head().target;
    (void)parse_target(out.target);
    if (size_t mark = out.target.find('?'); mark != std::string::npos)
      (void)Query::parse(std::string_view(out.target).substr(mark + 1));
  }
  return out;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 2) return 0;
  std::string_view input(reinterpret_cast<const char*>(data) + 2, size - 2);
  auto kind = data[0] % 2 ? Parser::Kind::request : Parser::Kind::response;
  Outcome whole = run(kind, input, input.size() + 1);
  Outcome parts = run(kind, input, data[1] + 1u);
  if (!whole.failed && !parts.failed && !(whole == parts)) abort();
  return 0;
}
