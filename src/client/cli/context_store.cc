#include "client/cli/context_store.h"

#include "base/fs.h"
#include "base/json.h"

namespace gantry::client {

// Looks through the metadata files for the name instead of hashing it: there are few of them, and
// the client then needs no digest library.
Result<std::string> context_host(const std::string& config_directory, std::string_view name) {
  const std::string meta = config_directory + "/contexts/meta";
  auto entries = fs::list_directory(meta);
  if (entries)
    for (const std::string& entry : *entries) {
      auto text = fs::read_file(meta + "/" + entry + "/meta.json");
      if (!text) continue;
      json::value document = TRY(json::parse(*text).context("context {}", entry));
      const json::value* own =
          document.if_object() ? document.get_object().if_contains("Name") : nullptr;
      if (!own || !own->is_string() || own->get_string() != name) continue;
      boost::json::error_code failure;
      const json::value* host = document.find_pointer("/Endpoints/docker/Host", failure);
      if (!host || !host->is_string())
        return invalid("context \"{}\" has no docker endpoint", name);
      return std::string(host->get_string());
    }
  return not_found("context \"{}\": context not found: open {}: no such file or directory", name,
                   meta);
}

}  // namespace gantry::client
