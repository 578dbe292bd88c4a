#include "trust/lookaside.h"

#include <yaml.h>

#include <algorithm>

#include "base/fs.h"
#include "trust/policy.h"
#include "trust/signature.h"

namespace gantry::trust {
namespace {

constexpr size_t kFileLimit = 1u << 20;
constexpr std::string_view kUsualStore = "file:///var/lib/containers/sigstore";

// A document of YAML as libyaml reads it.
class Document {
 public:
  explicit Document(std::string_view text) {
    yaml_parser_initialize(&parser_);
    yaml_parser_set_input_string(&parser_, reinterpret_cast<const unsigned char*>(text.data()),
                                 text.size());
    loaded_ = yaml_parser_load(&parser_, &document_) != 0;
  }
  ~Document() {
    if (loaded_) yaml_document_delete(&document_);
    yaml_parser_delete(&parser_);
  }
  Document(const Document&) = delete;

  bool loaded() const { return loaded_; }
  Error error() const {
    return invalid("line {}: {}", parser_.problem_mark.line + 1,
                   parser_.problem != nullptr ? parser_.problem : "it cannot be read");
  }
  yaml_node_t* root() { return yaml_document_get_root_node(&document_); }
  yaml_node_t* node(int index) { return yaml_document_get_node(&document_, index); }

 private:
  yaml_parser_t parser_{};
  yaml_document_t document_{};
  bool loaded_ = false;
};

Error wrong(const yaml_node_t* at, std::string_view what) {
  return invalid("line {}: {}", at->start_mark.line + 1, what);
}

std::string_view text_of(const yaml_node_t* node) {
  if (node->type != YAML_SCALAR_NODE) return {};
  return {reinterpret_cast<const char*>(node->data.scalar.value), node->data.scalar.length};
}

bool is_null(const yaml_node_t* node) {
  return node->type == YAML_SCALAR_NODE &&
         (text_of(node).empty() || text_of(node) == "null" || text_of(node) == "~");
}

template <typename Fn>
Status each_member(Document& document, yaml_node_t* mapping, Fn fn) {
  if (is_null(mapping)) return {};
  if (mapping->type != YAML_MAPPING_NODE) return wrong(mapping, "a mapping is expected");
  for (auto* pair = mapping->data.mapping.pairs.start; pair < mapping->data.mapping.pairs.top;
       ++pair) {
    yaml_node_t* key = document.node(pair->key);
    if (key->type != YAML_SCALAR_NODE) return wrong(key, "a name is expected");
    TRY(fn(key, document.node(pair->value)));
  }
  return {};
}

// The URL to read from in one section; "" when it names none.
Result<std::string> read_section(Document& document, yaml_node_t* section) {
  std::string lookaside, sigstore;
  TRY(each_member(document, section, [&](yaml_node_t* key, yaml_node_t* value) -> Status {
    std::string_view name = text_of(key);
    if (name == "lookaside" || name == "sigstore") {
      if (value->type != YAML_SCALAR_NODE) return wrong(value, "a URL is expected");
      (name == "lookaside" ? lookaside : sigstore) = text_of(value);
      std::string_view url = text_of(value);
      if (!url.starts_with("file:///") && !url.starts_with("http://") &&
          !url.starts_with("https://") && !url.empty())
        return wrong(value, "the URL is neither file:///, http:// nor https://");
    } else if (name != "lookaside-staging" && name != "sigstore-staging" &&
               name != "use-sigstore-attachments") {  // of those who write signatures, and skopeo's
      return wrong(key, fmt::format("unknown key \"{}\"", name));
    }
    return {};
  }));
  return lookaside.empty() ? sigstore : lookaside;
}

}  // namespace

Status Lookaside::add(std::string_view text) {
  Document document(text);
  if (!document.loaded()) return document.error();
  if (document.root() == nullptr) return {};
  return each_member(
      document, document.root(), [&](yaml_node_t* key, yaml_node_t* value) -> Status {
        if (text_of(key) == "default-docker") {
          if (has_default_) return wrong(key, "default-docker stands in another file already");
          default_ = TRY(read_section(document, value));
          has_default_ = true;
          return {};
        }
        if (text_of(key) != "docker")
          return wrong(key, fmt::format("unknown key \"{}\"", text_of(key)));
        return each_member(
            document, value, [&](yaml_node_t* scope, yaml_node_t* section) -> Status {
              std::string url = TRY(read_section(document, section));
              if (!scopes_.emplace(text_of(scope), std::move(url)).second)
                return wrong(scope,
                             fmt::format("\"{}\" stands in another place already", text_of(scope)));
              return {};
            });
      });
}

Result<Lookaside> Lookaside::read(const std::vector<std::string>& directories) {
  Lookaside out;
  for (const std::string& directory : directories) {
    Result<std::vector<std::string>> names = fs::list_directory(directory);
    if (!names && names.error().kind() == ErrorKind::not_found) continue;
    std::vector<std::string> files = TRY(std::move(names));
    std::sort(files.begin(), files.end());
    for (const std::string& name : files) {
      if (!name.ends_with(".yaml")) continue;
      const std::string path = directory + "/" + name;
      std::string text = TRY(fs::read_file(path, kFileLimit));
      TRY(out.add(text).context("{}", path));
    }
  }
  return out;
}

std::string Lookaside::store_of(const image::Reference& name) const {
  for (const std::string& scope : scopes_of(name)) {
    auto found = scopes_.find(scope);
    if (found != scopes_.end() && !found->second.empty()) return found->second;
  }
  return default_.empty() ? std::string(kUsualStore) : default_;
}

namespace {

// One signature; absent where there is none.
Result<std::optional<std::string>> fetch(const std::string& url, http::Agent& agent,
                                         int cancel_fd) {
  constexpr std::string_view kFile = "file://";
  if (url.starts_with(kFile)) {
    Result<std::string> text = fs::read_file(url.substr(kFile.size()), kSignatureLimit);
    if (text) return std::optional<std::string>(text.release());
    if (text.error().kind() == ErrorKind::not_found) return std::optional<std::string>();
    return std::move(text).error();
  }
  http::Agent::Request request;
  request.url = TRY(http::Url::parse(url));
  http::Agent::Response response = TRY(agent.send(request, cancel_fd));
  if (response.status == 404) return std::optional<std::string>();
  if (response.status != 200)
    return Error(response.status >= 500 ? ErrorKind::unavailable : ErrorKind::permission,
                 fmt::format("{}: the answer is {}", url, response.status));
  std::string text = TRY(response.read_all(kSignatureLimit).context("{}", url));
  return std::optional<std::string>(std::move(text));
}

}  // namespace

Result<std::vector<std::string>> read_lookaside(const std::string& store,
                                                const image::Reference& name,
                                                const Digest& manifest, http::Agent& agent,
                                                int cancel_fd) {
  std::string base = store;
  while (base.ends_with('/')) base.pop_back();
  std::vector<std::string> out;
  for (size_t number = 1; number <= kMaxSignatures; ++number) {
    std::string url =
        fmt::format("{}/{}@sha256={}/signature-{}", base, name.path(), manifest.hex(), number);
    std::optional<std::string> one = TRY(fetch(url, agent, cancel_fd));
    if (!one) break;
    out.push_back(std::move(*one));
  }
  return out;
}

}  // namespace gantry::trust
