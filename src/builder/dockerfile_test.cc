#include "builder/dockerfile.h"

#include <gtest/gtest.h>

namespace gantry::builder {
namespace {

template <typename T>
const T& as(const Instruction& instruction) {
  return std::get<T>(instruction.what);
}
// The only instruction behind a FROM.
Instruction one(const std::string& text) {
  auto file = Dockerfile::parse("FROM scratch\n" + text);
  EXPECT_TRUE(file) << file.error().message();
  if (!file || file->stages[0].instructions.empty()) return {};
  return file->stages[0].instructions[0];
}
std::string error_of(const std::string& text) {
  auto file = Dockerfile::parse(text);
  return file ? "no error" : file.error().message();
}

TEST(Dockerfile, DirectivesCommentsAndContinuation) {
  auto file = Dockerfile::parse(
      "# syntax=docker/dockerfile:1\n# escape=`\n# check=skip=all\n# a comment\n\nARG v=1\nFROM "
      "a:$v AS Base\n"
      "RUN one `\n  # not of it\n\n  two\\\nFROM base\n");
  ASSERT_TRUE(file) << file.error().message();
  EXPECT_EQ(file->syntax, "docker/dockerfile:1");
  EXPECT_EQ(file->check, "skip=all");
  EXPECT_EQ(file->escape, '`');
  ASSERT_EQ(file->global_arguments.size(), 1u);
  ASSERT_EQ(file->stages.size(), 2u);
  EXPECT_EQ(file->stages[0].from.name, "base");
  EXPECT_EQ(file->stages[0].from.image, "a:$v");
  EXPECT_EQ(as<RunInstruction>(file->stages[0].instructions[0]).command.words[0], "one   two\\");
  EXPECT_EQ(file->stages[0].instructions[0].line, 8);
  EXPECT_EQ(file->stages[0].instructions[0].end_line, 11);
}

TEST(Dockerfile, ADirectiveBehindACommentIsAComment) {
  auto file = Dockerfile::parse("# hello\n# escape=`\nFROM a\nRUN x \\\n y\n");
  ASSERT_TRUE(file);
  EXPECT_EQ(file->escape, '\\');
  EXPECT_EQ(as<RunInstruction>(file->stages[0].instructions[0]).command.words[0], "x  y");
}

TEST(Dockerfile, ShellAndExecForms) {
  EXPECT_TRUE(as<RunInstruction>(one("RUN echo [\"a\"]")).command.shell);
  auto exec = as<CmdInstruction>(one("CMD [\"a b\", \"c\"]")).command;
  EXPECT_FALSE(exec.shell);
  EXPECT_EQ(exec.words, (std::vector<std::string>{"a b", "c"}));
  EXPECT_TRUE(as<EntrypointInstruction>(one("ENTRYPOINT ['a']")).command.shell);
  EXPECT_EQ(as<CopyInstruction>(one("COPY [\"a b\", \"/c d/\"]")).destination, "/c d/");
  EXPECT_EQ(as<ShellInstruction>(one("SHELL [\"/bin/bash\", \"-c\"]")).words.size(), 2u);
}

TEST(Dockerfile, Heredocs) {
  auto run = as<RunInstruction>(one("RUN <<EOF\necho $a\n\n# kept\nEOF\n"));
  ASSERT_EQ(run.command.heredocs.size(), 1u);
  EXPECT_EQ(run.command.heredocs[0].content, "echo $a\n\n# kept\n");
  EXPECT_TRUE(run.command.heredocs[0].expand);
  auto copy = as<CopyInstruction>(one("COPY <<-'a' <<\"b\" x /to/\n\t\tin a\n\ta\nin b\nb\n"));
  ASSERT_EQ(copy.files.size(), 2u);
  EXPECT_EQ(copy.files[0].content, "in a\n");
  EXPECT_FALSE(copy.files[0].expand);
  EXPECT_EQ(copy.files[1].content, "in b\n");
  EXPECT_EQ(copy.sources, std::vector<std::string>{"x"});
  EXPECT_EQ(error_of("FROM a\nRUN <<EOF\nfoo\n"),
            "dockerfile parse error on line 2: unterminated heredoc EOF");
  EXPECT_TRUE(as<RunInstruction>(one("RUN cat <<<word")).command.heredocs.empty());
}

TEST(Dockerfile, FlagsOfCopyAndAdd) {
  auto copy = as<CopyInstruction>(one(
      "COPY --from=x --chown=1:2 --chmod=0644 --link --parents --exclude=*.o --exclude=b a /c"));
  EXPECT_EQ(copy.from, "x");
  EXPECT_EQ(copy.chown, "1:2");
  EXPECT_EQ(copy.chmod, "0644");
  EXPECT_TRUE(copy.link && copy.parents);
  EXPECT_EQ(copy.exclude.size(), 2u);
  auto add = as<CopyInstruction>(
      one("ADD --checksum=sha256:00 --keep-git-dir=false --unpack=true http://a/b /c"));
  EXPECT_TRUE(add.add);
  EXPECT_EQ(add.unpack, true);
  EXPECT_EQ(error_of("FROM a\nCOPY --form=x a b"),
            "dockerfile parse error on line 2: unknown flag: --form (did you mean --from?)");
  EXPECT_EQ(error_of("FROM a\nCOPY --link=maybe a b"),
            "dockerfile parse error on line 2: expecting boolean value for flag link, not: maybe");
}

TEST(Dockerfile, MountsOfRun) {
  auto run =
      as<RunInstruction>(one("RUN --network=none --mount=type=cache,target=/c,sharing=locked,id=i "
                             "--mount=source=a,dst=/b,rw "
                             "--mount=type=secret,id=s,required,env=E x"));
  ASSERT_EQ(run.mounts.size(), 3u);
  EXPECT_EQ(run.mounts[0].sharing, "locked");
  EXPECT_EQ(run.mounts[1].type, "bind");
  EXPECT_EQ(run.mounts[1].read_only, false);
  EXPECT_TRUE(run.mounts[2].required);
  EXPECT_EQ(run.network, "none");
  EXPECT_EQ(error_of("FROM a\nRUN --mount=type=volume,target=/a x"),
            "dockerfile parse error on line 2: unsupported mount type \"volume\"");
}

TEST(Dockerfile, TheRest) {
  EXPECT_EQ(as<EnvInstruction>(one("ENV a=1 b=\"x y\"")).pairs.size(), 2u);
  EXPECT_EQ(as<EnvInstruction>(one("ENV a b c")).pairs[0].second, "b c");
  EXPECT_EQ(as<LabelInstruction>(one("LABEL \"a b\"=c")).pairs[0].first, "\"a b\"");
  EXPECT_EQ(as<ArgInstruction>(one("ARG a b=2")).arguments[1].second, "2");
  EXPECT_EQ(as<ExposeInstruction>(one("EXPOSE 80 90/udp")).ports.size(), 2u);
  auto health =
      as<HealthcheckInstruction>(one("HEALTHCHECK --interval=5s --retries=3 CMD [\"x\"]"));
  EXPECT_EQ(health.interval, 5'000'000'000);
  EXPECT_EQ(health.retries, 3);
  EXPECT_TRUE(as<HealthcheckInstruction>(one("HEALTHCHECK none")).none);
  EXPECT_EQ(as<OnbuildInstruction>(one("ONBUILD RUN x")).trigger, "RUN x");
  EXPECT_EQ(as<WorkdirInstruction>(one("WORKDIR /a b")).path, "/a b");
  EXPECT_EQ(as<StopsignalInstruction>(one("stopsignal 9")).signal, "9");
  EXPECT_EQ(as<MaintainerInstruction>(one("MAINTAINER a b")).name, "a b");
}

TEST(Dockerfile, WhatIsWrongIsNamed) {
  EXPECT_EQ(error_of("FROM a\nRUNN x"),
            "dockerfile parse error on line 2: unknown instruction: RUNN (did you mean RUN?)");
  EXPECT_EQ(error_of(""), "dockerfile parse error: file with no instructions");
  EXPECT_EQ(error_of("RUN x"),
            "dockerfile parse error on line 1: no build stage in current context");
  EXPECT_EQ(error_of("ARG x"), "dockerfile parse error: no build stage: there is no FROM");
  EXPECT_EQ(error_of("FROM a b"),
            "dockerfile parse error on line 1: FROM requires either one or three arguments");
  EXPECT_EQ(error_of("FROM a AS 1b").substr(0, 62),
            "dockerfile parse error on line 1: invalid name for build stage");
  EXPECT_EQ(error_of("FROM a AS b\nFROM a AS B").substr(0, 50),
            "dockerfile parse error on line 2: duplicate name b");
  EXPECT_EQ(error_of("FROM a\nCOPY a").substr(0, 73),
            "dockerfile parse error on line 2: COPY requires at least two arguments, b");
  EXPECT_EQ(
      error_of("FROM a\nONBUILD ONBUILD RUN x"),
      "dockerfile parse error on line 2: chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed");
  EXPECT_EQ(error_of("FROM a\nSHELL x"),
            "dockerfile parse error on line 2: SHELL requires the arguments to be in JSON form");
  EXPECT_EQ(error_of("# escape=x\nFROM a"),
            "dockerfile parse error on line 1: invalid escape token 'x' does not match ` or \\");
  auto bad = Dockerfile::parse("FROM a\nRUNN x\n");
  ASSERT_FALSE(bad);
  EXPECT_EQ(line_of(bad.error()), 2);
  EXPECT_EQ(excerpt("Dockerfile", "FROM a\nRUNN x\n", 2),
            "Dockerfile:2\n--------------------\n   1 |     FROM a\n   2 | >>> RUNN "
            "x\n--------------------\n");
}

}  // namespace
}  // namespace gantry::builder
