// What a registry says went wrong, in the words Docker's users know.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"
#include "http/agent.h"

namespace gantry::registry {

// One of the "errors" of an answer (distribution-spec, error codes).
struct RegistryError {
  std::string code;  // "MANIFEST_UNKNOWN"
  std::string message;
};

// Reads the body of an answer that is no success: "manifest unknown: …". The kind follows the code,
// else the status; `unavailable` for 5xx and 429, which say in Retry-After when to come again.
Error error_of(http::Agent::Response& response);
// Of a body that was read already.
Error error_from(int status, std::string_view body, const http::Headers& headers);
// Seconds of Retry-After; -1 when it is absent or not understood.
int retry_after(const http::Headers& headers);

// Which of its codes a registry gave for an error, told by the error's own words.
bool is_denied(const Error& error);
// The registry asks for credentials and there are none to send.
bool lacks_credentials(const Error& error);
bool is_manifest_unknown(const Error& error);
bool is_name_unknown(const Error& error);

}  // namespace gantry::registry
