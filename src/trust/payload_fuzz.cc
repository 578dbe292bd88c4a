// Any bytes as a payload, as gpgv's status, as armour and as a file of registries.d: no crash, and
// a payload that is taken is JSON to everyone else too.
#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "base/json.h"
#include "trust/gpg.h"
#include "trust/lookaside.h"
#include "trust/payload.h"

using namespace gantry;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string_view text(reinterpret_cast<const char*>(data), size);
  auto payload = trust::parse_payload(text, trust::SignatureKind::sigstore);
  if (payload && (payload->digest.empty() || !json::parse(text))) std::abort();
  (void)trust::parse_payload(text, trust::SignatureKind::gpg).has_value();
  auto status = trust::read_gpgv_status(text, "");
  if (status && status->fingerprint.size() != 40) std::abort();
  (void)trust::dearmor(text).has_value();
  trust::Lookaside lookaside;
  (void)lookaside.add(text).has_value();
  return 0;
}
