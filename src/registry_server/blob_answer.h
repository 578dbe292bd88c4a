// Answering with stored content; shared by the routes and the cache.
#pragma once

#include "registry_server/call.h"
#include "registry_server/store.h"

namespace gantry::registry_server {

// 200, 206, 304 or 416, as the request's header fields want it. Has answered when it returns.
void answer_content(Call& call, const ContentDigest& digest, const Content& content);
http::Headers content_headers(const ContentDigest& digest);
// Answers 304 and is true when If-None-Match names the ETag of `headers`.
bool answer_not_modified(Call& call, const http::Headers& headers);

}  // namespace gantry::registry_server
