#include "http/tls.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>

#include <thread>

#include "base/fs.h"
#include "base/id.h"
#include "base/sys.h"
#include "http/server.h"
#include "http/test_certificates.h"

namespace gantry::http {
namespace {

// A server over TLS on a port of loopback.
class TlsTest : public testing::Test {
 protected:
  void SetUp() override { certificates_ = std::make_unique<TestCertificates>(); }
  void TearDown() override {
    if (!server_) return;
    server_->stop();
    thread_.join();
  }

  void serve(Handler handler, TlsServerOptions options) {
    auto context = TlsContext::server(options);
    ASSERT_TRUE(context) << context.error().message();
    UniqueFd socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    ASSERT_EQ(::bind(socket.get(), reinterpret_cast<sockaddr*>(&address), size), 0);
    ASSERT_EQ(::listen(socket.get(), 16), 0);
    ASSERT_EQ(::getsockname(socket.get(), reinterpret_cast<sockaddr*>(&address), &size), 0);
    address_ = address;
    server_ = std::make_unique<Server>(ServerOptions{}, std::move(handler));
    ASSERT_TRUE(server_->listen(std::move(socket), *context));
    thread_ = std::thread([this] { server_->run(); });
  }

  UniqueFd connect() const {
    UniqueFd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    EXPECT_EQ(::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address_), sizeof address_),
              0);
    return fd;
  }

  // Sends one request over a blocking socket and reads to the end; or the failure's words.
  std::string talk(const TlsClientOptions& options, const std::string& name,
                   std::string_view request) {
    auto context = TlsContext::client(options);
    if (!context) return context.error().message();
    UniqueFd fd = connect();
    auto stream = TlsStream::connect(**context, fd.get(), name);
    if (!stream) return stream.error().message();
    while (!request.empty()) {
      ssize_t sent = (*stream)->write(request.data(), request.size());
      if (sent < 0) return "write: " + (*stream)->failure() + strerror(errno);
      request.remove_prefix(static_cast<size_t>(sent));
    }
    std::string out;
    char buffer[8192];
    while (true) {
      ssize_t got = (*stream)->read(buffer, sizeof buffer);
      if (got < 0) return "read: " + (*stream)->failure() + strerror(errno);
      if (got == 0) return (*stream)->truncated() ? out + "[truncated]" : out;
      out.append(buffer, static_cast<size_t>(got));
    }
  }

  TlsServerOptions server_options() const {
    return {.certificate = certificates_->server_certificate, .key = certificates_->server_key};
  }
  TlsClientOptions trusting() const {
    return {.system_roots = false, .ca_files = {certificates_->ca}};
  }

  std::unique_ptr<TestCertificates> certificates_;
  std::unique_ptr<Server> server_;
  std::thread thread_;
  sockaddr_in address_{};
};

constexpr std::string_view kRequest =
    "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";

void answer_subject(Exchange& x) {
  (void)x.respond(200, {}, (x.peer().tls ? "tls:" : "plain:") + x.peer().tls_subject);
}

TEST_F(TlsTest, a_request_is_answered_and_the_end_is_said) {
  serve(answer_subject, server_options());
  std::string out = talk(trusting(), "localhost", kRequest);
  EXPECT_TRUE(out.ends_with("tls:")) << out;
  EXPECT_TRUE(talk(trusting(), "127.0.0.1", kRequest).ends_with("tls:"));
}

TEST_F(TlsTest, a_large_body_passes_both_ways) {
  serve(
      [](Exchange& x) {
        auto body = x.read_body(64u << 20);
        ASSERT_TRUE(body) << body.error().message();
        (void)x.start_stream(200, {});
        for (size_t at = 0; at < body->size(); at += 100000)
          (void)x.write(std::string_view(*body).substr(at, 100000));
        (void)x.finish();
      },
      server_options());
  std::string body(20u << 20, 'x');
  std::string out = talk(
      trusting(), "localhost",
      fmt::format("POST / HTTP/1.1\r\nHost: l\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
                  body.size()) +
          body);
  EXPECT_GT(out.size(), body.size());
  EXPECT_TRUE(out.ends_with("0\r\n\r\n"));
}

TEST_F(TlsTest, what_the_client_does_not_trust_is_refused_in_gos_words) {
  serve(answer_subject, server_options());
  EXPECT_NE(talk({.system_roots = true}, "localhost", kRequest)
                .find("x509: certificate signed by unknown authority"),
            std::string::npos);
  std::string wrong = talk(trusting(), "example.com", kRequest);
  EXPECT_NE(wrong.find("x509: certificate is valid for localhost, 127.0.0.1, not example.com"),
            std::string::npos);
  EXPECT_TRUE(talk({.verify = false}, "example.com", kRequest).ends_with("tls:"));
}

TEST_F(TlsTest, a_client_certificate_is_demanded_and_its_name_known) {
  TlsServerOptions options = server_options();
  options.client_ca = certificates_->ca;
  serve(answer_subject, options);
  std::string refused = talk(trusting(), "localhost", kRequest);
  EXPECT_EQ(refused.find("200 OK"), std::string::npos) << refused;
  TlsClientOptions client = trusting();
  client.identities = {{certificates_->client_certificate, certificates_->client_key}};
  std::string out = talk(client, "localhost", kRequest);
  EXPECT_TRUE(out.ends_with("tls:alice")) << out;
}

TEST_F(TlsTest, a_plain_request_to_a_tls_port_ends_and_the_server_lives) {
  serve(answer_subject, server_options());
  UniqueFd fd = connect();
  ASSERT_TRUE(sys::write_all(fd.get(), kRequest));
  auto answer = sys::read_all(fd.get());
  EXPECT_TRUE(!answer || answer->find("200") == std::string::npos);
  EXPECT_TRUE(talk(trusting(), "localhost", kRequest).ends_with("tls:"));
}

TEST_F(TlsTest, files_that_cannot_be_used_are_named) {
  TlsServerOptions options = server_options();
  options.key = certificates_->client_key;
  auto context = TlsContext::server(options);
  ASSERT_FALSE(context);
  EXPECT_NE(context.error().message().find(options.key), std::string::npos)
      << context.error().message();
  EXPECT_FALSE(TlsContext::client({.ca_files = {"/nonexistent/ca.crt"}}));
}

TEST_F(TlsTest, a_file_goes_through_tls) {
  std::string text(3'000'000, 'x');
  auto file = sys::memfd_create("test", 0);
  ASSERT_TRUE(file && sys::write_all(file->get(), text));
  serve(
      [&](Exchange& x) {
        ASSERT_TRUE(x.start_stream(200, {}, text.size()));
        EXPECT_TRUE(x.write_file(file->get(), 0, text.size()));
        EXPECT_TRUE(x.finish());
      },
      server_options());
  std::string got =
      talk(trusting(), "localhost", "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
  EXPECT_TRUE(got.ends_with("\r\n\r\n" + text)) << got.substr(0, 300);
}

TEST_F(TlsTest, a_clients_certificate_can_be_optional) {
  TlsServerOptions options = server_options();
  options.client_ca = certificates_->ca;
  options.client_optional = true;
  serve([](Exchange& x) { (void)x.respond(200, {}, "<" + x.peer().tls_subject + ">"); }, options);
  std::string request = "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
  EXPECT_TRUE(talk(trusting(), "localhost", request).ends_with("<>"));
  TlsClientOptions alice = trusting();
  alice.identities = {{certificates_->client_certificate, certificates_->client_key}};
  EXPECT_TRUE(talk(alice, "localhost", request).ends_with("<alice>"));
}

TEST_F(TlsTest, a_renewed_certificate_is_used_for_later_connections) {
  serve([](Exchange& x) { (void)x.respond(200, {}, "good"); }, server_options());
  std::string request = "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
  EXPECT_TRUE(talk(trusting(), "localhost", request).ends_with("good"));
  TestCertificates others;
  auto renewed =
      TlsContext::server({.certificate = others.server_certificate, .key = others.server_key});
  ASSERT_TRUE(renewed);
  server_->post([&] { server_->replace_tls(*renewed); });
  TlsClientOptions trusting_others{.system_roots = false, .ca_files = {others.ca}};
  EXPECT_TRUE(talk(trusting_others, "localhost", request).ends_with("good"));
}

}  // namespace
}  // namespace gantry::http
