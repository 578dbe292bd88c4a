#include "trust/remote_signatures.h"

#include "trust/attachments.h"
#include "trust/lookaside.h"

namespace gantry::trust {

Result<std::vector<Signature>> RemoteSignatures::find(SignatureKind kind) {
  auto known = found_.find(kind);
  if (known != found_.end()) return std::vector<Signature>(known->second);
  std::vector<Signature> all;
  if (kind == SignatureKind::gpg) {
    all = TRY(find_gpg());
  } else {
    for (const Digest& digest : digests_) {
      std::vector<Signature> some = TRY(find_attached(remote_, digest));
      for (Signature& one : some) all.push_back(std::move(one));
    }
  }
  if (all.size() > kMaxSignatures) all.resize(kMaxSignatures);
  found_[kind] = all;
  return all;
}

Result<std::vector<Signature>> RemoteSignatures::find_gpg() {
  Lookaside lookaside = TRY(Lookaside::read(options_.registries_dirs));
  const std::string store = lookaside.store_of(name_);
  std::vector<Signature> all;
  for (const Digest& digest : digests_) {
    std::vector<std::string> messages =
        TRY(read_lookaside(store, name_, digest, agent_, options_.cancel_fd));
    std::vector<std::string> kept = TRY(remote_.kept_signatures(digest));
    for (std::string& one : kept)
      if (one.size() <= kSignatureLimit) messages.push_back(std::move(one));
    for (std::string& one : messages) all.push_back({SignatureKind::gpg, "", std::move(one)});
  }
  return all;
}

}  // namespace gantry::trust
