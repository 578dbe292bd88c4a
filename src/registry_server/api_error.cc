#include "registry_server/api_error.h"

#include <cerrno>

#include "base/log.h"

namespace gantry::registry_server {
namespace {

ApiError make(int status, std::string code, std::string message, json::value detail = nullptr) {
  return {status, std::move(code), std::move(message), std::move(detail), {}};
}

}  // namespace

std::string ApiError::body() const {
  json::array errors;
  auto add = [&](const json::value& more) {
    json::object error{{"code", code}, {"message", message}};
    if (!more.is_null()) error["detail"] = more;
    errors.push_back(std::move(error));
  };
  for (const json::value& one : details) add(one);
  if (details.empty()) add(detail);
  return json::serialize(json::object{{"errors", std::move(errors)}}) + "\n";
}

ApiError blob_unknown(std::string_view digest) {
  return make(404, "BLOB_UNKNOWN", "blob unknown to registry", json::object{{"digest", digest}});
}
ApiError upload_unknown() {
  return make(404, "BLOB_UPLOAD_UNKNOWN", "blob upload unknown to registry");
}
ApiError upload_invalid(std::string message) {
  return make(400, "BLOB_UPLOAD_INVALID", std::move(message));
}
ApiError digest_invalid(std::string message) {
  return make(400, "DIGEST_INVALID", std::move(message));
}
ApiError size_invalid(std::string message) { return make(400, "SIZE_INVALID", std::move(message)); }
ApiError manifest_unknown(std::string message) {
  return make(404, "MANIFEST_UNKNOWN", std::move(message));
}
ApiError manifest_invalid(std::string message) {
  return make(400, "MANIFEST_INVALID", std::move(message));
}
ApiError name_invalid(std::string message) { return make(400, "NAME_INVALID", std::move(message)); }
ApiError name_unknown(std::string_view repository) {
  return make(404, "NAME_UNKNOWN", "repository name not known to registry",
              json::object{{"name", repository}});
}
ApiError unsupported_operation(std::string message) {
  return make(405, "UNSUPPORTED", std::move(message));
}
ApiError denied(std::string message, int status) {
  return make(status, "DENIED", std::move(message));
}
ApiError unauthorized(std::string message) { return make(401, "UNAUTHORIZED", std::move(message)); }
ApiError too_many(std::string message) { return make(429, "TOOMANYREQUESTS", std::move(message)); }

ApiError failed(const Error& error) {
  log::error("{}", error.message());
  if (error.code() == ENOSPC || error.code() == EDQUOT)
    return make(507, "UNKNOWN", "the registry's disk is full: nothing of this request was kept");
  if (error.kind() == ErrorKind::unavailable || error.code() == EMFILE || error.code() == ENFILE)
    return make(503, "UNKNOWN", "the registry cannot do this now, try again later");
  return make(500, "UNKNOWN", "the registry failed; its log says why");
}

}  // namespace gantry::registry_server
