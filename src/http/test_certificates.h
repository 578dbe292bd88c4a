// For unit tests: an authority, a server's certificate (localhost, 127.0.0.1) and a client's
// ("alice"), made anew in a directory that goes with the object.
#pragma once

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdlib.h>

#include <filesystem>
#include <memory>
#include <string>

namespace gantry::http {

class TestCertificates {
 public:
  TestCertificates() {
    char name[] = "/tmp/gantry-certificates-XXXXXX";
    directory = ::mkdtemp(name);
    ca = directory + "/ca.pem";
    server_certificate = directory + "/server.pem";
    server_key = directory + "/server-key.pem";
    client_certificate = directory + "/client.pem";
    client_key = directory + "/client-key.pem";
    Pair authority = make("gantry test authority", nullptr, "");
    write(ca, authority.certificate.get());
    Pair server = make("server", &authority, "DNS:localhost,IP:127.0.0.1");
    write(server_certificate, server.certificate.get());
    write_key(server_key, server.key.get());
    Pair client = make("alice", &authority, "DNS:alice");
    write(client_certificate, client.certificate.get());
    write_key(client_key, client.key.get());
  }
  ~TestCertificates() {
    std::error_code ignored;
    std::filesystem::remove_all(directory, ignored);
  }
  TestCertificates(const TestCertificates&) = delete;
  TestCertificates& operator=(const TestCertificates&) = delete;

  std::string directory, ca, server_certificate, server_key, client_certificate, client_key;

 private:
  struct Free {
    void operator()(X509* p) const { X509_free(p); }
    void operator()(EVP_PKEY* p) const { EVP_PKEY_free(p); }
  };
  struct Pair {
    std::unique_ptr<X509, Free> certificate;
    std::unique_ptr<EVP_PKEY, Free> key;
  };

  static void extend(X509* certificate, X509* issuer, int id, const char* value) {
    X509V3_CTX context;
    X509V3_set_ctx(&context, issuer, certificate, nullptr, nullptr, 0);
    X509_EXTENSION* extension = X509V3_EXT_conf_nid(nullptr, &context, id, value);
    X509_add_ext(certificate, extension, -1);
    X509_EXTENSION_free(extension);
  }

  static Pair make(const char* name, const Pair* authority, const char* names) {
    static long serial = 1;
    Pair out;
    out.key.reset(EVP_EC_gen("P-256"));
    out.certificate.reset(X509_new());
    X509* certificate = out.certificate.get();
    X509_set_version(certificate, X509_VERSION_3);
    ASN1_INTEGER_set(X509_get_serialNumber(certificate), serial++);
    X509_gmtime_adj(X509_getm_notBefore(certificate), -3600);
    X509_gmtime_adj(X509_getm_notAfter(certificate), 24 * 3600);
    X509_set_pubkey(certificate, out.key.get());
    X509_NAME_add_entry_by_txt(X509_get_subject_name(certificate), "CN", MBSTRING_ASC,
                               reinterpret_cast<const unsigned char*>(name), -1, -1, 0);
    X509* issuer = authority == nullptr ? certificate : authority->certificate.get();
    X509_set_issuer_name(certificate, X509_get_subject_name(issuer));
    if (authority == nullptr) {
      extend(certificate, issuer, NID_basic_constraints, "critical,CA:TRUE");
    } else {
      extend(certificate, issuer, NID_subject_alt_name, names);
    }
    X509_sign(certificate, authority == nullptr ? out.key.get() : authority->key.get(),
              EVP_sha256());
    return out;
  }
  static void write(const std::string& path, X509* certificate) {
    FILE* file = ::fopen(path.c_str(), "we");
    PEM_write_X509(file, certificate);
    ::fclose(file);
  }
  static void write_key(const std::string& path, EVP_PKEY* key) {
    FILE* file = ::fopen(path.c_str(), "we");
    PEM_write_PrivateKey(file, key, nullptr, nullptr, 0, nullptr, nullptr);
    ::fclose(file);
  }
};

}  // namespace gantry::http
