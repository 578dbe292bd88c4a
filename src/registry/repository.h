// One repository of a registry, for one job (OCI distribution-spec 1.1; Docker Registry HTTP API
// V2). See image/remote.h for what the calls promise.
#pragma once

#include <atomic>
#include <memory>
#include <string>

#include "image/reference.h"
#include "image/remote.h"
#include "registry/auth.h"
#include "registry/hosts.h"

namespace gantry::registry {

struct RepositoryOptions {
  Hosts::Use use = Hosts::Use::pull;
  AuthConfig credentials;  // for the registry itself, never for a mirror
  int cancel_fd = -1;
};

class Repository final : public image::RemoteRepository {
 public:
  // Does not connect. `hosts` is borrowed. The reference's tag and digest are not looked at.
  static Result<std::unique_ptr<Repository>> open(Hosts& hosts, const image::Reference& name,
                                                  RepositoryOptions options);

  const std::string& name() const override { return name_; }
  Result<image::RemoteManifest> manifest(const std::string& tag_or_digest) override;
  Result<std::unique_ptr<ByteSource>> blob(const image::Descriptor& descriptor,
                                           uint64_t offset) override;
  Result<std::vector<std::string>> tags() override;
  Result<bool> has_blob(const Digest& digest) override;
  Result<bool> mount(const Digest& digest, const std::string& from_path) override;
  Result<image::UploadedBlob> upload(const Digest& expected, int64_t size,
                                     const image::BlobOpener& open,
                                     const std::function<void(int64_t)>& sent) override;
  Status put_manifest(const std::string& tag_or_digest,
                      const image::RemoteManifest& manifest) override;
  Result<image::Referrers> referrers(const Digest& subject) override;
  Result<std::vector<std::string>> kept_signatures(const Digest& manifest) override;

 private:
  friend class BlobStream;
  friend class Uploader;
  struct Place {
    Endpoint endpoint;
    std::unique_ptr<Authenticator> auth;
    std::mutex mutex;
    std::atomic<bool> contacted{false};
    std::atomic<bool> keeps_signatures{false};
    std::optional<http::Headers> challenge;  // the registry wants authorization
  };
  // What is asked of "/v2/NAME/…", with authorization, attempts again, and every place in turn.
  struct Ask {
    std::string method = "GET";
    std::string path;  // below "/v2/", or a whole URL that the registry gave
    http::Headers headers;
    std::string body;
    std::function<Result<size_t>(std::span<char>)> body_stream;
    std::optional<uint64_t> body_size;
    std::vector<std::string> extra_scopes;
  };
  enum class Fall { through, never };  // whether another place may be asked after this one's answer

  Repository(Hosts& hosts, image::Reference name, RepositoryOptions options)
      : hosts_(hosts),
        reference_(std::move(name)),
        name_(reference_.name()),
        options_(std::move(options)) {}

  Result<http::Agent::Response> ask(const Ask& ask, Fall fall = Fall::through);
  // Asks for "/v2/" once, as Docker does: what stands in the way is told of it, and a challenge
  // is answered before anything else is asked.
  Status contact(Place& place);
  Result<http::Agent::Response> ask_at(Place& place, const Ask& ask);
  Result<http::Agent::Response> ask_once(Place& place, const Ask& ask, const http::Url& url);
  // Waits before another attempt; false when there is to be none.
  Result<bool> back_off(const Error& error, int attempt, int retry_after_seconds);
  std::string below(const std::string& rest) const { return reference_.path() + "/" + rest; }
  std::string accept() const;

  Hosts& hosts_;
  const image::Reference reference_;
  const std::string name_;
  const RepositoryOptions options_;
  std::mutex mutex_;
  std::vector<std::shared_ptr<Place>> places_;
  size_t preferred_ = 0;  // the place that answered last
};

// The target of `Link: </v2/…>; rel="next"`; "" when there is none.
std::string next_page(const http::Headers& headers);

// The error of a pull or push of `reference` in the daemon's words.
Error explain_pull(Error error, const image::Reference& reference);

// What POST /auth does: whether the registry takes these credentials. Gives an identity token, or
// "". Errors: permission.
Result<std::string> check_login(Hosts& hosts, const AuthConfig& credentials, int cancel_fd);

}  // namespace gantry::registry
