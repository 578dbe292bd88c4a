// Where GPG signatures of images are kept beside registries, as containers-registries.d(5) says:
//
//   default-docker:
//     lookaside: file:///var/lib/containers/sigstore
//   docker:
//     reg.example/app:
//       lookaside: https://signatures.example
//
// and the signatures there: STORE/PATH@sha256=HEX/signature-1, -2 and so on. Blocking; thread-safe.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "base/digest.h"
#include "http/agent.h"
#include "image/reference.h"

namespace gantry::trust {

class Lookaside {
 public:
  // Reads the *.yaml files of the directories; one that is not there is passed over. Errors:
  // invalid, "FILE: line 3: …".
  static Result<Lookaside> read(const std::vector<std::string>& directories);
  // One file's text, for tests and for read().
  Status add(std::string_view text);

  // The URL of the store of a name; containers' own place when nothing else is said.
  std::string store_of(const image::Reference& name) const;

 private:
  std::string default_;
  bool has_default_ = false;
  std::map<std::string, std::string> scopes_;  // the URL; "" when the scope says nothing of it
};

// The signatures in a store ("file:///…", "http(s)://…"), in order; none when there is nothing.
Result<std::vector<std::string>> read_lookaside(const std::string& store,
                                                const image::Reference& name,
                                                const Digest& manifest, http::Agent& agent,
                                                int cancel_fd);

}  // namespace gantry::trust
