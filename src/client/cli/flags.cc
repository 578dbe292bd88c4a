#include "client/cli/flags.h"

#include <algorithm>
#include <charconv>

namespace gantry::client {
namespace {

struct Bound {
  const Flag* flag;
  void* member;
};

class Parser {
 public:
  Parser(std::span<const FlagGroup> groups, void* options, std::span<const std::string> words)
      : groups_(groups), options_(options), words_(words) {}

  Result<ParsedArguments> run(Interspersed interspersed) {
    while (next_ < words_.size()) {
      const std::string& word = words_[next_++];
      if (word.size() < 2 || word[0] != '-') {
        result_.arguments.push_back(word);
        if (interspersed == Interspersed::no) break;
        continue;
      }
      if (word == "--") break;
      if (word[1] == '-')
        TRY(take_long(std::string_view(word).substr(2)));
      else
        TRY(take_cluster(std::string_view(word).substr(1)));
      if (result_.help) return std::move(result_);
    }
    for (; next_ < words_.size(); ++next_) result_.arguments.push_back(words_[next_]);
    return std::move(result_);
  }

 private:
  template <typename Matches>
  std::optional<Bound> find(Matches&& matches) const {
    for (const FlagGroup& group : groups_)
      for (const Flag& flag : group.flags)
        if (matches(flag)) return Bound{&flag, flag.member(group.base(options_))};
    return std::nullopt;
  }

  Status take_long(std::string_view text) {
    if (text.empty() || text[0] == '-' || text[0] == '=')
      return invalid("bad flag syntax: --{}", text);
    size_t equals = text.find('=');
    std::string_view name = text.substr(0, equals);
    auto bound = find([&](const Flag& flag) { return flag.name == name; });
    if (!bound) {
      if (name == "help") {
        result_.help = true;
        return {};
      }
      return invalid("unknown flag: --{}", name);
    }
    if (equals != text.npos) return set(*bound, text.substr(equals + 1));
    if (bound->flag->boolean) return set(*bound, "true");
    if (next_ == words_.size()) return invalid("flag needs an argument: --{}", name);
    return set(*bound, words_[next_++]);
  }

  Status take_cluster(std::string_view cluster) {
    const std::string_view whole = cluster;
    while (!cluster.empty()) {
      const char letter = cluster[0];
      auto bound = find([&](const Flag& flag) { return flag.shorthand == letter; });
      if (!bound) {
        if (letter == 'h') {
          result_.help = true;
          return {};
        }
        return invalid("unknown shorthand flag: '{}' in -{}", letter, cluster);
      }
      cluster.remove_prefix(1);
      if (!cluster.empty() && cluster[0] == '=') return set(*bound, cluster.substr(1));
      if (bound->flag->boolean) {
        TRY(set(*bound, "true"));
        continue;
      }
      if (!cluster.empty()) return set(*bound, cluster);
      if (next_ == words_.size())
        return invalid("flag needs an argument: '{}' in -{}", letter, whole);
      return set(*bound, words_[next_++]);
    }
    return {};
  }

  static Status set(const Bound& bound, std::string_view text) {
    Status done = bound.flag->codec.set(bound.member, text);
    if (done) return {};
    std::string shown = bound.flag->shorthand ? fmt::format("-{}, ", bound.flag->shorthand) : "";
    return invalid("invalid argument \"{}\" for \"{}--{}\" flag: {}", text, shown, bound.flag->name,
                   done.error().message());
  }

  std::span<const FlagGroup> groups_;
  void* options_;
  std::span<const std::string> words_;
  size_t next_ = 0;
  ParsedArguments result_;
};

// Appends `text` folded at blanks so that no line exceeds `width`; further lines start at `indent`.
void append_folded(std::string& out, std::string_view text, size_t indent, size_t width) {
  const size_t room = width > indent + 24 ? width - indent : 24;
  bool first = true;
  while (!text.empty()) {
    size_t newline = std::min(text.find('\n'), text.size());
    size_t take = newline;
    if (take > room) {
      size_t blank = text.substr(0, room + 1).rfind(' ');
      take = blank == text.npos || blank == 0 ? std::min(text.find(' '), newline) : blank;
    }
    if (!first) out.append("\n").append(indent, ' ');
    first = false;
    out.append(text.substr(0, take));
    text.remove_prefix(std::min(take + 1, text.size()));
  }
}

}  // namespace

Status set_bool(bool& out, std::string_view text) {
  for (std::string_view word : {"1", "t", "T", "true", "TRUE", "True"})
    if (text == word) {
      out = true;
      return {};
    }
  for (std::string_view word : {"0", "f", "F", "false", "FALSE", "False"})
    if (text == word) {
      out = false;
      return {};
    }
  return invalid("strconv.ParseBool: parsing \"{}\": invalid syntax", text);
}

namespace {

// Go's integers: an optional sign, then decimal, 0x, 0o or 0b digits.
template <typename T>
Status set_integer(T& out, std::string_view text, unsigned bits, std::string_view function) {
  auto syntax = [&] {
    return invalid("strconv.{}: parsing \"{}\": invalid syntax", function, text);
  };
  std::string_view digits = text;
  bool negative = false;
  if (std::is_signed_v<T> && !digits.empty() && (digits[0] == '-' || digits[0] == '+')) {
    negative = digits[0] == '-';
    digits.remove_prefix(1);
  }
  int base = 10;
  if (digits.size() > 1 && digits[0] == '0') {
    char kind = static_cast<char>(digits[1] | 0x20);
    base = kind == 'x' ? 16 : kind == 'b' ? 2 : 8;
    digits.remove_prefix(kind == 'x' || kind == 'b' || kind == 'o' ? 2 : 1);
  }
  uint64_t magnitude = 0;
  auto [end, failure] =
      std::from_chars(digits.data(), digits.data() + digits.size(), magnitude, base);
  if (digits.empty() || failure == std::errc::invalid_argument ||
      end != digits.data() + digits.size())
    return syntax();
  const uint64_t most = std::is_signed_v<T> ? (uint64_t{1} << (bits - 1)) - !negative
                        : bits == 64        ? ~uint64_t{0}
                                            : (uint64_t{1} << bits) - 1;
  if (failure == std::errc::result_out_of_range || magnitude > most)
    return invalid("strconv.{}: parsing \"{}\": value out of range", function, text);
  out = static_cast<T>(negative ? uint64_t{0} - magnitude : magnitude);
  return {};
}

}  // namespace

Status set_signed(int64_t& out, std::string_view text, unsigned bits) {
  return set_integer(out, text, bits, "ParseInt");
}

Status set_unsigned(uint64_t& out, std::string_view text, unsigned bits) {
  return set_integer(out, text, bits, "ParseUint");
}

Result<ParsedArguments> parse_flags(std::span<const FlagGroup> groups, void* options,
                                    Interspersed interspersed, std::span<const std::string> words) {
  return Parser(groups, options, words).run(interspersed);
}

std::string describe_flags(std::span<const FlagGroup> groups, int width) {
  std::vector<const Flag*> shown;
  for (const FlagGroup& group : groups)
    for (const Flag& flag : group.flags)
      if (!flag.hidden) shown.push_back(&flag);
  std::ranges::sort(shown, {}, &Flag::name);

  auto left = [](const Flag& flag) {
    std::string text = flag.shorthand ? fmt::format("  -{}, ", flag.shorthand) : "      ";
    text.append("--").append(flag.name);
    if (!flag.codec.type.empty()) text.append(" ").append(flag.codec.type);
    return text;
  };
  size_t indent = 0;
  for (const Flag* flag : shown) indent = std::max(indent, left(*flag).size() + 3);

  std::string out;
  for (const Flag* flag : shown) {
    std::string head = left(*flag);
    out.append(head).append(indent - head.size(), ' ');
    std::string usage(flag->usage);
    if (!flag->default_text.empty()) usage.append(fmt::format(" (default {})", flag->default_text));
    append_folded(out, usage, indent, static_cast<size_t>(width));
    out += '\n';
  }
  return out;
}

}  // namespace gantry::client
