// The signatures of an image in a registry: cosign's beside it, GPG's in its lookaside store and
// those that the registry keeps. Fetched when asked for, once. Not thread-safe.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "base/digest.h"
#include "http/agent.h"
#include "image/remote.h"
#include "trust/signature.h"

namespace gantry::trust {

class RemoteSignatures final : public SignatureSource {
 public:
  struct Options {
    std::vector<std::string> registries_dirs;  // see trust/lookaside.h
    int cancel_fd = -1;
  };
  // All is borrowed. `digests`: of the manifests that a signature may be for.
  RemoteSignatures(image::RemoteRepository& remote, const image::Reference& name,
                   std::vector<Digest> digests, http::Agent& agent, Options options)
      : remote_(remote),
        name_(name),
        digests_(std::move(digests)),
        agent_(agent),
        options_(std::move(options)) {}

  Result<std::vector<Signature>> find(SignatureKind kind) override;

 private:
  Result<std::vector<Signature>> find_gpg();

  image::RemoteRepository& remote_;
  const image::Reference& name_;
  const std::vector<Digest> digests_;
  http::Agent& agent_;
  const Options options_;
  std::map<SignatureKind, std::vector<Signature>> found_;
};

}  // namespace gantry::trust
