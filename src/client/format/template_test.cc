#include "client/format/template.h"

#include <gtest/gtest.h>

namespace gantry::client {
namespace {

const json::value& document() {
  static const json::value value = *json::parse(R"({
    "Id": "abc", "Name": "/r1", "Count": 3, "Ratio": 1.5, "Big": 1e21, "On": true,
    "State": {"Status": "exited", "Running": false, "ExitCode": 0},
    "Config": {"Env": ["A=1", "B=2"], "Cmd": null, "Labels": {"z": "1", "a": "2"}},
    "Mounts": [], "Ports": {"80/tcp": [{"HostIp": "", "HostPort": "8080"}]}})");
  return value;
}

std::string run(std::string_view text, MissingField missing = MissingField::no_entry) {
  auto parsed = Template::parse(text);
  if (!parsed) return parsed.error().message();
  auto out = parsed->execute(document(), {.missing = missing, .type_name = "T"});
  return out ? *out : out.error().message();
}

TEST(Template, FieldsAndHowGoPrintsThem) {
  EXPECT_EQ(run("{{.Id}} {{.Count}} {{.Ratio}} {{.Big}} {{.On}}"), "abc 3 1.5 1e+21 true");
  EXPECT_EQ(run("{{.State}}"), "{exited false 0}");
  EXPECT_EQ(run("{{.Config.Env}} {{.Config.Cmd}} {{.Config.Labels}} {{.Mounts}}"),
            "[A=1 B=2] [] map[a:2 z:1] []");
  EXPECT_EQ(run("{{.Ports}}"), "map[80/tcp:[{ 8080}]]");
  EXPECT_EQ(run("{{.Config.Labels.z}} {{.Config.Labels.nosuch}}"), "1 <no value>");
}

TEST(Template, JsonIsCompactAndKeepsTheOrder) {
  EXPECT_EQ(run("{{json .State}}"), R"({"Status":"exited","Running":false,"ExitCode":0})");
  EXPECT_EQ(run("{{.Name | json}}"), R"("/r1")");
}

TEST(Template, RangesIfsAndWiths) {
  EXPECT_EQ(run("{{range .Config.Env}}[{{.}}]{{end}}"), "[A=1][B=2]");
  EXPECT_EQ(run("{{range $i, $v := .Config.Env}}{{$i}}={{$v}};{{end}}"), "0=A=1;1=B=2;");
  EXPECT_EQ(run("{{range $k, $v := .Config.Labels}}{{$k}}{{$v}} {{end}}"), "a2 z1 ");
  EXPECT_EQ(run("{{range .Mounts}}x{{else}}none{{end}}"), "none");
  EXPECT_EQ(run("{{range .Config.Env}}{{break}}{{end}}|{{range .Config.Env}}{{continue}}x{{end}}"),
            "|");
  EXPECT_EQ(run("{{if .State.Running}}up{{else if eq .State.ExitCode 0}}done{{else}}bad{{end}}"),
            "done");
  EXPECT_EQ(run("{{with .Config}}{{index .Env 1}}{{end}} {{with .Mounts}}x{{else}}y{{end}}"),
            "B=2 y");
  EXPECT_EQ(run("{{with .Config}}{{$.Id}}{{end}}"), "abc");
}

TEST(Template, VariablesAreScopedAndCanBeSet) {
  EXPECT_EQ(run("{{$x := 1}}{{if true}}{{$x = 2}}{{end}}{{$x}}"), "2");
  EXPECT_EQ(run("{{$x := 1}}{{if true}}{{$x := 2}}{{end}}{{$x}}"), "1");
  EXPECT_EQ(run("{{$y}}"), "template: :1: undefined variable \"$y\"");
}

TEST(Template, TrimMarkersAndComments) {
  EXPECT_EQ(run("a  {{- .Count -}}  b"), "a3b");
  EXPECT_EQ(run("a{{/* no */}}b{{- /* no */ -}} c"), "abc");
}

TEST(Template, Functions) {
  EXPECT_EQ(run("{{join .Config.Env \",\"}} {{split \"a:b\" \":\"}} {{upper .Id}} {{lower \"X\"}} "
                "{{title \"a b\"}}"),
            "A=1,B=2 [a b] ABC x A B");
  EXPECT_EQ(run("{{pad .Id 1 2}}|{{truncate .Id 2}}|{{truncate .Id 9}}"), " abc  |ab|abc");
  EXPECT_EQ(run("{{len .Config.Env}} {{len .Id}} {{slice .Id 1 2}} {{index .Ports \"80/tcp\" 0}}"),
            "2 3 b { 8080}");
  EXPECT_EQ(
      run("{{printf \"%s-%d|%-5s|%5s|%05d|%q|%.2f|%v%%\" .Id 7 \"a\" \"b\" 42 \"x\" 1.5 .On}}"),
      "abc-7|a    |    b|00042|\"x\"|1.50|true%");
  EXPECT_EQ(run("{{println 1 2}}{{print \"a\" 1 2 \"b\"}}"), "1 2\na1 2b");
  EXPECT_EQ(run("{{and .On .Id}} {{or false \"x\"}} {{not .On}}"), "abc x false");
  EXPECT_EQ(run("{{eq .Id \"x\" \"abc\"}} {{ne 1 2}} {{lt 1 2}} {{le 2 2}} {{gt 1 2}} {{ge \"b\" "
                "\"a\"}}"),
            "true true true true false true");
  EXPECT_EQ(run("{{.Id | upper | printf \"%s!\"}}"), "ABC!");
  EXPECT_EQ(run("{{(index .Config.Env 0) | len}}"), "3");
}

TEST(Template, AndStopsBeforeWhatWouldFail) {
  EXPECT_EQ(run("{{if and (gt (len .Mounts) 0) (index .Mounts 0)}}x{{end}}ok"), "ok");
}

TEST(Template, ErrorsAreWordedAsGoWordsThem) {
  EXPECT_EQ(run("{{.Foo}}"),
            "template: :1:2: executing \"\" at <.Foo>: map has no entry for key \"Foo\"");
  EXPECT_EQ(run("{{.Foo}}", MissingField::error),
            "template: :1:2: executing \"\" at <.Foo>: can't evaluate field Foo in type T");
  EXPECT_EQ(
      run("{{.Id.Foo}}"),
      "template: :1:5: executing \"\" at <.Id.Foo>: can't evaluate field Foo in type interface {}");
  EXPECT_EQ(run("{{.State.Health.Status}}"),
            "template: :1:8: executing \"\" at <.State.Health.Status>: map has no entry for key "
            "\"Health\"");
  EXPECT_EQ(run("{{.Foo"), "template: :1: unclosed action");
  EXPECT_EQ(run("{{range .Mounts}}"), "template: :1: unexpected EOF");
  EXPECT_EQ(run("{{end}}"), "template: :1: unexpected {{end}}");
  EXPECT_EQ(run("{{foo .}}"), "template: :1: function \"foo\" not defined");
  EXPECT_EQ(run("{{\"x}}"), "template: :1: unterminated quoted string");
}

TEST(Template, AnOptionalMemberThatIsAbsentIsFalse) {
  EXPECT_EQ(run("{{if .State.Health}}x{{else}}y{{end}}"), "y");
}

TEST(Template, DeepNestingIsRefused) {
  std::string text;
  for (int i = 0; i < 100000; ++i) text += "{{if true}}";
  EXPECT_EQ(run(text), "template: :1: exceeded maximum nesting depth");
  std::string brackets = "{{" + std::string(100000, '(');
  EXPECT_FALSE(Template::parse(brackets));
}

}  // namespace
}  // namespace gantry::client
