#include "builder/copy.h"

#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <charconv>

#include "builder/patterns.h"

namespace gantry::builder {
namespace {

std::string base_name(const std::string& path) { return path.substr(path.rfind('/') + 1); }

// ---- finding

// The sources of a copy, one after another.
class Finder {
 public:
  Finder(Tree& tree, const CopySpec& spec) : tree_(tree), spec_(spec) {}

  Result<std::vector<CopyTop>> run() {
    exclude_ = TRY(IgnoreList::of(spec_.exclude));
    for (const std::string& source : spec_.sources) TRY(add(source));
    return std::move(tops_);
  }

 private:
  Status add(const std::string& written) {
    std::string text = written;
    while (text.starts_with('/')) text.erase(0, 1);
    // The part before "/./" is not kept by --parents.
    size_t pivot = spec_.parents ? text.find("/./") : text.npos;
    std::string before = pivot == text.npos ? "" : text.substr(0, pivot);
    std::optional<std::string> clean = tar::clean_path(text);
    if (!clean) {
      if (spec_.from_context)
        return invalid("{} failed: forbidden path outside the build context: {} ()",
                       spec_.instruction, written);
      clean = TRY(resolve(tree_, text));
    }
    if (spec_.parents) before = tar::clean_path(before).value_or("");
    std::vector<std::string> found;
    if (has_wildcards(*clean)) {
      TRY(match(*clean, found));
      if (found.empty()) return missing(written);
    } else {
      found = {*clean};
    }
    for (const std::string& path : found) TRY(take(written, path, before));
    return {};
  }

  Error missing(const std::string& written) const {
    return spec_.from_context
               ? not_found(
                     "{} failed: file not found in build context or excluded by .dockerignore: "
                     "stat {}: file does not exist",
                     spec_.instruction, written)
               : not_found("{} failed: stat {}: file does not exist", spec_.instruction, written);
  }

  // Paths that match, component by component; links on the way are not followed.
  Status match(const std::string& text, std::vector<std::string>& found) {
    std::vector<std::string> level = {""};
    for (size_t at = 0; at <= text.size();) {
      size_t end = std::min(text.find('/', at), text.size());
      std::string part = text.substr(at, end - at);
      at = end + 1;
      std::vector<std::string> next;
      Pattern pattern = TRY(Pattern::parse(part, Deep::no));
      for (const std::string& directory : level) {
        if (!has_wildcards(part)) {
          std::string path = TRY(resolve(tree_, join(directory, part)));
          std::optional<tar::Entry> entry = TRY(tree_.stat(path));
          if (entry) next.push_back(join(directory, part));
          continue;
        }
        std::string real = TRY(resolve(tree_, directory));
        std::optional<tar::Entry> entry = TRY(tree_.stat(real));
        if (!entry || entry->type != tar::Type::directory) continue;
        std::vector<std::string> names = TRY(tree_.list(real));
        for (const std::string& name : names)
          if (pattern.matches(name)) next.push_back(join(directory, name));
      }
      level = std::move(next);
    }
    found = std::move(level);
    return {};
  }

  Status take(const std::string& written, const std::string& path, const std::string& before) {
    std::string real = TRY(resolve(tree_, path));
    std::optional<tar::Entry> entry = TRY(tree_.stat(real));
    if (!entry) return missing(written);
    CopyTop top;
    top.name = path.empty() ? "" : base_name(path);
    const bool directory = entry->type == tar::Type::directory;
    std::string prefix;
    if (spec_.parents) {
      std::string kept = path;
      if (!before.empty() && kept.starts_with(before + "/")) kept.erase(0, before.size() + 1);
      const std::string dropped = path.substr(0, path.size() - kept.size());
      for (size_t slash = kept.find('/'); slash != kept.npos; slash = kept.find('/', slash + 1)) {
        std::string parent = kept.substr(0, slash);
        std::string there = TRY(resolve(tree_, dropped + parent));
        std::optional<tar::Entry> found = TRY(tree_.stat(there));
        if (found && found->type == tar::Type::directory)
          top.items.push_back({there, parent, std::move(*found)});
      }
      prefix = kept;
      top.contents = true;  // names are relative to the destination
    } else {
      top.contents = directory;
    }
    if (directory) {
      if (!prefix.empty()) top.items.push_back({real, prefix, std::move(*entry)});
      TRY(descend(real, prefix, top));
    } else if (!exclude_.ignores(top.name)) {
      TRY(check(*entry, path));
      top.items.push_back({real, prefix, std::move(*entry)});
    }
    tops_.push_back(std::move(top));
    return {};
  }

  // What is in a directory, on a stack of its own: how deep it is, others have decided.
  Status descend(const std::string& source, const std::string& relative, CopyTop& top) {
    struct Level {
      std::string source, relative;
      std::string below;  // the path beneath the source, which --exclude matches
      std::vector<std::string> names;
      size_t next = 0;
    };
    std::vector<Level> levels;
    Level first{source, relative, "", {}, 0};
    first.names = TRY(tree_.list(source));
    levels.push_back(std::move(first));
    while (!levels.empty()) {
      Level& level = levels.back();
      if (level.next == level.names.size()) {
        levels.pop_back();
        continue;
      }
      const std::string& name = level.names[level.next++];
      const std::string path = join(level.source, name), inside = join(level.below, name);
      const std::string target = join(level.relative, name);
      std::optional<tar::Entry> entry = TRY(tree_.stat(path));
      if (!entry) continue;
      const bool directory = entry->type == tar::Type::directory;
      if (exclude_.ignores(inside) && (!directory || !exclude_.has_exceptions())) continue;
      TRY(check(*entry, path));
      top.items.push_back({path, target, std::move(*entry)});
      if (!directory) continue;
      Level deeper{path, target, inside, {}, 0};
      deeper.names = TRY(tree_.list(path));
      levels.push_back(std::move(deeper));
    }
    return {};
  }

  Status check(const tar::Entry& entry, const std::string& path) const {
    const bool special = entry.type == tar::Type::char_device ||
                         entry.type == tar::Type::block_device || entry.type == tar::Type::fifo;
    if (special && spec_.from_context)
      return invalid(
          "{} failed: {} is a device or a pipe, which a build context cannot have: remove it, or "
          "name it in .dockerignore",
          spec_.instruction, path);
    if (base_name(path).starts_with(".wh."))
      return invalid("{} failed: {}: a layer cannot hold names that begin with .wh.",
                     spec_.instruction, path);
    return {};
  }

  Tree& tree_;
  const CopySpec& spec_;
  IgnoreList exclude_;
  std::vector<CopyTop> tops_;
};

// ---- modes

constexpr mode_t kAll = 0777;

struct ModeWho {
  mode_t mask = 0;
  bool user = false, group = false;
};

mode_t permission(char c, const ModeWho& who, mode_t mode, bool directory) {
  switch (c) {
    case 'r':
      return 0444 & who.mask;
    case 'w':
      return 0222 & who.mask;
    case 'x':
      return 0111 & who.mask;
    case 'X':
      return directory || (mode & 0111) != 0 ? 0111 & who.mask : 0;
    case 's':
      return (who.user ? S_ISUID : 0) | (who.group ? S_ISGID : 0);
    case 't':
      return S_ISVTX;
    default:
      return static_cast<mode_t>(-1);
  }
}

}  // namespace

Result<mode_t> changed_mode(std::string_view text, mode_t mode, bool directory) {
  auto wrong = [&] { return invalid("invalid chmod parameter: '{}'", text); };
  if (text.empty()) return wrong();
  if (text.find_first_not_of("01234567") == text.npos) {
    mode_t out = 0;
    std::from_chars(text.data(), text.data() + text.size(), out, 8);
    if (text.size() > 5 || out > 07777) return wrong();
    return out;
  }
  for (size_t at = 0; at <= text.size();) {
    size_t end = std::min(text.find(',', at), text.size());
    std::string_view clause = text.substr(at, end - at);
    at = end + 1;
    size_t i = 0;
    ModeWho who;
    for (; i < clause.size() && std::string_view("ugoa").find(clause[i]) != clause.npos; ++i) {
      if (clause[i] == 'u' || clause[i] == 'a') who.mask |= 0700, who.user = true;
      if (clause[i] == 'g' || clause[i] == 'a') who.mask |= 0070, who.group = true;
      if (clause[i] == 'o' || clause[i] == 'a') who.mask |= 0007;
    }
    if (i == 0) who = {kAll, true, true};
    if (i == clause.size()) return wrong();
    while (i < clause.size()) {
      const char what = clause[i++];
      if (what != '+' && what != '-' && what != '=') return wrong();
      mode_t bits = 0;
      for (; i < clause.size() && clause[i] != '+' && clause[i] != '-' && clause[i] != '='; ++i) {
        mode_t one = permission(clause[i], who, mode, directory);
        if (one == static_cast<mode_t>(-1)) return wrong();
        bits |= one;
      }
      if (what == '+') mode |= bits;
      if (what == '-') mode &= ~bits;
      if (what == '=') mode = (mode & ~who.mask) | bits;
    }
  }
  return mode;
}

Result<std::vector<CopyTop>> find_copies(Tree& tree, const CopySpec& spec) {
  return Finder(tree, spec).run();
}

Result<Digest> digest_copies(Tree& tree, const CopySpec& spec, const std::vector<CopyTop>& tops) {
  Sha256 hash;
  auto put = [&](std::string_view text) {
    hash.update(fmt::format("{}:", text.size()));
    hash.update(text);
  };
  for (const CopyTop& top : tops) {
    put(top.contents ? "contents" : "file");
    put(top.name);
    for (const CopyTop::Item& item : top.items) {
      const tar::Entry& entry = item.entry;
      put(item.relative);
      put(fmt::format("{} {:o}", static_cast<int>(entry.type), entry.mode));
      if (!spec.from_context)
        put(fmt::format("{} {} {} {}", entry.uid, entry.gid, entry.major, entry.minor));
      put(entry.link);
      for (const auto& [name, value] : entry.xattrs) put(name), put(value);
      if (entry.type != tar::Type::regular) continue;
      Digest contents = TRY(tree.digest(item.source));
      put(contents.text());
    }
  }
  return hash.finish();
}

// ---- writing

Result<std::optional<tar::Entry>> CopyWriter::stat(const std::string& path) {
  if (auto made = made_.find(path); made != made_.end())
    return std::optional<tar::Entry>(made->second);
  return target_.stat(path);
}

tar::Entry CopyWriter::stamped(tar::Entry entry) const {
  if (target_.exact_times || entry.mtime.tv_sec >= target_.latest)
    entry.mtime = {target_.latest, 0};
  return entry;
}

Status CopyWriter::set_attributes(tar::Entry& entry) const {
  if (target_.owner) entry.uid = target_.owner->uid, entry.gid = target_.owner->gid;
  if (target_.chmod.empty() || entry.type == tar::Type::symlink) return {};
  const bool directory = entry.type == tar::Type::directory;
  entry.mode = TRY(changed_mode(target_.chmod, entry.mode, directory));
  return {};
}

Status CopyWriter::begin(tar::Entry entry, const std::string& path) {
  entry.path = path;
  entry = stamped(std::move(entry));
  TRY(writer_.begin(entry));
  made_[path] = std::move(entry);
  return {};
}

// mkdir -p, of a path without links.
Status CopyWriter::make_directories(const std::string& path) {
  for (size_t at = 0; at < path.size();) {
    size_t end = std::min(path.find('/', at), path.size());
    std::string part = path.substr(0, end);
    at = end + 1;
    std::optional<tar::Entry> there = TRY(stat(part));
    if (there && there->type == tar::Type::directory) continue;
    if (there) return invalid("cannot copy to non-directory: /{}", part);
    tar::Entry entry;
    entry.type = tar::Type::directory;
    entry.mode = 0755;
    if (target_.owner) entry.uid = target_.owner->uid, entry.gid = target_.owner->gid;
    entry.mtime = {target_.latest, 0};
    TRY(begin(std::move(entry), part));
  }
  return {};
}

// Of a directory that is there; it is never replaced by a link (see copies()).
Result<std::string> CopyWriter::real_directory(const std::string& path) {
  auto known = resolved_.find(path);
  if (known != resolved_.end()) return std::string(known->second);
  std::string real = TRY(resolve([&](const std::string& at) { return stat(at); }, path));
  resolved_[path] = real;
  return real;
}

// Where a file called `name` goes: into the destination when that is a directory, or is to be one.
Result<std::string> CopyWriter::target_of(const CopySpec& spec, const std::string& name) {
  auto look = [&](const std::string& path) { return stat(path); };
  std::string path = TRY(resolve(look, spec.destination));
  if (spec.into_directory) {
    TRY(make_directories(path));
    return join(path, name);
  }
  std::optional<tar::Entry> there = TRY(stat(path));
  if (there && there->type == tar::Type::directory) return join(path, name);
  size_t slash = path.rfind('/');
  if (slash != path.npos) TRY(make_directories(path.substr(0, slash)));
  return path;
}

Status CopyWriter::copies(Tree& tree, const CopySpec& spec, const std::vector<CopyTop>& tops) {
  auto look = [&](const std::string& path) { return stat(path); };
  std::string buffer(64u << 10, '\0');
  for (const CopyTop& top : tops) {
    std::string base;
    if (top.contents) {
      base = TRY(resolve(look, spec.destination));
      TRY(make_directories(base));
    } else {
      base = TRY(target_of(spec, top.name));
    }
    for (const CopyTop::Item& item : top.items) {
      tar::Entry entry = item.entry;
      const bool directory = entry.type == tar::Type::directory;
      if (spec.from_context) entry.uid = entry.gid = 0;
      TRY(set_attributes(entry));
      std::string path = join(base, item.relative);
      // A directory of the same name is gone into, and so is one that a link leads to.
      if (size_t slash = path.rfind('/'); slash != path.npos)
        path = join(TRY(real_directory(path.substr(0, slash))), path.substr(slash + 1));
      std::optional<tar::Entry> there = TRY(stat(path));
      if (directory && there && there->type == tar::Type::symlink) {
        path = TRY(resolve(look, path));
        there = TRY(stat(path));
      }
      const bool onto_directory = there && there->type == tar::Type::directory;
      if (directory && there && !onto_directory)
        return invalid("cannot copy to non-directory: /{}", path);
      if (!directory && onto_directory)
        return invalid("cannot replace to directory /{} with file", path);
      if (path.empty()) continue;  // the root stays as it is
      const uint64_t size = entry.size;
      const bool contents = entry.type == tar::Type::regular && size > 0;
      TRY(begin(std::move(entry), path));
      if (!contents) continue;
      std::unique_ptr<ByteSource> source = TRY(tree.open(item.source));
      for (uint64_t left = size; left > 0;) {
        size_t got = TRY(source->read(buffer));
        if (got == 0) return invalid("{}: it became shorter while it was read", item.source);
        got = static_cast<size_t>(std::min<uint64_t>(got, left));
        TRY(writer_.write({buffer.data(), got}));
        left -= got;
      }
    }
  }
  return {};
}

Status CopyWriter::file(const CopySpec& spec, const std::string& name, mode_t mode,
                        std::string_view text) {
  MemorySource source(text);
  return file(spec, name, mode, text.size(), source);
}

Status CopyWriter::file(const CopySpec& spec, const std::string& name, mode_t mode, uint64_t size,
                        ByteSource& contents) {
  tar::Entry entry;
  entry.mode = mode;
  entry.size = size;
  entry.mtime = {target_.latest, 0};
  TRY(set_attributes(entry));
  std::string path = TRY(target_of(spec, name));
  std::optional<tar::Entry> there = TRY(stat(path));
  if (there && there->type == tar::Type::directory)
    return invalid("cannot replace to directory /{} with file", path);
  TRY(begin(std::move(entry), path));
  std::string buffer(64u << 10, '\0');
  for (uint64_t left = size; left > 0;) {
    size_t got = TRY(contents.read(buffer));
    if (got == 0) return internal("{}: shorter than it was said to be", path);
    TRY(writer_.write({buffer.data(), got}));
    left -= got;
  }
  return {};
}

Status CopyWriter::unpack(const CopySpec& spec, ByteSource& archive) {
  auto look = [&](const std::string& path) { return stat(path); };
  std::string base = TRY(resolve(look, spec.destination));
  TRY(make_directories(base));
  tar::Reader reader(archive);
  for (;;) {
    std::optional<tar::Entry> entry = TRY(reader.next());
    if (!entry) return reader.finish();
    std::optional<std::string> inside = tar::clean_path(entry->path);
    if (!inside) return invalid("{}: the name leads out of the archive", entry->path);
    if (inside->empty()) continue;
    if (base_name(*inside).starts_with(".wh."))
      return invalid("{}: a layer cannot hold names that begin with .wh.", *inside);
    if (entry->extents) return invalid("{}: sparse files are not taken", *inside);
    // Links of the archive lead within the file system that it becomes part of.
    std::string path = join(base, *inside);
    if (size_t slash = path.rfind('/'); slash != path.npos) {
      std::string parent = TRY(real_directory(path.substr(0, slash)));
      TRY(make_directories(parent));
      path = join(parent, path.substr(slash + 1));
    }
    std::optional<tar::Entry> there = TRY(stat(path));
    const bool directory = entry->type == tar::Type::directory;
    if (directory && there && there->type == tar::Type::symlink) {
      path = TRY(resolve(look, path));
      there = TRY(stat(path));
    }
    if (!directory && there && there->type == tar::Type::directory)
      return invalid("cannot replace to directory /{} with file", path);
    if (path.empty()) continue;
    if (entry->type == tar::Type::hardlink) {
      std::optional<std::string> link = tar::clean_path(entry->link);
      std::string target = link ? TRY(resolve(look, join(base, *link))) : "";
      if (!link || !made_.contains(target))
        return invalid("{}: a link to {}, which is not before it in the archive", *inside,
                       entry->link);
      entry->link = target;
    }
    TRY(set_attributes(*entry));
    TRY(begin(std::move(*entry), path));
    for (;;) {
      std::string_view piece = TRY(reader.payload());
      if (piece.empty()) break;
      TRY(writer_.write(piece));
    }
  }
}

Status CopyWriter::directory(const std::string& path) {
  std::string real = TRY(resolve([&](const std::string& at) { return stat(at); }, path));
  return make_directories(real);
}

}  // namespace gantry::builder
