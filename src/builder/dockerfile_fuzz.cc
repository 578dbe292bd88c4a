// Any text as a Dockerfile, its words expanded; any text as a .dockerignore.
#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "builder/dockerfile.h"
#include "builder/expand.h"
#include "builder/patterns.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace gantry::builder;
  std::string_view text(reinterpret_cast<const char*>(data), size);
  auto variables = [](std::string_view name) -> std::optional<std::string> {
    if (name.size() % 3 == 0) return std::nullopt;
    return std::string(name) + "/value.of.it";
  };
  auto file = Dockerfile::parse(text);
  if (file) {
    if (file->stages.empty()) std::abort();
    for (const Stage& stage : file->stages)
      for (const Instruction& instruction : stage.instructions) {
        if (instruction.line < 1 || instruction.end_line < instruction.line) std::abort();
        (void)expand_words(instruction.original, variables, file->escape);
      }
  } else {
    (void)excerpt("Dockerfile", text, line_of(file.error()));
  }
  (void)expand_word(text, variables);
  (void)expand_text(text, variables);
  auto ignore = IgnoreList::parse(text);
  if (ignore) (void)ignore->ignores("some/path/that/is.go");
  return 0;
}
