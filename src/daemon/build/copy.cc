// COPY and ADD.
#include <fcntl.h>

#include "base/failpoint.h"
#include "base/sys.h"
#include "daemon/build/stage.h"
#include "daemon/image_download.h"
#include "daemon/images.h"
#include "daemon/options.h"
#include "drivers/graph/graph_driver.h"
#include "image/compression.h"
#include "libcontainer/user.h"

namespace gantry::daemon {
namespace {

bool is_url(const std::string& text) {
  return text.starts_with("http://") || text.starts_with("https://");
}

bool is_git(const std::string& text) {
  return text.starts_with("git@") || text.starts_with("git://") || text.starts_with("ssh://") ||
         (is_url(text) && text.substr(0, text.find('#')).ends_with(".git"));
}

std::string shown(const builder::CopyInstruction& what, const std::vector<std::string>& sources,
                  const std::string& destination) {
  std::string out = what.add ? "ADD" : "COPY";
  if (!what.from.empty()) out += " --from=" + what.from;
  if (!what.chown.empty()) out += " --chown=" + what.chown;
  if (!what.chmod.empty()) out += " --chmod=" + what.chmod;
  if (what.link) out += " --link";
  if (what.parents) out += " --parents";
  for (const std::string& source : sources) out += " " + source;
  for (const builder::Heredoc& heredoc : what.files) out += " <<" + heredoc.name;
  return out + " " + destination;
}

// --chown as it is looked up in the file system below. A group that is not given has the user's
// number.
Result<builder::CopyOwner> owner_of(const Beneath& root, const std::string& text) {
  libcontainer::UserSpec spec;
  spec.user = text;
  libcontainer::ResolvedUser found =
      TRY(libcontainer::resolve_user(root, spec).context("unable to convert uid/gid chown string"));
  builder::CopyOwner owner{found.user.uid, found.user.gid};
  if (text.find(':') == text.npos) owner.gid = owner.uid;
  return owner;
}

// Whether a file is an archive, plain or compressed, as ADD unpacks it.
bool is_archive(builder::Tree& tree, const std::string& path) {
  Result<std::unique_ptr<ByteSource>> source = tree.open(path);
  if (!source) return false;
  Result<image::Decompressed> plain = image::decompress(**source);
  if (!plain) return false;
  tar::Reader reader(*plain->source);
  Result<std::optional<tar::Entry>> first = reader.next();
  return first && first->has_value();
}

}  // namespace

Result<StageBuilder::Target> StageBuilder::target_of(engine::JobContext& job,
                                                     const builder::CopyInstruction& what,
                                                     bool exact_times) {
  Target out;
  // --link copies onto nothing: what is below does not matter, and is not looked at.
  out.tree =
      TRY(RootTree::mount(job, daemon_.graph_driver(), what.link ? Digest() : built_.chain));
  RootTree* tree = out.tree.get();
  out.target.stat = [tree](const std::string& path) { return tree->stat(path); };
  out.target.latest = built_.epoch;
  out.target.exact_times = exact_times;
  if (!what.chown.empty()) {
    const std::string& text = what.chown;
    if (what.link && text.find_first_not_of("0123456789:") != text.npos) {
      std::unique_ptr<RootTree> below =
          TRY(RootTree::mount(job, daemon_.graph_driver(), built_.chain));
      out.target.owner = TRY(owner_of(below->root(), text));
    } else {
      out.target.owner = TRY(owner_of(tree->root(), text));
    }
  }
  out.target.chmod = what.chmod;
  return out;
}

Status StageBuilder::copy(const builder::CopyInstruction& written) {
  TRY(failpoint("build.copy"));
  builder::CopyInstruction what = written;
  for (std::string* text : {&what.chown, &what.chmod, &what.from, &what.checksum})
    *text = TRY(built_.state.word(*text));
  if (!what.chmod.empty()) TRY(builder::changed_mode(what.chmod, 0, false));
  builder::CopySpec spec;
  spec.instruction = what.add ? "ADD" : "COPY";
  spec.sources = TRY(built_.state.words(what.sources));
  spec.exclude = TRY(built_.state.words(what.exclude));
  spec.parents = what.parents;
  spec.from_context = what.from.empty();
  std::string destination = TRY(built_.state.word(what.destination));
  spec.into_directory = destination.ends_with('/') || destination == "." ||
                        destination.ends_with("/.");
  spec.destination = built_.state.absolute(destination);
  const std::string history = shown(what, spec.sources, destination);
  std::vector<std::string> urls;
  if (what.add)
    for (const std::string& source : spec.sources) {
      if (is_git(source))
        return unsupported("ADD {}: git repositories are not fetched: clone it into the context",
                           source);
      if (is_url(source)) urls.push_back(source);
    }
  if (spec.sources.size() + what.files.size() > 1 && !spec.into_directory)
    return invalid(
        "When using {} with more than one source file, the destination must be a directory and end "
        "with a /",
        spec.instruction);
  if (!urls.empty()) {
    if (urls.size() > 1 || spec.sources.size() > 1 || !what.files.empty())
      return unsupported("ADD takes one URL, and nothing beside it: use an ADD for each");
    return add_url(what, spec, urls[0], history);
  }
  if (!what.checksum.empty())
    return invalid("checksum can't be specified for non-HTTP(S) sources");
  return copy_local(what, std::move(spec), history);
}

Status StageBuilder::copy_local(const builder::CopyInstruction& what, builder::CopySpec spec,
                                const std::string& history) {
  std::vector<std::pair<std::string, std::string>> files;
  for (const builder::Heredoc& heredoc : what.files) {
    std::string text = heredoc.content;
    if (heredoc.expand)
      text = TRY(builder::expand_text(
          text, [&](std::string_view name) { return built_.state.variable(name); },
          built_.state.escape));
    files.emplace_back(heredoc.name, std::move(text));
  }
  const std::string& from = what.from;
  Digest source_chain;
  if (!from.empty()) source_chain = TRY(chain_of(from));

  auto base = [&](std::string_view kind) {
    BuildKey out = key(kind);
    out.add(what.link ? "link" : "");
    out.add(spec.instruction).add(spec.destination).add(spec.into_directory ? "/" : "");
    out.add(what.chown).add(what.chmod).add(what.parents ? "parents" : "");
    out.add(what.unpack ? (*what.unpack ? "unpack" : "packed") : "");
    for (const auto& [name, text] : files) out.add(name).add(text);
    return out;
  };

  // From a stage: its layers are named by content, so nothing has to be read to know that nothing
  // has changed; and when something else in it has, what is copied decides.
  std::unique_ptr<RootTree> stage_tree;
  std::vector<builder::CopyTop> tops;
  auto find = [&](engine::JobContext& job) -> Result<builder::Tree*> {
    builder::Tree* tree = run_.context.get();
    if (!from.empty()) {
      stage_tree = TRY(RootTree::mount(job, daemon_.graph_driver(), source_chain));
      tree = stage_tree.get();
    }
    tops = TRY(builder::find_copies(*tree, spec));
    if (tops.size() + files.size() > 1 && !spec.into_directory)
      return invalid(
          "When using {} with more than one source file, the destination must be a directory and "
          "end with a /",
          spec.instruction);
    return tree;
  };
  auto write = [&](engine::JobContext& job,
                   builder::Tree* tree) -> Result<image::BuiltLayer> {
    Target target = TRY(target_of(job, what, from.empty()));
    const bool exact = target.target.exact_times;
    const bool unpack = what.add && what.unpack.value_or(true);
    std::vector<builder::CopyTop> archives;
    std::vector<builder::CopyTop> plain;
    for (builder::CopyTop& top : tops) {
      const bool packed = unpack && !top.contents && top.items.size() == 1 &&
                          top.items[0].entry.type == tar::Type::regular &&
                          is_archive(*tree, top.items[0].source);
      (packed ? archives : plain).push_back(std::move(top));
    }
    auto write_layer = [&](ByteSink& out) -> Status {
      builder::CopyWriter writer(out, std::move(target.target));
      if (!plain.empty()) TRY(writer.copies(*tree, spec, plain));
      for (const auto& [name, text] : files) TRY(writer.file(spec, name, 0644, text));
      writer.set_exact_times(false);  // times within an archive are part of its contents
      for (const builder::CopyTop& top : archives) {
        std::unique_ptr<ByteSource> packed = TRY(tree->open(top.items[0].source));
        image::Decompressed archive = TRY(image::decompress(*packed));
        TRY(writer.unpack(spec, *archive.source).context("ADD {}", top.name));
      }
      writer.set_exact_times(exact);
      return writer.finish();
    };
    return daemon_.images().store().add_layer(job, built_.chain, write_layer);
  };
  const std::string type = from.empty() ? "source.local" : "regular";
  if (from.empty()) {
    builder::Tree* tree = TRY(find(job_));
    Digest contents = TRY(builder::digest_copies(*tree, spec, tops));
    return operation(base("copy").add(contents.text()).finish(), type, history,
                     [&](engine::JobContext& job) { return write(job, tree); });
  }
  BuildKey quick = base("copy-from");
  quick.add(source_chain.text()).add(spec.sources).add(spec.exclude);
  return operation(quick.finish(), type, history,
                   [&](engine::JobContext& job) -> Result<image::BuiltLayer> {
                     builder::Tree* tree = TRY(find(job));
                     Digest contents = TRY(builder::digest_copies(*tree, spec, tops));
                     const std::string slow =
                         base("copy-contents").add(contents.text()).finish();
                     if (!run_.input.no_cache) {
                       auto known = TRY(builds_.cache().find(job, slow, run_.job));
                       if (known) return std::move(*known);
                     }
                     image::BuiltLayer made = TRY(write(job, tree));
                     BuildStep::Input second;
                     second.key = slow;
                     second.type = type;
                     second.description = history;
                     second.build = run_.job;
                     builds_.cache().keep(job, second, made, built_.chain.text());
                     return made;
                   });
}

Status StageBuilder::add_url(const builder::CopyInstruction& what, const builder::CopySpec& spec,
                             const std::string& url, const std::string& history) {
  std::string name = url.substr(0, url.find_first_of("?#"));
  name = name.substr(name.find("://") + 3);
  size_t slash = name.rfind('/');
  name = slash == name.npos ? "" : name.substr(slash + 1);
  if (name.empty() && spec.into_directory)
    return invalid("cannot determine filename for source {}", url);
  if (name.starts_with(".wh."))
    return invalid("ADD {}: a layer cannot hold names that begin with .wh.", url);
  std::optional<Digest> wanted;
  if (!what.checksum.empty()) {
    wanted = TRY(Digest::parse(what.checksum).context("ADD --checksum"));
  }
  UniqueFd spool;
  uint64_t size = 0;
  auto fetch = [&](engine::JobContext& job) -> Result<Digest> {
    const int cancel_fd = TRY(job.cancel().fd());
    std::unique_ptr<ImageDownload> download = TRY(ImageDownload::create(
        builds_.agent(), url, daemon_.options().max_layer_size, cancel_fd));
    spool = TRY(sys::open(daemon_.options().data_root + "/tmp", O_TMPFILE | O_RDWR, 0600));
    Sha256 hash;
    std::vector<char> buffer(64u << 10);
    for (;;) {
      TRY(job.check());
      size_t got = TRY(download->read(buffer).context("ADD {}", url));
      if (got == 0) break;
      size += got;
      hash.update({buffer.data(), got});
      TRY(sys::write_all(spool.get(), {buffer.data(), got}));
      while (std::optional<json::object> line = download->progress())
        run_.output.event(place_, std::move(*line));
    }
    Digest digest = hash.finish();
    if (wanted && digest != *wanted)
      return invalid("digest mismatch {}: {}", digest.text(), wanted->text());
    return digest;
  };
  Digest contents = wanted ? *wanted : TRY(fetch(job_));
  BuildKey operation_key = key("add-url");
  operation_key.add(contents.text()).add(spec.destination).add(spec.into_directory ? name : "");
  operation_key.add(name).add(what.chown).add(what.chmod);
  operation_key.add(what.unpack.value_or(false) ? "unpack" : "").add(what.link ? "link" : "");
  return operation(
      operation_key.finish(), "source.http", history,
      [&](engine::JobContext& job) -> Result<image::BuiltLayer> {
        if (!spool) TRY(fetch(job));
        Target target = TRY(target_of(job, what, true));
        return daemon_.images().store().add_layer(
            job, built_.chain, [&](ByteSink& out) -> Status {
              builder::CopyWriter writer(out, std::move(target.target));
              FileRangeSource file(spool.get(), 0, size);
              if (what.unpack.value_or(false)) {
                image::Decompressed archive = TRY(image::decompress(file));
                writer.set_exact_times(false);
                TRY(writer.unpack(spec, *archive.source).context("ADD {}", url));
              } else {
                TRY(writer.file(spec, name, 0600, size, file));
              }
              return writer.finish();
            });
      });
}

}  // namespace gantry::daemon
