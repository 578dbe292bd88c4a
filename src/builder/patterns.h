// Patterns of paths: Go's filepath.Match, which COPY's sources are, and that with ** for any number
// of directories, which .dockerignore and --exclude are. Pure and total; matching takes at most the
// product of both lengths.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"

namespace gantry::builder {

enum class Deep { no, yes };  // whether ** crosses slashes

class Pattern {
 public:
  // `invalid`: "syntax error in pattern".
  static Result<Pattern> parse(std::string_view text, Deep deep);
  // The whole of a clean relative path ("a/b").
  bool matches(std::string_view path) const;
  // It or a directory above it.
  bool matches_or_parent(std::string_view path) const;

 private:
  struct Item {
    enum Kind { literal, any, star, set, directories, rest } kind;
    char c = 0;
    bool negated = false;
    std::vector<std::pair<char, char>> ranges = {};
  };
  bool takes(const Item& item, char c) const;
  std::vector<Item> items_;
};

// Whether `text` has any of * ? [ \.
bool has_wildcards(std::string_view text);

// A .dockerignore: the last line that matches a path decides; a line with ! takes it back.
class IgnoreList {
 public:
  IgnoreList() = default;
  // Errors are `invalid` and name the line.
  static Result<IgnoreList> parse(std::string_view text);
  static Result<IgnoreList> of(const std::vector<std::string>& lines);
  bool ignores(std::string_view path) const;
  // Whether nothing below a directory that is ignored can be wanted all the same.
  bool has_exceptions() const { return exceptions_; }
  bool empty() const { return rules_.empty(); }

 private:
  struct Rule {
    Pattern pattern;
    bool exception = false;
  };
  std::vector<Rule> rules_;
  bool exceptions_ = false;
};

}  // namespace gantry::builder
