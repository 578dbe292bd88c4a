#include "server/status.h"

#include <cerrno>

namespace gantry::server {

int http_status(const Error& error) {
  switch (error.kind()) {
    case ErrorKind::invalid:
      return 400;
    case ErrorKind::permission:
      return 403;
    case ErrorKind::not_found:
      return 404;
    case ErrorKind::conflict:
      return 409;
    case ErrorKind::unsupported:
      return 501;
    case ErrorKind::unavailable:
      // What the system lacked (space, memory, descriptors) is Docker's 500; a service that is not
      // there 503.
      return error.code() != 0 ? 500 : 503;
    case ErrorKind::internal:
    case ErrorKind::cancelled:  // by somebody else: the one who asked has gone otherwise
      return 500;
  }
  return 500;
}

}  // namespace gantry::server
