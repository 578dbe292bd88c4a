// What a client is told when a request fails: a status and the specification's JSON form,
// {"errors": [{"code", "message", "detail"}]}. A value.
#pragma once

#include <string>
#include <vector>

#include "base/json.h"
#include "base/result.h"

namespace gantry::registry_server {

struct ApiError {
  int status = 500;
  std::string code;  // of the specification: "BLOB_UNKNOWN", …
  std::string message;
  json::value detail;                // null: left out
  std::vector<json::value> details;  // more than one error of the same code

  std::string body() const;
};

// The specification's codes, with the statuses that go with them.
ApiError blob_unknown(std::string_view digest);
ApiError upload_unknown();
ApiError upload_invalid(std::string message);
ApiError digest_invalid(std::string message);
ApiError size_invalid(std::string message);
ApiError manifest_unknown(std::string message);
ApiError manifest_invalid(std::string message);
ApiError name_invalid(std::string message);
ApiError name_unknown(std::string_view repository);
ApiError unsupported_operation(std::string message);  // 405
ApiError denied(std::string message, int status = 403);
ApiError unauthorized(std::string message);
ApiError too_many(std::string message);
// A failure of the store or of an upstream: 507 on a full disk, 503 and 500 for the rest. What the
// client need not know (paths) stays in the log.
ApiError failed(const Error& error);

}  // namespace gantry::registry_server
