// login, logout, search.
#include <termios.h>
#include <unistd.h>

#include "base/sys.h"
#include "client/commands/commands.h"
#include "client/commands/credentials.h"
#include "client/format/table.h"
#include "client/io/terminal.h"
#include "client/options/specs.h"

namespace gantry::client {
namespace {

struct LoginOptions {
  std::optional<std::string> username, password;
  bool password_stdin = false;
};
constexpr Flag kLoginFlags[] = {
    flag<&LoginOptions::password>("password", 'p', "Password or Personal Access Token (PAT)"),
    flag<&LoginOptions::password_stdin>(
        "password-stdin", 0, "Take the Password or Personal Access Token (PAT) from stdin"),
    flag<&LoginOptions::username>("username", 'u', "Username"),
};
const FlagGroup kLoginGroups[] = {own_flags(kLoginFlags)};

struct LogoutOptions {};

struct SearchOptions {
  std::vector<std::string> filter;
  std::string format;
  int64_t limit = 0;
  bool no_trunc = false;
};
constexpr Flag kSearchFlags[] = {
    flag<&SearchOptions::filter>("filter", 'f', "Filter output based on conditions provided",
                                 {.type = "filter", .set = set_filter}),
    flag<&SearchOptions::format>("format", 0, "Pretty-print search using a Go template"),
    flag<&SearchOptions::limit>("limit", 0, "Max number of search results"),
    flag<&SearchOptions::no_trunc>("no-trunc", 0, "Don't truncate output"),
};
const FlagGroup kSearchGroups[] = {own_flags(kSearchFlags)};

Result<std::string> read_line(int fd) {
  std::string line;
  char byte = 0;
  while (true) {
    size_t got = TRY(sys::read(fd, &byte, 1));
    if (got == 0 || byte == '\n') break;
    line += byte;
    if (line.size() > 64u << 10) return invalid("the line is too long");
  }
  if (line.ends_with('\r')) line.pop_back();
  return line;
}

// Typed, and not shown.
Result<std::string> ask_password() {
  print_out("Password: ");
  flush_out();
  termios before{};
  if (::tcgetattr(STDIN_FILENO, &before) != 0) return error_from_errno(errno, "tcgetattr");
  termios quiet = before;
  quiet.c_lflag &= ~static_cast<tcflag_t>(ECHO);
  (void)::tcsetattr(STDIN_FILENO, TCSADRAIN, &quiet);
  Result<std::string> line = read_line(STDIN_FILENO);
  (void)::tcsetattr(STDIN_FILENO, TCSADRAIN, &before);
  print_out("\n");
  return line;
}

Result<Credentials> ask_credentials(Cli& cli, const LoginOptions& options,
                                    const std::string& server, bool& stored) {
  Credentials out;
  out.server = server;
  out.username = options.username.value_or("");
  out.password = options.password.value_or("");
  if (options.password_stdin) {
    if (out.username.empty()) return invalid("Must provide --username with --password-stdin");
    if (options.password) return invalid("--password and --password-stdin are mutually exclusive");
    std::string text = TRY(sys::read_all(STDIN_FILENO, 64u << 10));
    while (text.ends_with('\n') || text.ends_with('\r')) text.pop_back();
    out.password = std::move(text);
    return out;
  }
  if (options.password)
    print_error("WARNING! Using --password via the CLI is insecure. Use --password-stdin.");
  if (!out.username.empty() && !out.password.empty()) return out;
  Credentials known = TRY(load_credentials(cli, server));
  if (out.username.empty() && !known.empty()) {
    print_out("Authenticating with existing credentials...\n");
    stored = true;
    return known;
  }
  if (!is_terminal(STDIN_FILENO))
    return invalid("Error: Cannot perform an interactive login from a non TTY device");
  if (out.username.empty()) {
    print_out("Username{}: ", known.username.empty() ? "" : " (" + known.username + ")");
    flush_out();
    out.username = TRY(read_line(STDIN_FILENO));
    if (out.username.empty()) out.username = known.username;
  }
  if (out.username.empty()) return invalid("username is empty");
  if (out.password.empty()) out.password = TRY(ask_password());
  if (out.password.empty()) return invalid("password required");
  return out;
}

Result<int> run_login(Cli& cli, LoginOptions& options, Arguments& arguments) {
  const std::string server = registry_key(arguments.empty() ? "" : arguments.front());
  bool stored = false;
  Credentials credentials = TRY(ask_credentials(cli, options, server, stored));
  json::object body{{"username", credentials.username},
                    {"password", credentials.password},
                    {"serveraddress", server}};
  if (!credentials.identity_token.empty()) body["identitytoken"] = credentials.identity_token;
  Api* api = TRY(cli.api());
  std::string text = TRY(api->call("POST", Path("/auth"), body));
  json::value answer = TRY(json::parse(text).context("the daemon's answer"));
  if (std::string token = text_of(answer, "IdentityToken"); !token.empty()) {
    credentials.identity_token = token;
    credentials.password.clear();
  }
  if (!stored) {
    bool plain = TRY(store_credentials(cli, credentials));
    if (plain)
      print_error(fmt::format(
          "\nWARNING! Your credentials are stored unencrypted in '{}/config.json'.\nConfigure a "
          "credential helper to remove this warning. See\n"
          "https://docs.docker.com/go/credential-store/\n",
          cli.config_directory()));
  }
  std::string status = text_of(answer, "Status");
  print_out("{}\n", status.empty() ? "Login Succeeded" : status);
  return 0;
}

Result<int> run_logout(Cli& cli, LogoutOptions&, Arguments& arguments) {
  const std::string server = registry_key(arguments.empty() ? "" : arguments.front());
  print_out("Removing login credentials for {}\n", server);
  TRY(erase_credentials(cli, server));
  return 0;
}

Result<int> run_search(Cli& cli, SearchOptions& options, Arguments& arguments) {
  const std::string& term = arguments.front();
  Path path("/images/search");
  path.add("term", term);
  if (options.limit != 0) path.add("limit", std::to_string(options.limit));
  const std::string filters = TRY(filters_parameter(options.filter));
  path.add_if("filters", filters);
  size_t slash = term.find('/');
  std::string host = slash == std::string::npos ? "" : term.substr(0, slash);
  if (host.find_first_of(".:") == std::string::npos && host != "localhost") host.clear();
  Credentials credentials = TRY(load_credentials(cli, registry_key(host)));
  http::Headers headers;
  if (std::string header = credentials.header(); !header.empty())
    headers.add("X-Registry-Auth", header);
  Api* api = TRY(cli.api());
  http::Response response = TRY(api->stream("GET", path, std::move(headers)));
  std::string text = TRY(response.read_all());
  json::value answer = TRY(json::parse(text).context("the daemon's answer"));
  Listing listing;
  listing.type_name = "*formatter.searchContext";
  listing.headings = {{"Name", "NAME"},
                      {"Description", "DESCRIPTION"},
                      {"StarCount", "STARS"},
                      {"IsOfficial", "OFFICIAL"},
                      {"IsAutomated", "AUTOMATED"}};
  listing.table = "{{.Name}}\t{{.Description}}\t{{.StarCount}}\t{{.IsOfficial}}";
  constexpr size_t kDescriptionWidth = 45;
  if (!answer.is_array()) return internal("the daemon's answer to a search is no list");
  for (const json::value& item : answer.get_array()) {
    std::string description = text_of(item, "description");
    for (char& c : description)
      if (c == '\n' || c == '\r') c = ' ';
    auto flag_text = [&](const char* name) {
      const json::object* object = item.if_object();
      const json::value* found = object != nullptr ? object->if_contains(name) : nullptr;
      return found != nullptr && found->is_bool() && found->get_bool() ? "[OK]" : "";
    };
    listing.rows.push_back(
        {{"Name", text_of(item, "name")},
         {"Description", options.no_trunc ? description : ellipsis(description, kDescriptionWidth)},
         {"StarCount", std::to_string(number_of(item, "star_count"))},
         {"IsOfficial", flag_text("is_official")},
         {"IsAutomated", flag_text("is_automated")}});
  }
  print_out("{}", TRY(render(listing, options.format)));
  return 0;
}

}  // namespace

std::span<const Command> registry_commands() {
  static const Command commands[] = {
      command<LoginOptions, run_login>({.name = "login",
                                        .use = "[OPTIONS] [SERVER]",
                                        .summary = "Authenticate to a registry",
                                        .arity = at_most(1),
                                        .flags = kLoginGroups,
                                        .section = HelpSection::common}),
      command<LogoutOptions, run_logout>({.name = "logout",
                                          .use = "[SERVER]",
                                          .summary = "Log out from a registry",
                                          .arity = at_most(1),
                                          .section = HelpSection::common}),
      command<SearchOptions, run_search>({.name = "search",
                                          .use = "[OPTIONS] TERM",
                                          .summary = "Search Docker Hub for images",
                                          .arity = exactly(1),
                                          .flags = kSearchGroups,
                                          .section = HelpSection::common}),
  };
  return commands;
}

}  // namespace gantry::client
