// Inside of KeySet; for jwt.cc and jwt_keys.cc.
#pragma once

#include <openssl/evp.h>
#include <openssl/x509.h>

#include "registry_server/jwt.h"

namespace gantry::registry_server {

struct StoreDeleter {
  void operator()(X509_STORE* store) const { X509_STORE_free(store); }
};
struct CertificateDeleter {
  void operator()(X509* certificate) const { X509_free(certificate); }
};
using Certificate = std::unique_ptr<X509, CertificateDeleter>;

struct KeySet::Impl {
  struct Named {
    Key key;
    std::string id;  // "": unknown
  };
  std::vector<Named> keys;
  std::unique_ptr<X509_STORE, StoreDeleter> roots;
};

// The key of the first certificate of an "x5c" header (base64 of DER), when the roots vouch for it.
Result<Key> key_of_chain(const std::vector<std::string>& chain, X509_STORE* roots);

}  // namespace gantry::registry_server
