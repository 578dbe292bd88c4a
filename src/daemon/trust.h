// The policy of images in the daemon: asked before an image comes in (pull, load, import) and when
// a container is made of one or started, for whoever asks; and the signatures of images.
//
// A policy judges where an image came from. What was verified is kept with the image by the digests
// of requirement and keys, so that a use costs no look at a registry; when the policy has changed
// since, the signatures that were kept are verified anew, and what they do not prove is refused.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "base/json.h"
#include "base/result.h"
#include "image/image_store.h"
#include "registry/auth.h"
#include "registry/hosts.h"
#include "trust/evaluate.h"
#include "trust/policy_file.h"

namespace gantry::engine {
class Engine;
class JobContext;
}  // namespace gantry::engine

namespace gantry::daemon {

struct Options;

// POST /gantry/images/{name}/signatures: keeps a signature, made by the client, beside the image in
// its registry.
struct ImageSign {
  static constexpr std::string_view kName = "image.sign";
  struct Input {
    std::string image;
    std::string payload;               // base64
    std::string signature;             // base64
    registry::AuthConfig credentials;  // not part of the journal
  };
  struct Output {
    std::string tag;
    std::string manifest;
    std::string referrer;
  };
};

// Thread-safe. Everything given to create() must outlive it.
class Trust {
 public:
  // The policy that the options name; an error when it is wrong. Takes nothing.
  static Result<std::unique_ptr<trust::PolicyFile>> read_policy(const Options& options);
  // Registers the handler of image.sign, and becomes the store's policy of pulls and archives.
  static std::unique_ptr<Trust> create(engine::Engine& engine, image::ImageStore& store,
                                       registry::Hosts& hosts, const Options& options,
                                       std::unique_ptr<trust::PolicyFile> policy);

  // Whether a container may be made of the image, or started (for a build: whether it may be the
  // base). Free when no policy is there. Refusals are of the kind permission.
  Status check_use(const image::Image& image);
  Status check_use(const std::string& image);
  // Whether an error is this policy's.
  static bool is_refusal(const Error& error);

  // GET /gantry/policy.
  json::object show();
  // GET /gantry/images/{name}/signatures: what lies beside the image, for a client that verifies.
  Result<json::object> signatures(const std::string& name, const registry::AuthConfig& credentials);
  // GET /gantry/images/{name}/verify: what the policy says of it now.
  Result<json::object> verify(const std::string& name, const registry::AuthConfig& credentials);

 private:
  Trust(registry::Hosts& hosts, const Options& options) : hosts_(hosts), options_(options) {}
  struct Remote;
  Result<image::Admission> admit(const image::PullCandidate& candidate, int cancel_fd);
  Result<image::Admission> admit_archive(const image::ArchiveCandidate& candidate);
  Result<ImageSign::Output> sign(engine::JobContext& job, ImageSign::Input input);
  Result<Remote> find_remote(const std::string& name, const registry::AuthConfig& credentials);
  Status use_from(const trust::Policy& policy, const image::Origin& origin,
                  const image::Image& image);
  trust::Evaluation evaluation(const trust::Policy& policy) const;

  registry::Hosts& hosts_;
  const Options& options_;
  image::ImageStore* store_ = nullptr;
  std::unique_ptr<trust::PolicyFile> file_;
  // What stored signatures proved, so that it is proved once: image id and policy's rule digests.
  std::mutex mutex_;
  std::map<std::string, std::vector<image::Verification>> proved_;
};

}  // namespace gantry::daemon

namespace gantry::json {
template <>
struct Schema<daemon::ImageSign::Input> {
  using T = daemon::ImageSign::Input;
  static constexpr Field fields[] = {field<&T::image>("image"), field<&T::payload>("payload"),
                                     field<&T::signature>("signature")};
};
template <>
struct Schema<daemon::ImageSign::Output> {
  using T = daemon::ImageSign::Output;
  static constexpr Field fields[] = {field<&T::tag>("Tag"), field<&T::manifest>("Manifest"),
                                     field<&T::referrer>("Referrer")};
};
}  // namespace gantry::json
