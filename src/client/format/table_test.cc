#include "client/format/table.h"

#include <gtest/gtest.h>

#include "client/commands/container_rows.h"
#include "client/format/json_text.h"

namespace gantry::client {
namespace {

TEST(Table, ColumnsAreAtLeastTenWideAndThreeApart) {
  EXPECT_EQ(align_columns("A\tB\nlonger than ten\tx\n"),
            "A                 B\nlonger than ten   x\n");
  EXPECT_EQ(align_columns("A\tB\n"), "A         B\n");
}

TEST(Table, WideCharactersCountTwice) {
  EXPECT_EQ(display_width("日本"), 4u);
  EXPECT_EQ(display_width("e\xCC\x81"), 1u);
  EXPECT_EQ(align_columns("日本語日本\tB\nx\ty\n"), "日本語日本   B\nx            y\n");
  EXPECT_EQ(ellipsis("日本語", 4), "日…");
  EXPECT_EQ(ellipsis("abc", 3), "abc");
  EXPECT_EQ(ellipsis("abcd", 3), "ab…");
}

Listing sample() {
  Listing listing;
  listing.type_name = "*formatter.X";
  listing.headings = {{"ID", "CONTAINER ID"}, {"Name", "NAME"}};
  listing.table = "{{.ID}}\t{{.Name}}";
  listing.rows = {json::object{{"Name", "<a>"}, {"ID", "1"}}};
  return listing;
}

TEST(Table, FormatsOfAList) {
  EXPECT_EQ(*render(sample(), ""), "CONTAINER ID   NAME\n1              <a>\n");
  EXPECT_EQ(*render(sample(), "table {{.Name}}\\t{{upper .ID}}"),
            "NAME      CONTAINER ID\n<a>       1\n");
  EXPECT_EQ(*render(sample(), "{{.ID}}: {{.Name}}"), "1: <a>\n");
  EXPECT_EQ(*render(sample(), "json"), "{\"ID\":\"1\",\"Name\":\"\\u003ca\\u003e\"}\n");
  EXPECT_EQ(render(sample(), "{{.Foo}}").error().message(),
            "failed to execute template: template: :1:2: executing \"\" at <.Foo>: can't evaluate "
            "field Foo in type *formatter.X");
}

json::array port_list(std::string_view text) { return json::parse(text)->as_array(); }

TEST(Ps, PortsAreCompressedIntoRanges) {
  EXPECT_EQ(display_ports(port_list(R"([{"PrivatePort":80,"Type":"tcp"}])")), "80/tcp");
  EXPECT_EQ(
      display_ports(port_list(R"([{"IP":"0.0.0.0","PrivatePort":80,"PublicPort":8080,"Type":"tcp"},
                                        {"IP":"::","PrivatePort":80,"PublicPort":8080,"Type":"tcp"}])")),
      "0.0.0.0:8080->80/tcp, [::]:8080->80/tcp");
  EXPECT_EQ(
      display_ports(port_list(R"([{"PrivatePort":80,"Type":"tcp"},{"PrivatePort":81,"Type":"tcp"},
                                        {"PrivatePort":90,"Type":"tcp"},{"PrivatePort":80,"Type":"udp"}])")),
      "80-81/tcp, 90/tcp, 80/udp");
  EXPECT_EQ(
      display_ports(port_list(R"([{"IP":"0.0.0.0","PrivatePort":80,"PublicPort":80,"Type":"tcp"},
                                        {"IP":"0.0.0.0","PrivatePort":81,"PublicPort":81,"Type":"tcp"}])")),
      "0.0.0.0:80-81->80-81/tcp");
}

TEST(Ps, RowsAreCutAndQuoted) {
  auto list = port_list(
      R"([{"Id":"0123456789abcdef","Names":["/a","/b/c"],"Image":"busybox","ImageID":"sha256:ff",
      "Command":"sh -c \"a long command line\"","Created":100,"Status":"Up 3 seconds","State":"running","Ports":[],
      "Labels":{"b":"2","a":"1"},"Mounts":[{"Type":"volume","Name":"0123456789abcdef0123","Driver":"local"}],
      "NetworkSettings":{"Networks":{"bridge":{}}}}])");
  json::object row = container_listing(list, Truncate::yes, 103'000000000).rows[0];
  EXPECT_EQ(row["ID"].as_string(), "0123456789ab");
  EXPECT_EQ(row["Names"].as_string(), "a");
  EXPECT_EQ(row["Command"].as_string(), "\"sh -c \\\"a long comma…\"");
  EXPECT_EQ(row["RunningFor"].as_string(), "3 seconds ago");
  EXPECT_EQ(row["Labels"].as_string(), "a=1,b=2");
  EXPECT_EQ(row["Mounts"].as_string(), "0123456789abcd…");
  EXPECT_EQ(row["LocalVolumes"].as_string(), "1");
  EXPECT_EQ(row["Networks"].as_string(), "bridge");
  json::object whole = container_listing(list, Truncate::no, 103'000000000).rows[0];
  EXPECT_EQ(whole["Names"].as_string(), "a,b/c");
}

TEST(JsonText, IndentingKeepsEveryByteOfTheValues) {
  EXPECT_EQ(indent_json(R"([{"a":1.50,"b":[],"c":{},"d":[1,"x\"}"]}])", "    "),
            "[\n    {\n        \"a\": 1.50,\n        \"b\": [],\n        \"c\": {},\n        "
            "\"d\": [\n            1,\n            \"x\\\"}\"\n        ]\n    }\n]");
  EXPECT_EQ(compact_json("{ \"a b\" : [ 1 , 2 ] }\n"), "{\"a b\":[1,2]}");
}

}  // namespace
}  // namespace gantry::client
