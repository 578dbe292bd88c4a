// What words of a Dockerfile stand for: quotes, escapes and variables, with BuildKit's modifiers
// (${a:-b} ${a-b} ${a:+b} ${a+b} ${a:?b} ${a?b} ${a#p} ${a##p} ${a%p} ${a%%p} ${a/p/r} ${a//p/r}).
// Pure, total, and bounded: a result is at most kMaxExpanded bytes, nesting at most 32 deep.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace gantry::builder {

inline constexpr size_t kMaxExpanded = 1u << 20;
// What a variable stands for; nothing when it is not set.
using Variables = std::function<std::optional<std::string>(std::string_view name)>;

// One word, whatever blanks it has. Errors are `invalid`.
Result<std::string> expand_word(std::string_view word, const Variables& variables,
                                char escape = '\\');
// Divided at blanks outside of quotes, those that variables stand for as well.
Result<std::vector<std::string>> expand_words(std::string_view text, const Variables& variables,
                                              char escape = '\\');
// Variables only: quotes stay what they are (the contents of heredocs).
Result<std::string> expand_text(std::string_view text, const Variables& variables,
                                char escape = '\\');

// `text` matched by a shell pattern: * any bytes, ? one, \x is x.
bool shell_match(std::string_view pattern, std::string_view text);

}  // namespace gantry::builder
