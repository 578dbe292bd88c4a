// The one error value of the project and the result type that carries it.
//
// A function that can fail returns Result<T>. Errors are wrapped on the way up as "context: cause"
// and printed once, by the outermost frame (a client, a log line, an HTTP body). Exceptions of
// libraries are caught at the boundary of that library and become an Error.
#pragma once

#include <cstring>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

#include <fmt/core.h>

namespace gantry {

// What an error means to a caller; mapped to HTTP status in exactly one place (server/status).
enum class ErrorKind {
  invalid,      // the input is wrong; the caller must change it                 (400)
  not_found,    // the thing named does not exist                                (404)
  conflict,     // exists already, or is in a state that forbids the request     (409)
  permission,   // not allowed                                                   (403)
  unavailable,  // cannot be done now: full disk, no peer, overload              (503 or 500)
  unsupported,  // this kernel, build or driver cannot do it                     (501)
  internal,     // a defect or an unexpected answer of the system                (500)
  cancelled,    // the caller went away or asked to stop
};

std::string_view to_string(ErrorKind kind);
// The inverse of to_string; `internal` for a word it does not know.
ErrorKind error_kind_from(std::string_view word);

// A value: {kind, errno, message}. `code` is 0 when no system call was at fault.
class [[nodiscard]] Error {
 public:
  Error(ErrorKind kind, std::string message, int code = 0)
      : kind_(kind), code_(code), message_(std::move(message)) {}

  ErrorKind kind() const { return kind_; }
  int code() const { return code_; }
  const std::string& message() const { return message_; }

  // Returns the error with "context: " put before its message. Kind and errno stay.
  Error context(std::string_view context) && {
    message_.insert(0, ": ").insert(0, context);
    return std::move(*this);
  }
  Error with_kind(ErrorKind kind) && {
    kind_ = kind;
    return std::move(*this);
  }

 private:
  ErrorKind kind_;
  int code_;
  std::string message_;
};

// An Error from errno: "call: no such file or directory". The kind follows the number (ENOENT is
// not_found, EACCES and EPERM permission, EEXIST and EBUSY conflict, ENOSPC and EMFILE unavailable,
// ENOSYS and EOPNOTSUPP unsupported, EINVAL invalid, the rest internal).
Error error_from_errno(int code, std::string_view context);

template <typename... Args>
Error errno_error(int code, fmt::format_string<Args...> format, Args&&... args) {
  return error_from_errno(code, fmt::format(format, std::forward<Args>(args)...));
}
template <typename... Args>
Error make_error(ErrorKind kind, fmt::format_string<Args...> format, Args&&... args) {
  return Error(kind, fmt::format(format, std::forward<Args>(args)...));
}
template <typename... Args>
Error invalid(fmt::format_string<Args...> format, Args&&... args) {
  return make_error(ErrorKind::invalid, format, std::forward<Args>(args)...);
}
template <typename... Args>
Error not_found(fmt::format_string<Args...> format, Args&&... args) {
  return make_error(ErrorKind::not_found, format, std::forward<Args>(args)...);
}
template <typename... Args>
Error conflict(fmt::format_string<Args...> format, Args&&... args) {
  return make_error(ErrorKind::conflict, format, std::forward<Args>(args)...);
}
template <typename... Args>
Error unsupported(fmt::format_string<Args...> format, Args&&... args) {
  return make_error(ErrorKind::unsupported, format, std::forward<Args>(args)...);
}
template <typename... Args>
Error internal(fmt::format_string<Args...> format, Args&&... args) {
  return make_error(ErrorKind::internal, format, std::forward<Args>(args)...);
}

// Holds a T or an Error. Move-only so that it cannot be copied and half-checked; named like
// std::expected. value() and error() on the wrong alternative are defects and throw
// std::bad_variant_access.
template <typename T>
class [[nodiscard]] Result {
 public:
  using value_type = T;

  template <typename U = T>
    requires(std::is_constructible_v<T, U &&> && !std::is_same_v<std::remove_cvref_t<U>, Result> &&
             !std::is_same_v<std::remove_cvref_t<U>, Error>)
  Result(U&& value) : state_(std::in_place_index<0>, std::forward<U>(value)) {}  // NOLINT: implicit
  Result(Error error) : state_(std::in_place_index<1>, std::move(error)) {}      // NOLINT: implicit
  Result(Result&&) = default;
  Result& operator=(Result&&) = default;
  Result(const Result&) = delete;
  Result& operator=(const Result&) = delete;

  bool has_value() const { return state_.index() == 0; }
  explicit operator bool() const { return has_value(); }

  T& value() & { return std::get<0>(state_); }
  const T& value() const& { return std::get<0>(state_); }
  T&& value() && { return std::get<0>(std::move(state_)); }
  T& operator*() & { return value(); }
  const T& operator*() const& { return value(); }
  T&& operator*() && { return std::move(*this).value(); }
  T* operator->() { return &value(); }
  const T* operator->() const { return &value(); }

  Error& error() & { return std::get<1>(state_); }
  const Error& error() const& { return std::get<1>(state_); }
  Error&& error() && { return std::get<1>(std::move(state_)); }

  // Moves the value out (what TRY evaluates to).
  T release() { return std::get<0>(std::move(state_)); }

  template <typename U>
  T value_or(U&& fallback) && {
    return has_value() ? release() : T(std::forward<U>(fallback));
  }

  // Wraps the error, if there is one, as "text: cause".
  template <typename... Args>
  Result context(fmt::format_string<Args...> format, Args&&... args) && {
    if (!has_value())
      std::get<1>(state_) =
          std::move(std::get<1>(state_)).context(fmt::format(format, std::forward<Args>(args)...));
    return std::move(*this);
  }

 private:
  std::variant<T, Error> state_;
};

template <>
class [[nodiscard]] Result<void> {
 public:
  using value_type = void;

  Result() = default;
  Result(Error error) : error_(std::move(error)) {}  // NOLINT: implicit
  Result(Result&&) = default;
  Result& operator=(Result&&) = default;
  Result(const Result&) = delete;
  Result& operator=(const Result&) = delete;

  bool has_value() const { return !error_.has_value(); }
  explicit operator bool() const { return has_value(); }
  void value() const {
    if (error_) throw std::bad_variant_access();
  }
  Error& error() & { return error_.value(); }
  const Error& error() const& { return error_.value(); }
  Error&& error() && { return std::move(error_).value(); }
  void release() {}

  template <typename... Args>
  Result context(fmt::format_string<Args...> format, Args&&... args) && {
    if (error_)
      error_ = std::move(*error_).context(fmt::format(format, std::forward<Args>(args)...));
    return std::move(*this);
  }

 private:
  std::optional<Error> error_;
};

using Status = Result<void>;

// Evaluates to the value of a Result, or returns its Error from the enclosing function. Only as a
// whole statement or as the whole right-hand side of one: inside a braced initialiser g++ leaks the
// members that were built before it.
#define TRY(...) GANTRY_TRY_AS(GANTRY_TRY_NAME(gantry_try_result_, __COUNTER__), __VA_ARGS__)
#define GANTRY_TRY_NAME(a, b) GANTRY_TRY_NAME_(a, b)
#define GANTRY_TRY_NAME_(a, b) a##b
// A name of its own for each use, so that one inside another does not shadow it.
#define GANTRY_TRY_AS(result, ...)      \
  ({                                    \
    auto result = (__VA_ARGS__);        \
    if (!result) [[unlikely]]           \
      return std::move(result).error(); \
    result.release();                   \
  })

}  // namespace gantry
