#include "builder/copy.h"

#include <gtest/gtest.h>

#include "builder/context.h"

namespace gantry::builder {
namespace {

struct Given {
  std::string path, text = "", link = "";
  tar::Type type = tar::Type::regular;
  mode_t mode = 0644;
};
Given directory(std::string path) { return {std::move(path), "", "", tar::Type::directory, 0755}; }
Given link(std::string path, std::string target) {
  return {std::move(path), "", std::move(target), tar::Type::symlink, 0777};
}

std::string archive(const std::vector<Given>& files) {
  StringSink sink;
  tar::Writer writer(sink);
  for (const Given& given : files) {
    tar::Entry entry;
    entry.path = given.path;
    entry.type = given.type;
    entry.mode = given.mode;
    entry.link = given.link;
    entry.size = given.text.size();
    entry.uid = entry.gid = 1000;
    entry.mtime = {5000, 7};
    EXPECT_TRUE(writer.add(entry, given.text));
  }
  EXPECT_TRUE(writer.finish());
  return std::move(sink.bytes());
}

Result<std::unique_ptr<Context>> read(const std::vector<Given>& files) {
  std::string bytes = archive(files);
  MemorySource source(bytes);
  return Context::read(source, "/tmp", {}, [] { return Status(); });
}
std::unique_ptr<Context> context(const std::vector<Given>& files) {
  auto out = read(files);
  EXPECT_TRUE(out) << out.error().message();
  return out ? out.release() : Context::empty();
}

// What a copy puts into a layer over `below`, one "path mode uid time [text]" a line.
std::string copied(Tree& tree, CopySpec spec, Tree& below, CopyTarget target = {}) {
  auto tops = find_copies(tree, spec);
  if (!tops) return tops.error().message();
  StringSink sink;
  target.stat = [&](const std::string& path) { return below.stat(path); };
  CopyWriter writer(sink, std::move(target));
  if (Status done = writer.copies(tree, spec, *tops); !done) return done.error().message();
  EXPECT_TRUE(writer.finish());
  MemorySource source(sink.bytes());
  tar::Reader reader(source);
  std::string out;
  for (;;) {
    auto entry = reader.next();
    EXPECT_TRUE(entry);
    if (!entry || !*entry) return out;
    tar::Entry& one = **entry;
    if (one.path.ends_with('/')) one.path.pop_back();
    out += fmt::format("{} {:o} {} {}", one.path, one.mode, one.uid, one.mtime.tv_sec);
    if (!one.link.empty()) out += " -> " + one.link;
    std::string text;
    for (;;) {
      auto piece = reader.payload();
      if (!piece || piece->empty()) break;
      text += *piece;
    }
    out += (text.empty() ? "" : " " + text) + "\n";
  }
}
CopySpec spec(std::vector<std::string> sources, std::string destination) {
  CopySpec out;
  out.sources = std::move(sources);
  out.into_directory = destination.ends_with('/');
  out.destination = std::move(destination);
  return out;
}
CopyTarget at(int64_t seconds) {
  CopyTarget out;
  out.latest = seconds;
  out.exact_times = true;
  return out;
}

TEST(Context, ListsAndResolvesWhatAnArchiveHas) {
  auto tree = context({{"./a/b/c", "x"}, {"a-b", "y"}, link("l", "/a/b"), link("out", "../../etc")});
  EXPECT_EQ(*tree->list(""), (std::vector<std::string>{"a", "a-b", "l", "out"}));
  EXPECT_EQ(*tree->list("a"), (std::vector<std::string>{"b"}));
  EXPECT_EQ(*resolve(*tree, "l/c"), "a/b/c");
  EXPECT_EQ(*resolve(*tree, "out/passwd"), "etc/passwd");
  EXPECT_EQ(*tree->contents("l/c", 10), "x");
  EXPECT_EQ(tree->contents("out/passwd", 10).error().kind(), ErrorKind::not_found);
}

TEST(Context, RefusesNamesThatLeadOut) {
  auto tree = read({{"../x", "y"}});
  ASSERT_FALSE(tree);
  EXPECT_EQ(tree.error().kind(), ErrorKind::invalid);
}

TEST(Context, LinksInACircleAreAnError) {
  auto tree = context({link("a", "b"), link("b", "a")});
  EXPECT_FALSE(resolve(*tree, "a/x"));
}

TEST(Context, LeavesOutWhatIsIgnored) {
  auto tree = context({{"keep", ""}, {"m/a", ""}, {"m/b", ""}, {"logs/x.log", ""}});
  tree->ignore(*IgnoreList::parse("m\n!m/b\nlogs\n"));
  EXPECT_EQ(*tree->list(""), (std::vector<std::string>{"keep", "m"}));
  EXPECT_EQ(*tree->list("m"), (std::vector<std::string>{"b"}));
}

TEST(Copy, FileToDirectoryNameAndLink) {
  auto tree = context({{"f", "1"}});
  auto below = context({directory("dir"), link("there", "dir")});
  EXPECT_EQ(copied(*tree, spec({"f"}, "/new"), *below, at(9)), "new 644 0 9 1\n");
  EXPECT_EQ(copied(*tree, spec({"f"}, "/dir"), *below, at(9)), "dir/f 644 0 9 1\n");
  EXPECT_EQ(copied(*tree, spec({"f"}, "/there"), *below, at(9)), "dir/f 644 0 9 1\n");
  EXPECT_EQ(copied(*tree, spec({"f"}, "/x/y/"), *below, at(9)),
            "x 755 0 9\nx/y 755 0 9\nx/y/f 644 0 9 1\n");
}

TEST(Copy, TheContentsOfADirectory) {
  auto tree = context({directory("d"), {"d/f", "1"}, {"d/s/g", "2"}, link("d/l", "f")});
  auto below = context({});
  EXPECT_EQ(copied(*tree, spec({"d"}, "/to"), *below, at(1)),
            "to 755 0 1\nto/f 644 0 1 1\nto/l 777 0 1 -> f\nto/s 755 0 1\nto/s/g 644 0 1 2\n");
}

TEST(Copy, ADirectoryIsCopiedIntoWhatALinkLeadsTo) {
  auto tree = context({directory("r"), {"r/lib/f", "1"}});
  auto below = context({directory("usr/lib"), link("lib", "usr/lib")});
  EXPECT_EQ(copied(*tree, spec({"r"}, "/"), *below, at(1)),
            "usr/lib 755 0 1\nusr/lib/f 644 0 1 1\n");
}

TEST(Copy, NothingTakesTheOthersPlace) {
  auto tree = context({directory("d"), {"d/x/f", "1"}, {"x", "2"}});
  auto below = context({{"x", "file"}, directory("t/x")});
  EXPECT_EQ(copied(*tree, spec({"d"}, "/"), *below), "cannot copy to non-directory: /x");
  EXPECT_EQ(copied(*tree, spec({"x"}, "/t/"), *below), "cannot replace to directory /t/x with file");
}

TEST(Copy, WildcardsExcludesAndParents) {
  auto tree = context({{"a/1.txt", "1"}, {"a/2.txt", "2"}, {"a/3.md", "3"}, {"b/4.txt", "4"}});
  auto below = context({});
  EXPECT_EQ(copied(*tree, spec({"*/[12].txt"}, "/t/"), *below, at(1)),
            "t 755 0 1\nt/1.txt 644 0 1 1\nt/2.txt 644 0 1 2\n");
  CopySpec some = spec({"a"}, "/t/");
  some.exclude = {"*.txt"};
  EXPECT_EQ(copied(*tree, some, *below, at(1)), "t 755 0 1\nt/3.md 644 0 1 3\n");
  CopySpec parents = spec({"./a/./1.txt", "b/4.txt"}, "/t/");
  parents.parents = true;
  EXPECT_EQ(copied(*tree, parents, *below, at(1)),
            "t 755 0 1\nt/1.txt 644 0 1 1\nt/b 755 0 1\nt/b/4.txt 644 0 1 4\n");
}

TEST(Copy, WhatAContextCannotGive) {
  auto tree = context({{"f", "1"}, {"p", "", "", tar::Type::fifo}, {".wh.f", "x"}});
  auto below = context({});
  EXPECT_NE(copied(*tree, spec({"p"}, "/"), *below).find("device or a pipe"), std::string::npos);
  EXPECT_NE(copied(*tree, spec({"."}, "/"), *below).find(".wh."), std::string::npos);
  EXPECT_NE(copied(*tree, spec({"../f"}, "/"), *below).find("outside the build context"),
            std::string::npos);
  EXPECT_NE(copied(*tree, spec({"nothing"}, "/"), *below).find("file not found in build context"),
            std::string::npos);
}

TEST(Copy, TheDigestIsOfContentsAndNotOfTimesAndOwners) {
  auto digest = [](const std::vector<Given>& files) {
    auto tree = context(files);
    CopySpec all = spec({"/"}, "/x/");
    auto tops = find_copies(*tree, all);
    return digest_copies(*tree, all, *tops)->text();
  };
  EXPECT_EQ(digest({{"f", "1"}}), digest({{"f", "1"}}));
  EXPECT_NE(digest({{"f", "1"}}), digest({{"f", "2"}}));
  EXPECT_NE(digest({{"f", "1"}}), digest({{"g", "1"}}));
  EXPECT_NE(digest({{"f", "1"}}), digest({{"f", "1", "", tar::Type::regular, 0755}}));
  EXPECT_NE(digest({link("l", "a")}), digest({link("l", "b")}));
}

TEST(Copy, AnArchiveIsUnpackedWithinTheDestination) {
  auto below = context({directory("t"), link("t/away", "/etc")});
  std::string packed = archive({{"away/passwd", "x"}, {"f", "1"}});
  MemorySource source(packed);
  StringSink sink;
  CopyTarget target;
  target.stat = [&](const std::string& path) { return below->stat(path); };
  CopyWriter writer(sink, std::move(target));
  ASSERT_TRUE(writer.unpack(spec({}, "/t/"), source));
  ASSERT_TRUE(writer.finish());
  auto made = Context::empty();
  MemorySource layer(sink.bytes());
  made = Context::read(layer, "/tmp", {}, [] { return Status(); }).release();
  EXPECT_EQ(*made->list("etc"), (std::vector<std::string>{"passwd"}));  // of the image, not ours
  EXPECT_EQ(*made->contents("t/f", 10), "1");
  std::string hostile = archive({{"../../x", "1"}});
  MemorySource leading_out(hostile);
  StringSink nothing;
  CopyWriter other(nothing, {});
  EXPECT_FALSE(other.unpack(spec({}, "/"), leading_out));
}

TEST(Copy, Modes) {
  EXPECT_EQ(*changed_mode("0644", 0777, false), 0644u);
  EXPECT_EQ(*changed_mode("u=rwX,go=rX", 0600, false), 0644u);
  EXPECT_EQ(*changed_mode("u=rwX,go=rX", 0600, true), 0755u);
  EXPECT_EQ(*changed_mode("a+x", 0644, false), 0755u);
  EXPECT_EQ(*changed_mode("o-r,u+s", 0644, false), 04640u);
  for (const char* wrong : {"", "9", "77777", "u", "u?x", "u+q"})
    EXPECT_FALSE(changed_mode(wrong, 0, false)) << wrong;
}

}  // namespace
}  // namespace gantry::builder
