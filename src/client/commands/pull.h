// Fetching an image through the daemon, with progress: shared by pull, run and create.
#pragma once

#include <string>

#include "client/cli/cli.h"
#include "http/client.h"

namespace gantry::client {

enum class Progress { shown, silent };

struct PullOptions {
  std::string platform;
  Progress progress = Progress::shown;
  int fd = 1;  // where the progress goes: standard output for pull, standard error for run
};
// POST /images/create for one reference ("latest" when it names no tag). `all_tags`: every tag.
enum class Tags { one, all };
Status pull_image(Cli& cli, const std::string& reference, const PullOptions& options,
                  Tags tags = Tags::one);

// X-Registry-Auth for the registry of a reference, from config.json; "" when there is nothing for
// it.
std::string registry_auth(Cli& cli, std::string_view reference);

// Reads a stream of JSON messages ({"status", "id", "progressDetail", "stream", "errorDetail",
// "aux"}) and shows them: lines that change in place on a terminal, plain lines elsewhere. Gives
// the error that the stream carries.
Status show_messages(http::Response& response, int fd, Progress progress);

}  // namespace gantry::client
