// Command-line flags with the grammar of Docker's client (the Go package pflag):
//   --name value, --name=value, --boolean, --boolean=false, -n value, -nvalue, -n=value, -abc (a
//   cluster of booleans, the last of which may take a value), "--" ends the flags. Flags may be
//   mixed with arguments unless the command says that the first argument ends them.
// The flags of a command are a constant table; each entry is bound to a member of the command's
// options:
//
//   struct PsOptions { bool all = false; std::vector<std::string> filter; };
//   constexpr Flag kPsFlags[] = {
//       flag<&PsOptions::all>("all", 'a', "Show all containers (default shows just running)"),
//       flag<&PsOptions::filter>("filter", 'f', "Filter output based on conditions provided",
//       {.type = "filter"})};
//
// The options structs of two files must not have the same name, even in unnamed namespaces: g++ 12
// gives the functions behind a table weak symbols that are named after the struct, and the linker
// would join them. Member types: bool, std::optional<bool>, integers, std::string, std::optional of
// these, and std::vector<std::string> (a repeatable flag). A flag with another syntax names a `set`
// function.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace gantry::client {

// How one C++ type takes the text of a flag. set() may be called more than once for one flag.
struct FlagCodec {
  Status (*set)(void* member, std::string_view text);
  std::string_view type;  // what the help shows for the value; empty for a boolean
};

struct Flag {
  std::string_view name;
  char shorthand;          // 0: none
  std::string_view usage;  // may hold line breaks
  FlagCodec codec;
  void* (*member)(void* options);
  std::string_view default_text;  // "(default …)" of the help; empty: none
  bool hidden;                    // accepted, not shown
  bool boolean;                   // needs no value
};

// What most flags do not need.
struct FlagExtra {
  std::string_view type = {};  // instead of the type's own name
  std::string_view default_text = {};
  // Instead of the type's own. Optional, because g++ with -fsanitize=undefined takes no comparison
  // of a function's address with null for a constant (GCC bug 71962).
  std::optional<Status (*)(void* member, std::string_view text)> set = {};
  bool hidden = false;
};

Status set_bool(bool& out, std::string_view text);
Status set_signed(int64_t& out, std::string_view text, unsigned bits);
Status set_unsigned(uint64_t& out, std::string_view text, unsigned bits);

template <typename T>
struct FlagType;

template <>
struct FlagType<bool> {
  static constexpr std::string_view kName = "";
  static Status set(bool& out, std::string_view text) { return set_bool(out, text); }
};
template <>
struct FlagType<std::string> {
  static constexpr std::string_view kName = "string";
  static Status set(std::string& out, std::string_view text) {
    out = text;
    return {};
  }
};
template <>
struct FlagType<std::vector<std::string>> {
  static constexpr std::string_view kName = "list";
  static Status set(std::vector<std::string>& out, std::string_view text) {
    out.emplace_back(text);
    return {};
  }
};
template <typename T>
  requires(std::is_integral_v<T> && !std::is_same_v<T, bool>)
struct FlagType<T> {
  static constexpr std::string_view kName = std::is_signed_v<T> ? "int" : "uint";
  static Status set(T& out, std::string_view text) {
    if constexpr (std::is_signed_v<T>) {
      int64_t wide = 0;
      TRY(set_signed(wide, text, sizeof(T) * 8));
      out = static_cast<T>(wide);
    } else {
      uint64_t wide = 0;
      TRY(set_unsigned(wide, text, sizeof(T) * 8));
      out = static_cast<T>(wide);
    }
    return {};
  }
};
template <typename T>
struct FlagType<std::optional<T>> {
  static constexpr std::string_view kName = FlagType<T>::kName;
  static Status set(std::optional<T>& out, std::string_view text) {
    T value{};
    TRY(FlagType<T>::set(value, text));
    out = std::move(value);
    return {};
  }
};

template <typename T>
struct FlagMember;
template <typename C, typename M>
struct FlagMember<M C::*> {
  using Class = C;
  using Type = M;
};

template <typename T>
inline constexpr bool kIsBooleanFlag =
    std::is_same_v<T, bool> || std::is_same_v<T, std::optional<bool>>;

// Binds a flag to the member `Member` of the options. A member whose type has no FlagType needs
// `extra.set`, which gets a pointer to the member.
template <auto Member>
constexpr Flag flag(std::string_view name, char shorthand, std::string_view usage,
                    FlagExtra extra = {}) {
  using Class = typename FlagMember<decltype(Member)>::Class;
  using Type = typename FlagMember<decltype(Member)>::Type;
  FlagCodec codec{extra.set.value_or(nullptr), extra.type};
  if constexpr (requires { FlagType<Type>::kName; }) {
    if (!extra.set)
      codec.set = [](void* member, std::string_view text) {
        return FlagType<Type>::set(*static_cast<Type*>(member), text);
      };
    if (extra.type.empty()) codec.type = FlagType<Type>::kName;
  }
  auto member = [](void* options) -> void* { return &(static_cast<Class*>(options)->*Member); };
  return {name,   shorthand,          usage,        codec,
          member, extra.default_text, extra.hidden, kIsBooleanFlag<Type> && !extra.set};
}

// A table of flags and where, in the options of a command, the struct is that it is bound to.
struct FlagGroup {
  std::span<const Flag> flags;
  void* (*base)(void* options);
};
// The table is bound to the options themselves.
constexpr FlagGroup own_flags(std::span<const Flag> flags) {
  return {flags, [](void* options) { return options; }};
}
// The table is bound to a member of the options: shared by several commands.
template <auto Member>
constexpr FlagGroup shared_flags(std::span<const Flag> flags) {
  using Class = typename FlagMember<decltype(Member)>::Class;
  return {flags, [](void* options) -> void* { return &(static_cast<Class*>(options)->*Member); }};
}

enum class Interspersed { yes, no };

struct ParsedArguments {
  std::vector<std::string> arguments;  // what is no flag, without the "--"
  bool help = false;                   // --help, or -h where the command has no -h of its own
};

// Sets the members of `options`. Errors have pflag's wording ("unknown flag: --foo", "unknown
// shorthand flag: 'z' in -z", "flag needs an argument: --name", `invalid argument "x" for "-m,
// --memory" flag: …`).
Result<ParsedArguments> parse_flags(std::span<const FlagGroup> groups, void* options,
                                    Interspersed interspersed, std::span<const std::string> words);

// The indented lines of the help, sorted by name and folded at `width` columns.
std::string describe_flags(std::span<const FlagGroup> groups, int width);

}  // namespace gantry::client
