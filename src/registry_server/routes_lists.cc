// Lists: tags, repositories, referrers.
#include "image/manifest.h"
#include "registry_server/ranges.h"
#include "registry_server/registry.h"

namespace gantry::registry_server {
namespace {

constexpr size_t kCatalogPage = 1000;  // unless told
constexpr size_t kLargestPage = 10'000;
constexpr size_t kReferrersLimit = 4u << 20;  // of one page, as of a manifest

std::string next_link(const std::string& path, size_t limit, const std::string& last,
                      const std::string& more = {}) {
  return fmt::format("<{}?n={}&last={}{}>; rel=\"next\"", path, limit, http::percent_encode(last),
                     more);
}

}  // namespace

bool parse_page(Call& call, Page& page) {
  const http::Query& query = call.x.query();
  page.last = query.get("last");
  if (!query.has("n")) return true;
  auto number = parse_number(query.get("n"));
  if (!number) {
    call.fail({400, "PAGINATION_NUMBER_INVALID", "n is no number that is at least 0", nullptr, {}});
    return false;
  }
  page.none = *number == 0;
  page.limit = std::min<uint64_t>(*number, kLargestPage);
  return true;
}

void serve_tags(Registry& registry, Call& call) {
  if (!call.require(kPull)) return;
  if (registry.cache() && registry.cache()->forward(call)) return;
  Page page;
  if (!parse_page(call, page)) return;
  auto tags = call.x.run_blocking(
      [&] { return registry.store().tags(call.route.repository, page.last, page.limit); });
  if (!tags) {
    if (tags.error().code() == ENOENT) return call.fail(name_unknown(call.route.repository));
    return call.fail(failed(tags.error()));
  }
  json::array names;
  if (!page.none)
    for (const std::string& tag : tags->names) names.emplace_back(tag);
  http::Headers headers;
  if (tags->more && !page.none)
    headers.set("Link", next_link("/v2/" + call.route.repository + "/tags/list", page.limit,
                                  tags->names.back()));
  call.answer_json(200, json::object{{"name", call.route.repository}, {"tags", std::move(names)}},
                   std::move(headers));
}

void serve_catalog(Registry& registry, Call& call) {
  if (!call.reads()) return call.fail(unsupported_operation("only GET"));
  if (!call.auth->may_list(call.identity))
    return call.refuse("registry:catalog:*", "requested access to the catalog is denied");
  Page page;
  if (!parse_page(call, page)) return;
  if (page.limit == 0) page.limit = kCatalogPage;
  // A token for the catalog shows all of it; the rights file, what it says of each repository.
  bool all = call.identity.access.has_value() || !call.auth->rights;
  auto visible = [&](const std::string& name) {
    return all || (call.auth->rights->of(call.identity.user, name) & kCatalog) != 0;
  };
  auto list = call.x.run_blocking(
      [&] { return registry.store().repositories(page.last, page.limit, visible); });
  if (!list) return call.fail(failed(list.error()));
  json::array names;
  if (!page.none)
    for (const std::string& name : list->names) names.emplace_back(name);
  http::Headers headers;
  if (list->more && !page.none)
    headers.set("Link", next_link("/v2/_catalog", page.limit, list->names.back()));
  call.answer_json(200, json::object{{"repositories", std::move(names)}}, std::move(headers));
}

void serve_referrers(Registry& registry, Call& call) {
  auto subject = ContentDigest::parse(call.route.reference);
  if (!subject) return call.fail(digest_invalid(subject.error().message()));
  if (!call.require(kPull)) return;
  if (registry.cache() && registry.cache()->forward(call)) return;
  Page page;
  if (!parse_page(call, page)) return;
  const std::string filter(call.x.query().get("artifactType"));
  json::array manifests;
  std::string last, next;
  size_t size = 0;
  Status listed = call.x.run_blocking([&] {
    return registry.store().referrers(
        call.route.repository, *subject, page.last, [&](Referrer one) {
          if (!filter.empty() && one.view.artifact_type != filter) return true;
          json::object entry{{"mediaType", one.view.media_type},
                             {"digest", one.digest.text()},
                             {"size", one.size}};
          if (!one.view.artifact_type.empty()) entry["artifactType"] = one.view.artifact_type;
          if (!one.view.annotations.empty())
            entry["annotations"] = json::encode(one.view.annotations);
          size += json::serialize(entry).size();
          bool full = size > kReferrersLimit || (page.limit != 0 && manifests.size() == page.limit);
          if (full && !manifests.empty()) {
            next = last;
            return false;
          }
          manifests.push_back(std::move(entry));
          last = one.digest.key();
          return true;
        });
  });
  if (!listed) return call.fail(failed(listed.error()));
  http::Headers headers{{"Content-Type", std::string(image::kOciIndex)}};
  if (!filter.empty()) headers.set("OCI-Filters-Applied", "artifactType");
  std::string more = filter.empty() ? "" : "&artifactType=" + http::percent_encode(filter);
  if (!next.empty())
    headers.set("Link", next_link("/v2/" + call.route.repository + "/referrers/" + subject->text(),
                                  page.limit == 0 ? kLargestPage : page.limit, next, more));
  call.answer_json(200,
                   json::object{{"schemaVersion", 2},
                                {"mediaType", image::kOciIndex},
                                {"manifests", std::move(manifests)}},
                   std::move(headers));
}

}  // namespace gantry::registry_server
