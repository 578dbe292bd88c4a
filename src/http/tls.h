// TLS 1.2 and 1.3 over a connected socket, for the server and the client. OpenSSL stays in tls.cc.
#pragma once

#include <sys/types.h>

#include <memory>
#include <string>
#include <vector>

#include "base/result.h"

namespace gantry::http {

// Files in PEM form. `certificate` may hold a chain, the server's own first.
struct TlsServerOptions {
  std::string certificate;
  std::string key;
  std::string client_ca;         // when set, clients must show a certificate that it signed
  bool client_optional = false;  // or none at all
};

struct TlsClientOptions {
  bool verify = true;        // the server's certificate and its name
  bool system_roots = true;  // trust what the machine trusts
  std::vector<std::string> ca_files;
  // Certificate and key files; the first that the server accepts is shown.
  std::vector<std::pair<std::string, std::string>> identities;
};

// What many connections share. Immutable and thread-safe.
class TlsContext {
 public:
  // Errors: invalid, naming the file that cannot be used and why.
  static Result<std::shared_ptr<const TlsContext>> server(const TlsServerOptions& options);
  static Result<std::shared_ptr<const TlsContext>> client(const TlsClientOptions& options);
  ~TlsContext();
  TlsContext(const TlsContext&) = delete;
  TlsContext& operator=(const TlsContext&) = delete;

 private:
  friend class TlsStream;
  struct Impl;
  explicit TlsContext(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

// One connection's TLS. Borrows the descriptor, which should be non-blocking: read and write then
// behave as recv(2) and send(2) do, and needs_write() tells which way to wait after EAGAIN. The
// handshake is part of the first call. Never raises SIGPIPE. Not thread-safe.
class TlsStream {
 public:
  static Result<std::unique_ptr<TlsStream>> accept(const TlsContext& context, int fd);
  // `name` is the host's name or address: asked for (SNI) and, when the context verifies, compared
  // with the certificate.
  static Result<std::unique_ptr<TlsStream>> connect(const TlsContext& context, int fd,
                                                    const std::string& name);
  ~TlsStream();
  TlsStream(const TlsStream&) = delete;
  TlsStream& operator=(const TlsStream&) = delete;

  // Bytes, 0 at the peer's end, or -1 with errno: EAGAIN, a socket's error, or EPROTO (see
  // failure()).
  ssize_t read(void* buffer, size_t size);
  ssize_t write(const void* buffer, size_t size);
  // Goes on with the handshake: 1 done, -1 as above.
  int handshake();
  bool needs_write() const;  // what the last EAGAIN waits for: room to write, or input
  bool established() const;
  bool truncated() const;  // the end came without the peer's saying so
  bool pending() const;    // decrypted bytes are there without reading the socket
  void close_notify();     // says that no more comes; best effort
  // Why EPROTO: "x509: certificate signed by unknown authority", …
  const std::string& failure() const;
  std::string peer_common_name() const;  // of a verified certificate; "" without one

  struct Impl;

 private:
  explicit TlsStream(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace gantry::http
