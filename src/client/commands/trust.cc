// gantry image sign, verify and trust. Keys stay on this side: the daemon is given signatures.
#include "base/base64.h"
#include "base/fs.h"
#include "client/commands/commands.h"
#include "client/commands/pull.h"
#include "client/commands/trust_files.h"
#include "client/format/table.h"
#include "client/options/specs.h"
#include "image/reference.h"
#include "trust/evaluate.h"
#include "trust/payload.h"

namespace gantry::client {
namespace {

struct SignOptions {
  std::string key, passphrase_file, identity;
};
constexpr Flag kSignFlags[] = {
    flag<&SignOptions::identity>("identity", 0,
                                 "Name that is signed (default: the image's, with its tag)"),
    flag<&SignOptions::key>("key", 0, "File of the private key"),
    flag<&SignOptions::passphrase_file>("passphrase-file", 0, "File of the key's passphrase"),
};
const FlagGroup kSignGroups[] = {own_flags(kSignFlags)};

struct VerifyOptions {
  std::string key, identity;
};
constexpr Flag kVerifyFlags[] = {
    flag<&VerifyOptions::identity>(
        "identity", 0,
        "Name that the signature must be for (default: the image's, or its repository)"),
    flag<&VerifyOptions::key>("key", 0,
                              "File of the public key (default: what the daemon's policy says)"),
};
const FlagGroup kVerifyGroups[] = {own_flags(kVerifyFlags)};

struct TrustShowOptions {
  std::string format;
};
constexpr Flag kTrustShowFlags[] = {
    flag<&TrustShowOptions::format>("format", 0, kFormatUsage),
};
const FlagGroup kTrustShowGroups[] = {own_flags(kTrustShowFlags)};

struct TrustSetOptions {
  std::string policy = kPolicyFile;
  PolicyChange change;
};
constexpr Flag kPolicyFlags[] = {
    flag<&TrustSetOptions::policy>("policy", 0, "Policy file to change",
                                   {.default_text = "\"/etc/gantry/policy.json\""}),
};
constexpr Flag kChangeFlags[] = {
    flag<&PolicyChange::transport>("transport", 0, "Transport of the scope",
                                   {.default_text = "\"docker\""}),
};
constexpr Flag kRuleFlags[] = {
    flag<&PolicyChange::identity>("identity", 0,
                                  "matchRepoDigestOrExact, matchRepository or matchExact"),
    flag<&PolicyChange::keys>("pubkeysfile", 'f', "File of a public key"),
    flag<&PolicyChange::type>("type", 't', "accept, reject, signedBy or sigstoreSigned"),
};
const FlagGroup kTrustSetGroups[] = {own_flags(kPolicyFlags),
                                     shared_flags<&TrustSetOptions::change>(kChangeFlags),
                                     shared_flags<&TrustSetOptions::change>(kRuleFlags)};
const FlagGroup kTrustRemoveGroups[] = {own_flags(kPolicyFlags),
                                        shared_flags<&TrustSetOptions::change>(kChangeFlags)};

struct KeyOptions {
  std::string type = "ecdsa", output = "gantry", passphrase_file;
};
constexpr Flag kKeyFlags[] = {
    flag<&KeyOptions::output>("output", 'o', "Beginning of the files' names: NAME.key, NAME.pub",
                              {.default_text = "\"gantry\""}),
    flag<&KeyOptions::passphrase_file>("passphrase-file", 0, "File of the new key's passphrase"),
    flag<&KeyOptions::type>("type", 0, "ecdsa (P-256) or ed25519", {.default_text = "\"ecdsa\""}),
};
const FlagGroup kKeyGroups[] = {own_flags(kKeyFlags)};

http::Headers auth_headers(Cli& cli, const std::string& reference) {
  http::Headers headers;
  if (std::string auth = registry_auth(cli, reference); !auth.empty())
    headers.add("X-Registry-Auth", auth);
  return headers;
}

Result<json::value> ask(Cli& cli, const Path& path, const std::string& reference) {
  Api* api = TRY(cli.api());
  http::Response response = TRY(api->stream("GET", path, auth_headers(cli, reference)));
  std::string body = TRY(response.read_all());
  return json::parse(body);
}

Result<image::Reference> whole_name(const std::string& text) {
  image::Reference name = TRY(image::Reference::parse(text));
  return name.with_default_tag();
}

Result<int> run_sign(Cli& cli, SignOptions& options, Arguments& arguments) {
  const std::string& reference = arguments.front();
  image::Reference name = TRY(whole_name(reference));
  if (options.key.empty()) return invalid("no key: give the private key's file (--key)");
  std::string identity = name.digest().empty() ? name.text() : name.name();
  if (!options.identity.empty()) {
    image::Reference other = TRY(image::Reference::parse(options.identity));
    identity = other.text();
  }
  trust::PrivateKey key = TRY(read_private_key(options.key, options.passphrase_file));
  json::value found = TRY(ask(cli, Path::of({"distribution", reference, "json"}), reference));
  std::string text = text_of(json::value(object_of(found, "Descriptor")), "digest");
  Digest digest = TRY(Digest::parse(text));
  std::string payload = trust::make_payload(identity, digest);
  std::string signature = TRY(key.sign(payload));
  const std::string body = json::serialize(
      json::object{{"payload", base64_encode(payload)}, {"signature", base64_encode(signature)}});
  Api::Upload upload;
  upload.content_type = "application/json";
  upload.headers = auth_headers(cli, reference);
  upload.body = [&body, at = size_t{0}](std::span<char> into) mutable -> Result<size_t> {
    size_t size = std::min(into.size(), body.size() - at);
    std::copy_n(body.data() + at, size, into.data());
    at += size;
    return size;
  };
  Api* api = TRY(cli.api());
  http::Response response = TRY(api->upload(
      "POST", Path::of({"gantry", "images", reference, "signatures"}), std::move(upload)));
  std::string answer = TRY(response.read_all());
  json::value kept = TRY(json::parse(answer));
  print_out("Signed {} as {}\nkey: {}\nkept at: {}:{}\n", digest.text(), identity,
            key.public_key().id(), name.familiar_name(), text_of(kept, "Tag"));
  return 0;
}

Result<int> verify_by_key(Cli& cli, const VerifyOptions& options, const std::string& reference) {
  image::Reference name = TRY(whole_name(reference));
  std::string pem = TRY(fs::read_file(options.key, 64u << 10));
  trust::PublicKey key = TRY(trust::PublicKey::parse(pem).context("key {}", options.key));
  json::value answer =
      TRY(ask(cli, Path::of({"gantry", "images", reference, "signatures"}), reference));
  std::vector<Digest> digests;
  for (const json::value& one : array_of(answer, "Digests")) {
    if (!one.is_string()) continue;
    Digest digest = TRY(Digest::parse(std::string_view(one.get_string())));
    digests.push_back(std::move(digest));
  }
  std::vector<trust::Signature> signatures;
  for (const json::value& one : array_of(answer, "Signatures")) {
    trust::Signature signature;
    signature.payload = TRY(base64_decode(text_of(one, "Payload")));
    signature.signature = TRY(base64_decode(text_of(one, "Signature")));
    signatures.push_back(std::move(signature));
  }
  if (signatures.empty()) return not_found("{}: there is no signature", name.familiar());
  std::vector<trust::KeyVerdict> good = TRY(trust::verify_with_key(pem, digests, signatures));
  if (good.empty())
    return Error(ErrorKind::permission,
                 fmt::format("{}: none of its {} signatures was made by this key for this image",
                             name.familiar(), signatures.size()));
  trust::SignedIdentity tagged, repository;
  repository.type = trust::SignedIdentity::Type::exact_repository;
  repository.exact = name;
  if (!options.identity.empty()) {
    repository.exact = TRY(image::Reference::parse(options.identity));
    if (!repository.exact->name_only()) {
      tagged.type = trust::SignedIdentity::Type::exact_reference;
      tagged.exact = repository.exact;
    }
  }
  std::string other;
  for (const trust::KeyVerdict& one : good) {
    // Cosign signs for the repository alone.
    Result<image::Reference> signed_name = image::Reference::parse(one.identity);
    bool accepted =
        tagged.accepts(name, one.identity) ||
        (signed_name && signed_name->name_only() && repository.accepts(name, one.identity));
    if (accepted) {
      print_out("{}@{}: signed as {} by {}\n", name.familiar_name(), one.digest.text(),
                one.identity, key.id());
      return 0;
    }
    other = one.identity;
  }
  return Error(ErrorKind::permission,
               fmt::format("{}: it is signed by this key, but as {}", name.familiar(), other));
}

Result<int> run_verify(Cli& cli, VerifyOptions& options, Arguments& arguments) {
  const std::string& reference = arguments.front();
  if (!options.key.empty()) return verify_by_key(cli, options, reference);
  if (!options.identity.empty()) return invalid("--identity goes with --key: a policy has its own");
  json::value answer =
      TRY(ask(cli, Path::of({"gantry", "images", reference, "verify"}), reference));
  const json::value origin(object_of(answer, "Origin"));
  print_out("{}@{}: accepted by the policy {}, {}\n", reference, text_of(origin, "Digest"),
            text_of(answer, "Policy"), text_of(answer, "Scope"));
  for (const json::value& one : array_of(origin, "Verified"))
    print_out("  {}: signed as {} by {}\n", text_of(one, "Type"), text_of(one, "Identity"),
              text_of(one, "KeyID"));
  return 0;
}

Result<int> run_trust_show(Cli& cli, TrustShowOptions& options, Arguments&) {
  Api* api = TRY(cli.api());
  json::value answer = TRY(api->get(Path("/gantry/policy")));
  Listing listing;
  listing.type_name = "*formatter.trustContext";
  listing.headings = {{"Transport", "TRANSPORT"},
                      {"Scope", "SCOPE"},
                      {"Type", "TYPE"},
                      {"Keys", "KEYS"},
                      {"Identity", "IDENTITY"}};
  listing.table = "{{.Transport}}\t{{.Scope}}\t{{.Type}}\t{{.Keys}}\t{{.Identity}}";
  for (const json::value& rule : array_of(answer, "Rules"))
    for (const json::value& requirement : array_of(rule, "Requirements")) {
      std::string keys;
      for (const json::value& path : array_of(requirement, "KeyPaths"))
        if (path.is_string()) keys += (keys.empty() ? "" : ",") + std::string(path.get_string());
      if (int64_t count = number_of(requirement, "InlineKeys"); count > 0)
        keys += fmt::format("{}{} in the file", keys.empty() ? "" : ",", count);
      json::object row;
      row["Transport"] = text_of(rule, "Transport");
      row["Scope"] = text_of(rule, "Scope");
      row["Type"] = text_of(requirement, "Type");
      row["Keys"] = keys;
      row["Identity"] = text_of(requirement, "SignedIdentity");
      listing.rows.push_back(std::move(row));
    }
  if (std::string error = text_of(answer, "Error"); !error.empty())
    print_error("WARNING: " + error + "; the policy before it is in force");
  if (!flag_of(answer, "InForce") && options.format.empty()) {
    print_out("There is no policy at {}: every image is allowed.\n", text_of(answer, "Path"));
    return 0;
  }
  const std::string shown = TRY(render(listing, options.format));
  print_out(shown);
  return 0;
}

Result<int> run_trust_set(Cli&, TrustSetOptions& options, Arguments& arguments) {
  options.change.scope = arguments.front();
  if (options.change.type.empty())
    return invalid("no type: give --type accept, reject, signedBy or sigstoreSigned");
  TRY(change_policy(options.policy, options.change));
  return 0;
}

Result<int> run_trust_remove(Cli&, TrustSetOptions& options, Arguments& arguments) {
  options.change.scope = arguments.front();
  options.change.remove = true;
  TRY(change_policy(options.policy, options.change));
  return 0;
}

Result<int> run_key_generate(Cli&, KeyOptions& options, Arguments&) {
  if (options.type != "ecdsa" && options.type != "ed25519")
    return invalid("unknown type \"{}\": ecdsa or ed25519", options.type);
  std::string passphrase = TRY(find_passphrase(options.passphrase_file, Ask::twice));
  trust::PrivateKey key = TRY(trust::PrivateKey::generate(
      options.type == "ecdsa" ? trust::KeyType::ecdsa_p256 : trust::KeyType::ed25519));
  TRY(write_key_pair(options.output, key, passphrase));
  print_out("{}.key\n{}.pub\n", options.output, options.output);
  return 0;
}

constexpr Command kKeyCommands[] = {
    command<KeyOptions, run_key_generate>(
        {.name = "generate",
         .use = "[OPTIONS]",
         .summary = "Make a pair of keys for signing images",
         .details =
             "The private key is encrypted, in the form that cosign reads. The passphrase is "
             "that of --passphrase-file, of GANTRY_KEY_PASSPHRASE, or is asked for.",
         .arity = exactly(0),
         .flags = kKeyGroups}),
};

constexpr std::string_view kRemoveAliases[] = {"remove"};

const Command kTrustCommands[] = {
    {.name = "key", .summary = "Manage keys that sign images", .children = kKeyCommands},
    command<TrustSetOptions, run_trust_remove>({.name = "rm",
                                                .aliases = kRemoveAliases,
                                                .use = "[OPTIONS] SCOPE",
                                                .summary = "Remove a rule from the policy file",
                                                .arity = exactly(1),
                                                .flags = kTrustRemoveGroups}),
    command<TrustSetOptions, run_trust_set>(
        {.name = "set",
         .use = "[OPTIONS] SCOPE",
         .summary = "Put a rule into the policy file",
         .details =
             "SCOPE is HOST[/PATH][:TAG], *.DOMAIN, or \"default\". The file is changed here, "
             "not by the daemon, which reads it again.",
         .arity = exactly(1),
         .flags = kTrustSetGroups}),
    command<TrustShowOptions, run_trust_show>({.name = "show",
                                               .use = "[OPTIONS]",
                                               .summary = "Show the policy that is in force",
                                               .arity = exactly(0),
                                               .flags = kTrustShowGroups}),
};

}  // namespace

std::span<const Command> trust_commands() {
  static const Command commands[] = {
      command<SignOptions, run_sign>({.name = "sign",
                                      .use = "[OPTIONS] IMAGE",
                                      .summary = "Sign an image in its registry",
                                      .arity = exactly(1),
                                      .flags = kSignGroups}),
      command<VerifyOptions, run_verify>(
          {.name = "verify",
           .use = "[OPTIONS] IMAGE",
           .summary = "Verify an image in its registry by a key, or by the policy",
           .arity = exactly(1),
           .flags = kVerifyGroups}),
      {.name = "trust", .summary = "Manage whose images are trusted", .children = kTrustCommands},
  };
  return commands;
}

}  // namespace gantry::client
