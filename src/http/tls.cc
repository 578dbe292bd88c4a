#include "http/tls.h"

#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <sys/socket.h>

#include "base/sys.h"

namespace gantry::http {
namespace {

struct Free {
  void operator()(SSL_CTX* p) const { SSL_CTX_free(p); }
  void operator()(SSL* p) const { SSL_free(p); }
  void operator()(X509* p) const { X509_free(p); }
  void operator()(GENERAL_NAMES* p) const { GENERAL_NAMES_free(p); }
};
template <typename T>
using Owned = std::unique_ptr<T, Free>;

// The reason of the oldest error in OpenSSL's queue, which is emptied.
std::string take_reason() {
  unsigned long code = ERR_get_error();
  ERR_clear_error();
  const char* reason = code == 0 ? nullptr : ERR_reason_error_string(code);
  return reason == nullptr ? "unknown error" : reason;
}

// A BIO over a descriptor as OpenSSL's own, but with MSG_NOSIGNAL: a peer that has gone must not
// kill the program.
int bio_write(BIO* bio, const char* data, int size) {
  int fd = static_cast<int>(reinterpret_cast<intptr_t>(BIO_get_data(bio)));
  BIO_clear_retry_flags(bio);
  ssize_t sent =
      sys::retry([&] { return ::send(fd, data, static_cast<size_t>(size), MSG_NOSIGNAL); });
  if (sent < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) BIO_set_retry_write(bio);
  return static_cast<int>(sent);
}
int bio_read(BIO* bio, char* data, int size) {
  int fd = static_cast<int>(reinterpret_cast<intptr_t>(BIO_get_data(bio)));
  BIO_clear_retry_flags(bio);
  ssize_t got = sys::retry([&] { return ::recv(fd, data, static_cast<size_t>(size), 0); });
  if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) BIO_set_retry_read(bio);
  if (got == 0) BIO_set_flags(bio, BIO_FLAGS_IN_EOF);
  return static_cast<int>(got);
}
long bio_ctrl(BIO* bio, int command, long, void*) {
  if (command == BIO_CTRL_FLUSH) return 1;
  if (command == BIO_CTRL_EOF) return BIO_test_flags(bio, BIO_FLAGS_IN_EOF) != 0;
  return 0;
}

BIO* new_bio(int fd) {
  static BIO_METHOD* method = [] {
    BIO_METHOD* m = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "gantry socket");
    BIO_meth_set_write(m, bio_write);
    BIO_meth_set_read(m, bio_read);
    BIO_meth_set_ctrl(m, bio_ctrl);
    return m;
  }();
  BIO* bio = BIO_new(method);
  if (bio == nullptr) return nullptr;
  BIO_set_data(bio, reinterpret_cast<void*>(static_cast<intptr_t>(fd)));
  BIO_set_init(bio, 1);
  return bio;
}

bool is_address(const std::string& name) {
  unsigned char buffer[sizeof(in6_addr)];
  return ::inet_pton(AF_INET, name.c_str(), buffer) == 1 ||
         ::inet_pton(AF_INET6, name.c_str(), buffer) == 1;
}

// The names a certificate is for, as Go lists them.
std::string names_of(X509* certificate) {
  Owned<GENERAL_NAMES> names(static_cast<GENERAL_NAMES*>(
      X509_get_ext_d2i(certificate, NID_subject_alt_name, nullptr, nullptr)));
  std::string out;
  for (int i = 0; names && i < sk_GENERAL_NAME_num(names.get()); ++i) {
    const GENERAL_NAME* name = sk_GENERAL_NAME_value(names.get(), i);
    std::string text;
    if (name->type == GEN_DNS) {
      text.assign(reinterpret_cast<const char*>(ASN1_STRING_get0_data(name->d.dNSName)),
                  static_cast<size_t>(ASN1_STRING_length(name->d.dNSName)));
    } else if (name->type == GEN_IPADD) {
      int size = ASN1_STRING_length(name->d.iPAddress);
      char buffer[INET6_ADDRSTRLEN] = "";
      ::inet_ntop(size == 4 ? AF_INET : AF_INET6, ASN1_STRING_get0_data(name->d.iPAddress), buffer,
                  sizeof buffer);
      text = buffer;
    }
    if (!text.empty()) out += (out.empty() ? "" : ", ") + text;
  }
  return out;
}

// Go's words, which Docker's users know.
std::string verify_failure(long code, X509* certificate, const std::string& name) {
  switch (code) {
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
      return "x509: certificate signed by unknown authority";
    case X509_V_ERR_CERT_HAS_EXPIRED:
    case X509_V_ERR_CERT_NOT_YET_VALID:
      return "x509: certificate has expired or is not yet valid";
    case X509_V_ERR_HOSTNAME_MISMATCH:
    case X509_V_ERR_IP_ADDRESS_MISMATCH: {
      std::string names = certificate == nullptr ? "" : names_of(certificate);
      if (names.empty())
        return "x509: certificate is not valid for any names, but wanted to match " + name;
      return fmt::format("x509: certificate is valid for {}, not {}", names, name);
    }
    default:
      return fmt::format("x509: {}", X509_verify_cert_error_string(code));
  }
}

Status use_identity(SSL_CTX* context, const std::string& certificate, const std::string& key) {
  if (SSL_CTX_use_certificate_chain_file(context, certificate.c_str()) != 1)
    return invalid("could not load X509 certificate {}: {}", certificate, take_reason());
  if (SSL_CTX_use_PrivateKey_file(context, key.c_str(), SSL_FILETYPE_PEM) != 1)
    return invalid("could not load X509 key {}: {}", key, take_reason());
  if (SSL_CTX_check_private_key(context) != 1)
    return invalid("could not load X509 key pair ({}, {}): {}", certificate, key, take_reason());
  return {};
}

Result<Owned<SSL_CTX>> new_context(const SSL_METHOD* method) {
  ERR_clear_error();
  Owned<SSL_CTX> context(SSL_CTX_new(method));
  if (!context) return internal("TLS: {}", take_reason());
  SSL_CTX_set_min_proto_version(context.get(), TLS1_2_VERSION);
  SSL_CTX_set_options(context.get(), SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
  SSL_CTX_set_mode(context.get(), SSL_MODE_ENABLE_PARTIAL_WRITE |
                                      SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                                      SSL_MODE_RELEASE_BUFFERS);
  // A key that is encrypted is refused; OpenSSL would ask the terminal.
  SSL_CTX_set_default_passwd_cb(context.get(), [](char*, int, int, void*) { return 0; });
  return context;
}

}  // namespace

struct TlsContext::Impl {
  Owned<SSL_CTX> context;
  bool verify = true;
};

TlsContext::TlsContext(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
TlsContext::~TlsContext() = default;

Result<std::shared_ptr<const TlsContext>> TlsContext::server(const TlsServerOptions& options) {
  auto context = TRY(new_context(TLS_server_method()));
  TRY(use_identity(context.get(), options.certificate, options.key));
  if (!options.client_ca.empty()) {
    if (SSL_CTX_load_verify_file(context.get(), options.client_ca.c_str()) != 1)
      return invalid("could not load CA certificate {}: {}", options.client_ca, take_reason());
    SSL_CTX_set_client_CA_list(context.get(), SSL_load_client_CA_file(options.client_ca.c_str()));
    SSL_CTX_set_verify(
        context.get(),
        SSL_VERIFY_PEER | (options.client_optional ? 0 : SSL_VERIFY_FAIL_IF_NO_PEER_CERT), nullptr);
  }
  // Sessions of clients with certificates need a context; HTTP/1.1 is all there is.
  SSL_CTX_set_session_id_context(context.get(), reinterpret_cast<const unsigned char*>("gantry"),
                                 6);
  SSL_CTX_set_alpn_select_cb(
      context.get(),
      [](SSL*, const unsigned char** out, unsigned char* size, const unsigned char* in,
         unsigned in_size, void*) {
        static constexpr unsigned char kHttp[] = "\x08http/1.1";
        unsigned char* chosen = nullptr;
        int picked = SSL_select_next_proto(&chosen, size, kHttp, sizeof kHttp - 1, in, in_size);
        *out = chosen;
        return picked == OPENSSL_NPN_NEGOTIATED ? SSL_TLSEXT_ERR_OK : SSL_TLSEXT_ERR_NOACK;
      },
      nullptr);
  auto impl = std::make_unique<Impl>();
  impl->context = std::move(context);
  return std::shared_ptr<const TlsContext>(new TlsContext(std::move(impl)));
}

Result<std::shared_ptr<const TlsContext>> TlsContext::client(const TlsClientOptions& options) {
  auto context = TRY(new_context(TLS_client_method()));
  if (options.system_roots) SSL_CTX_set_default_verify_paths(context.get());
  for (const std::string& file : options.ca_files)
    if (SSL_CTX_load_verify_file(context.get(), file.c_str()) != 1)
      return invalid("could not load CA certificate {}: {}", file, take_reason());
  for (const auto& [certificate, key] : options.identities)
    TRY(use_identity(context.get(), certificate, key));
  ERR_clear_error();
  SSL_CTX_set_verify(context.get(), options.verify ? SSL_VERIFY_PEER : SSL_VERIFY_NONE, nullptr);
  auto impl = std::make_unique<Impl>();
  impl->context = std::move(context);
  impl->verify = options.verify;
  return std::shared_ptr<const TlsContext>(new TlsContext(std::move(impl)));
}

struct TlsStream::Impl {
  Owned<SSL> ssl;
  std::string name;
  std::string failure;
  bool needs_write = false;
  bool truncated = false;
  bool broken = false;

  // What a call of OpenSSL that gave `result` means, in the terms of recv(2).
  ssize_t outcome(int result, int saved_errno) {
    if (result > 0) return result;
    needs_write = false;
    switch (SSL_get_error(ssl.get(), result)) {
      case SSL_ERROR_WANT_WRITE:
        needs_write = true;
        errno = EAGAIN;
        return -1;
      case SSL_ERROR_WANT_READ:
        errno = EAGAIN;
        return -1;
      case SSL_ERROR_ZERO_RETURN:
        return 0;
      case SSL_ERROR_SYSCALL:
        broken = true;
        errno = saved_errno != 0 ? saved_errno : ECONNRESET;
        return -1;
      default:
        return failed();
    }
  }
  ssize_t failed() {
    broken = true;
    bool connected = SSL_is_init_finished(ssl.get()) != 0;
    if (ERR_GET_REASON(ERR_peek_error()) == SSL_R_UNEXPECTED_EOF_WHILE_READING) {
      ERR_clear_error();
      truncated = true;
      if (connected) return 0;
      errno = ECONNRESET;
      return -1;
    }
    unsigned long reason = ERR_peek_error();
    if (!connected && !failure.empty()) {  // on_verify() knows better
      ERR_clear_error();
    } else if (!connected && (ERR_GET_REASON(reason) == SSL_R_WRONG_VERSION_NUMBER ||
                              ERR_GET_REASON(reason) == SSL_R_HTTP_REQUEST)) {
      failure = "http: server gave HTTP response to HTTPS client";
      ERR_clear_error();
    } else {
      failure = "tls: " + take_reason();
    }
    errno = EPROTO;
    return -1;
  }
};

namespace {

// Only here the certificate of a handshake that fails can be seen.
int on_verify(int good, X509_STORE_CTX* store) {
  if (good != 0) return good;
  auto* ssl =
      static_cast<SSL*>(X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx()));
  auto* impl = static_cast<TlsStream::Impl*>(SSL_get_app_data(ssl));
  impl->failure =
      verify_failure(X509_STORE_CTX_get_error(store), X509_STORE_CTX_get0_cert(store), impl->name);
  return 0;
}

}  // namespace

TlsStream::TlsStream(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
TlsStream::~TlsStream() = default;

Result<std::unique_ptr<TlsStream>> TlsStream::accept(const TlsContext& context, int fd) {
  auto impl = std::make_unique<Impl>();
  ERR_clear_error();
  impl->ssl.reset(SSL_new(context.impl_->context.get()));
  BIO* bio = impl->ssl ? new_bio(fd) : nullptr;
  if (bio == nullptr) return internal("TLS: {}", take_reason());
  SSL_set_bio(impl->ssl.get(), bio, bio);
  SSL_set_accept_state(impl->ssl.get());
  return std::unique_ptr<TlsStream>(new TlsStream(std::move(impl)));
}

Result<std::unique_ptr<TlsStream>> TlsStream::connect(const TlsContext& context, int fd,
                                                      const std::string& name) {
  auto impl = std::make_unique<Impl>();
  ERR_clear_error();
  impl->name = name;
  impl->ssl.reset(SSL_new(context.impl_->context.get()));
  BIO* bio = impl->ssl ? new_bio(fd) : nullptr;
  if (bio == nullptr) return internal("TLS: {}", take_reason());
  SSL* ssl = impl->ssl.get();
  SSL_set_bio(ssl, bio, bio);
  SSL_set_connect_state(ssl);
  bool address = is_address(name);
  if (!address && SSL_set_tlsext_host_name(ssl, name.c_str()) != 1)
    return invalid("invalid host name {:?}", name);
  if (context.impl_->verify) {
    SSL_set_app_data(ssl, impl.get());
    SSL_set_verify(ssl, SSL_VERIFY_PEER, on_verify);
    SSL_set_hostflags(ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    int set = address ? X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), name.c_str())
                      : SSL_set1_host(ssl, name.c_str());
    if (set != 1) return invalid("invalid host name {:?}", name);
  }
  return std::unique_ptr<TlsStream>(new TlsStream(std::move(impl)));
}

ssize_t TlsStream::read(void* buffer, size_t size) {
  ERR_clear_error();
  errno = 0;
  int got = SSL_read(impl_->ssl.get(), buffer, static_cast<int>(std::min<size_t>(size, INT32_MAX)));
  return impl_->outcome(got, errno);
}

ssize_t TlsStream::write(const void* buffer, size_t size) {
  if (size == 0) return 0;
  ERR_clear_error();
  errno = 0;
  int sent =
      SSL_write(impl_->ssl.get(), buffer, static_cast<int>(std::min<size_t>(size, INT32_MAX)));
  ssize_t result = impl_->outcome(sent, errno);
  if (result != 0) return result;
  errno = EPIPE;
  return -1;
}

int TlsStream::handshake() {
  ERR_clear_error();
  errno = 0;
  ssize_t result = impl_->outcome(SSL_do_handshake(impl_->ssl.get()), errno);
  if (result != 0) return static_cast<int>(result);
  errno = ECONNRESET;
  return -1;
}

bool TlsStream::needs_write() const { return impl_->needs_write; }
bool TlsStream::established() const { return SSL_is_init_finished(impl_->ssl.get()) != 0; }
bool TlsStream::truncated() const { return impl_->truncated; }
bool TlsStream::pending() const { return SSL_pending(impl_->ssl.get()) > 0; }
const std::string& TlsStream::failure() const { return impl_->failure; }

void TlsStream::close_notify() {
  if (!established() || impl_->broken) return;
  ERR_clear_error();
  (void)SSL_shutdown(impl_->ssl.get());
  ERR_clear_error();
}

std::string TlsStream::peer_common_name() const {
  Owned<X509> certificate(SSL_get1_peer_certificate(impl_->ssl.get()));
  if (!certificate || SSL_get_verify_result(impl_->ssl.get()) != X509_V_OK) return {};
  const X509_NAME* subject = X509_get_subject_name(certificate.get());
  int at = X509_NAME_get_index_by_NID(subject, NID_commonName, -1);
  if (at < 0) return {};
  unsigned char* text = nullptr;
  int size = ASN1_STRING_to_UTF8(&text, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at)));
  if (size < 0) return {};
  std::string out(reinterpret_cast<char*>(text), static_cast<size_t>(size));
  OPENSSL_free(text);
  return out;
}

}  // namespace gantry::http
