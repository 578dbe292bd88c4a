#include "daemon/names.h"

#include <sys/random.h>

#include <algorithm>
#include <array>
#include <cstdint>

#include <fmt/core.h>

namespace gantry::daemon {
namespace {

constexpr std::array kAdjectives = {
    "able",     "agile",    "airy",     "amber",   "ample",   "apt",      "ardent",  "astute",
    "autumnal", "balmy",    "bold",     "brave",   "breezy",  "bright",   "brisk",   "calm",
    "candid",   "careful",  "cheery",   "chipper", "civil",   "clever",   "coastal", "cosmic",
    "crisp",    "curious",  "dapper",   "daring",  "deft",    "diligent", "driven",  "eager",
    "earnest",  "easy",     "elated",   "elegant", "fair",    "fearless", "festive", "fluent",
    "fond",     "frank",    "friendly", "frosty",  "gallant", "gentle",   "gifted",  "glad",
    "gleaming", "golden",   "graceful", "grand",   "handy",   "happy",    "hardy",   "hearty",
    "helpful",  "honest",   "hopeful",  "humble",  "ideal",   "jaunty",   "jolly",   "jovial",
    "keen",     "kind",     "lively",   "loyal",   "lucid",   "lucky",    "lunar",   "mellow",
    "merry",    "mighty",   "mindful",  "modest",  "nimble",  "noble",    "patient", "placid",
    "plucky",   "polite",   "prime",    "proud",   "prudent", "quick",    "quiet",   "radiant",
    "rapid",    "ready",    "robust",   "rustic",  "sage",    "serene",   "sharp",   "sincere",
    "solar",    "spry",     "stable",   "steady",  "sturdy",  "sunny",    "sure",    "swift",
    "tidy",     "tranquil", "trusty",   "upbeat",  "valiant", "vivid",    "warm",    "wise",
    "witty",    "zesty"};

// Engineers of cranes, bridges, harbours, ships and computers.
constexpr std::array kSurnames = {
    "aiken",    "ammann",     "anderson",   "arkwright",  "armstrong",     "arup",
    "babbage",  "baker",      "barton",     "bazalgette", "bessemer",      "brindley",
    "brooks",   "brunel",     "carrier",    "cerf",       "clark",         "cocke",
    "codd",     "colossus",   "corliss",    "cort",       "cray",          "dahl",
    "dijkstra", "eads",       "eckert",     "edwards",    "eiffel",        "engelbart",
    "ericsson", "fairbairn",  "falkirk",    "fermi",      "finsterwalder", "flowers",
    "ford",     "freyssinet", "fulton",     "goldstine",  "gray",          "hamilton",
    "hamming",  "hoare",      "hopper",     "huffman",    "jessop",        "johnson",
    "kahn",     "kay",        "kilby",      "knuth",      "lamport",       "leonhardt",
    "lovelace", "maillart",   "mauchly",    "maudslay",   "mccarthy",      "mcclure",
    "menn",     "mulholland", "navier",     "nasmyth",    "newcomen",      "nygaard",
    "otis",     "parsons",    "paxton",     "perronet",   "pennington",    "rankine",
    "rennie",   "ritchie",    "roebling",   "salvadori",  "savery",        "schlaich",
    "shannon",  "smeaton",    "sommeiller", "stephenson", "stevin",        "strauss",
    "telford",  "thompson",   "torroja",    "trevithick", "tukey",         "turing",
    "vauban",   "vitruvius",  "watt",       "wegner",     "whitworth",     "wilkes",
    "wirth",    "zuse"};

uint32_t random_below(uint32_t bound) {
  uint64_t value = 0;
  (void)::getrandom(&value, sizeof value, 0);
  return static_cast<uint32_t>(value % bound);  // the bias over 2^64 does not matter for a name
}

}  // namespace

std::string random_name(int attempt) {
  std::string name = fmt::format("{}_{}", kAdjectives[random_below(kAdjectives.size())],
                                 kSurnames[random_below(kSurnames.size())]);
  if (attempt > 0) name += std::to_string(random_below(attempt < 3 ? 10 : 1'000'000));
  return name;
}

bool is_valid_name(std::string_view name) {
  auto alphanumeric = [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
  };
  return name.size() >= 2 && alphanumeric(name[0]) &&
         std::all_of(name.begin() + 1, name.end(),
                     [&](char c) { return alphanumeric(c) || c == '_' || c == '.' || c == '-'; });
}

}  // namespace gantry::daemon
