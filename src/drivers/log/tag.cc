#include <array>

#include "drivers/log/options.h"

namespace gantry::drivers {
namespace {

std::string short_form(std::string_view id) { return std::string(id.substr(0, 12)); }
std::string_view hex_of(std::string_view digest) {
  size_t colon = digest.find(':');
  return colon == std::string_view::npos ? digest : digest.substr(colon + 1);
}

// moby daemon/logger/loginfo.go
struct Field {
  std::string_view name;
  std::string (*value)(const LogSubject&);
};
constexpr std::array<Field, 14> kFields = {{
    {"ID", [](const LogSubject& s) { return short_form(s.id); }},
    {"FullID", [](const LogSubject& s) { return s.id; }},
    {"Name", [](const LogSubject& s) { return s.name; }},
    {"ImageID", [](const LogSubject& s) { return short_form(hex_of(s.image_id)); }},
    {"ImageFullID", [](const LogSubject& s) { return s.image_id; }},
    {"ImageName", [](const LogSubject& s) { return s.image_name; }},
    {"Command", [](const LogSubject& s) { return s.command; }},
    {"Hostname", [](const LogSubject&) { return host_name(); }},
    {"DaemonName", [](const LogSubject&) { return std::string("docker"); }},
    {"ContainerID", [](const LogSubject& s) { return s.id; }},
    {"ContainerName", [](const LogSubject& s) { return "/" + s.name; }},
    {"ContainerImageID", [](const LogSubject& s) { return s.image_id; }},
    {"ContainerImageName", [](const LogSubject& s) { return s.image_name; }},
    {"ContainerEntrypoint",
     [](const LogSubject& s) { return s.command.substr(0, s.command.find(' ')); }},
}};

}  // namespace

Result<std::string> log_tag(const std::string& text, const LogSubject& subject) {
  std::string out;
  std::string_view rest = text.empty() ? std::string_view("{{.ID}}") : std::string_view(text);
  for (;;) {
    size_t open = rest.find("{{");
    out += rest.substr(0, open);
    if (open == std::string_view::npos) return out;
    size_t close = rest.find("}}", open);
    if (close == std::string_view::npos)
      return invalid("invalid value for log opt 'tag': unclosed action in '{}'", text);
    std::string_view inside = rest.substr(open + 2, close - open - 2);
    while (inside.starts_with(' ')) inside.remove_prefix(1);
    while (inside.ends_with(' ')) inside.remove_suffix(1);
    const Field* found = nullptr;
    for (const Field& field : kFields)
      if (inside.starts_with('.') && inside.substr(1) == field.name) found = &field;
    if (!found)
      return invalid(
          "invalid value for log opt 'tag': '{{{{{}}}}}' is no field of a container, such as "
          "{{{{.ID}}}}, {{{{.Name}}}} or {{{{.ImageName}}}}",
          inside);
    out += found->value(subject);
    rest = rest.substr(close + 2);
  }
}

}  // namespace gantry::drivers
