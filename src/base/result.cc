#include "base/result.h"

#include <array>
#include <cctype>
#include <cerrno>

namespace gantry {
namespace {

constexpr std::array<std::string_view, 8> kKindNames = {"invalid",    "not_found",   "conflict",
                                                        "permission", "unavailable", "unsupported",
                                                        "internal",   "cancelled"};

ErrorKind kind_of_errno(int code) {
  switch (code) {
    case ENOENT:
    case ESRCH:
    case ENODEV:
    case ENXIO:
      return ErrorKind::not_found;
    case EACCES:
    case EPERM:
    case EROFS:
      return ErrorKind::permission;
    case EEXIST:
    case EBUSY:
    case ENOTEMPTY:
    case EADDRINUSE:
      return ErrorKind::conflict;
    case ENOSPC:
    case EDQUOT:
    case EMFILE:
    case ENFILE:
    case ENOMEM:
    case EAGAIN:
    case ECONNREFUSED:
    case ETIMEDOUT:
      return ErrorKind::unavailable;
    case ENOSYS:
    case EOPNOTSUPP:
      return ErrorKind::unsupported;
    case EINVAL:
    case ENAMETOOLONG:
    case ELOOP:
    case ENOTDIR:
    case EISDIR:
      return ErrorKind::invalid;
    case ECANCELED:
      return ErrorKind::cancelled;
    default:
      return ErrorKind::internal;
  }
}

}  // namespace

std::string_view to_string(ErrorKind kind) { return kKindNames[static_cast<size_t>(kind)]; }

ErrorKind error_kind_from(std::string_view word) {
  for (size_t i = 0; i < kKindNames.size(); ++i)
    if (kKindNames[i] == word) return static_cast<ErrorKind>(i);
  return ErrorKind::internal;
}

Error error_from_errno(int code, std::string_view context) {
  std::string message(context);
  message += ": ";
  // In lower case, as Go's programs print it and scripts look for it: "no such file or directory".
  std::string_view text = strerrordesc_np(code) ? strerrordesc_np(code) : "unknown error";
  bool acronym = text.size() > 1 && std::isupper(static_cast<unsigned char>(text[1]));
  message +=
      acronym ? text[0] : static_cast<char>(std::tolower(static_cast<unsigned char>(text[0])));
  message += text.substr(1);
  return Error(kind_of_errno(code), std::move(message), code);
}

}  // namespace gantry
