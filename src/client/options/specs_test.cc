#include "client/options/specs.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include "client/options/container_options.h"

namespace gantry::client {
namespace {

std::string ports(std::string_view spec) {
  auto parsed = parse_port(spec);
  if (!parsed) return parsed.error().message();
  std::string out;
  for (const PortMapping& p : *parsed)
    out += fmt::format("{}{}|{}|{}", out.empty() ? "" : " ", p.host_ip, p.host_port, p.container);
  return out;
}

TEST(Ports, EveryFormOfDockers) {
  EXPECT_EQ(ports("80"), "||80/tcp");
  EXPECT_EQ(ports("8080:80"), "|8080|80/tcp");
  EXPECT_EQ(ports("8080:80/UDP"), "|8080|80/udp");
  EXPECT_EQ(ports("127.0.0.1:8080:80"), "127.0.0.1|8080|80/tcp");
  EXPECT_EQ(ports("127.0.0.1::80"), "127.0.0.1||80/tcp");
  EXPECT_EQ(ports("[::1]:8080:80"), "::1|8080|80/tcp");
  EXPECT_EQ(ports("8000-8001:80-81"), "|8000|80/tcp |8001|81/tcp");
  EXPECT_EQ(ports("8000-8010:80"), "|8000-8010|80/tcp");
}

TEST(Ports, WhatIsWrongIsSaid) {
  EXPECT_EQ(ports("1:2:3:4:5"), "invalid IP address: 1:2:3");
  EXPECT_EQ(ports("99999:80"), "invalid hostPort: 99999");
  EXPECT_EQ(ports("80:x"), "invalid containerPort: x");
  EXPECT_EQ(ports("80/foo"), "invalid proto: foo");
  EXPECT_EQ(ports("80-81:80-82"),
            "invalid ranges specified for container and host Ports: 80-82 and 80-81");
  EXPECT_EQ(ports("80:"), "no port specified: 80:<empty>");
}

TEST(Ports, ExposeTakesARange) {
  EXPECT_EQ(*parse_expose("80-81/udp"), (std::vector<std::string>{"80/udp", "81/udp"}));
  EXPECT_FALSE(parse_expose("80:80"));
}

std::string mount(std::string_view spec) {
  auto parsed = parse_mount(spec);
  return parsed ? json::serialize(*parsed) : parsed.error().message();
}

TEST(Mounts, KeysAndTheirSections) {
  EXPECT_EQ(mount("type=bind,src=/a,dst=/b,readonly"),
            R"({"Type":"bind","Source":"/a","Target":"/b","ReadOnly":true})");
  EXPECT_EQ(
      mount("type=volume,source=v,target=/b,volume-opt=a=1,volume-opt=b=2,volume-nocopy"),
      R"({"Type":"volume","Source":"v","Target":"/b","VolumeOptions":{"DriverConfig":{"Options":{"a":"1","b":"2"}},"NoCopy":true}})");
  EXPECT_EQ(mount("type=tmpfs,dst=/t,tmpfs-size=1m,tmpfs-mode=1770"),
            R"({"Type":"tmpfs","Target":"/t","TmpfsOptions":{"SizeBytes":1048576,"Mode":1016}})");
  EXPECT_EQ(mount("dst=/b"), R"({"Type":"volume","Target":"/b"})");
  EXPECT_EQ(
      mount("type=volume,dst=/b,\"volume-opt=o=a,b\""),
      R"({"Type":"volume","Target":"/b","VolumeOptions":{"DriverConfig":{"Options":{"o":"a,b"}}}})");
}

TEST(Mounts, WhatIsWrongIsSaid) {
  EXPECT_EQ(mount("foo"), "invalid field 'foo' must be a key=value pair");
  EXPECT_EQ(mount("type=bind,foo=1"), "unexpected key 'foo' in 'foo=1'");
  EXPECT_EQ(mount("type=bind,src=/a"), "target is required");
  EXPECT_EQ(mount("type=tmpfs,dst=/a,volume-nocopy"),
            "cannot mix 'volume-*' options with mount type 'tmpfs'");
  EXPECT_EQ(mount("type=bind,dst=/a,ro=x"), "invalid value for ro: x");
}

TEST(Mounts, RelativeHostPathsAreMadeAbsolute) {
  char* directory = ::getcwd(nullptr, 0);
  EXPECT_EQ(parse_volume("./x/../y:/d:ro")->bind, std::string(directory) + "/y:/d:ro");
  EXPECT_EQ(parse_volume("name:/d")->bind, "name:/d");
  EXPECT_TRUE(parse_volume("/d")->anonymous);
  EXPECT_FALSE(parse_volume(":/d"));
  std::free(directory);
}

TEST(Specs, Ulimits) {
  EXPECT_EQ(json::serialize(*parse_ulimit("nofile=10:20")),
            R"({"Name":"nofile","Hard":20,"Soft":10})");
  EXPECT_EQ(json::serialize(*parse_ulimit("core=-1")), R"({"Name":"core","Hard":-1,"Soft":-1})");
  EXPECT_EQ(parse_ulimit("nofile=100:50").error().message(),
            "ulimit soft limit must be less than or equal to hard limit: 100 > 50");
  EXPECT_EQ(parse_ulimit("foo=1").error().message(), "invalid ulimit type: foo");
  EXPECT_FALSE(parse_ulimit("nofile"));
}

TEST(Specs, Devices) {
  EXPECT_EQ(json::serialize(*parse_device("/dev/a")),
            R"({"PathOnHost":"/dev/a","PathInContainer":"/dev/a","CgroupPermissions":"rwm"})");
  EXPECT_EQ((*parse_device("/dev/a:r"))["CgroupPermissions"].as_string(), "r");
  EXPECT_EQ((*parse_device("/dev/a:/dev/b:rm"))["PathInContainer"].as_string(), "/dev/b");
  EXPECT_EQ(parse_device("/dev/a:/dev/b:x").error().message(), "bad mode specified: x");
}

TEST(Specs, RestartPolicies) {
  EXPECT_EQ(json::serialize(*parse_restart("on-failure:3")),
            R"({"Name":"on-failure","MaximumRetryCount":3})");
  EXPECT_EQ(parse_restart("on-failure:x").error().message(),
            "invalid restart policy format: maximum retry count must be an integer");
}

TEST(Specs, NetworkAttachments) {
  std::string name;
  EXPECT_TRUE(parse_network_attachment("net1", name)->empty());
  EXPECT_EQ(name, "net1");
  EXPECT_EQ(json::serialize(*parse_network_attachment("name=n,alias=a,alias=b,ip=10.0.0.2", name)),
            R"({"Aliases":["a","b"],"IPAMConfig":{"IPv4Address":"10.0.0.2"}})");
  EXPECT_FALSE(parse_network_attachment("alias=a", name = ""));
}

TEST(Specs, DetachKeys) {
  EXPECT_EQ(*parse_detach_keys("ctrl-p,ctrl-q"), "\x10\x11");
  EXPECT_EQ(*parse_detach_keys("a,ctrl-[,DEL"), "a\x1b\x7f");
  EXPECT_FALSE(parse_detach_keys("ctrl-P1"));
}

TEST(Specs, ImageNames) {
  ImageName name = split_image("localhost:5000/a/b:1@sha256:ff");
  EXPECT_EQ(name.repository, "localhost:5000/a/b");
  EXPECT_EQ(name.tag, "1");
  EXPECT_EQ(name.digest, "sha256:ff");
  EXPECT_EQ(split_image("localhost:5000/a").tag, "");
  EXPECT_TRUE(check_reference("localhost:5000/a/b:1"));
  EXPECT_EQ(check_reference("BUSY").error().message(),
            "invalid reference format: repository name (library/BUSY) must be lowercase");
  for (std::string_view bad : {"", ":1", "a//b", "-a", "a:", "a:b c", "a/-b"})
    EXPECT_FALSE(check_reference(bad)) << bad;
}

TEST(Specs, EnvironmentFiles) {
  std::string path = testing::TempDir() + "gantry-env";
  FILE* file = std::fopen(path.c_str(), "w");
  std::fputs("# comment\n\n  A=1 # kept\nGANTRY_TEST_SET\nGANTRY_TEST_UNSET\r\nB=\n", file);
  std::fclose(file);
  ::setenv("GANTRY_TEST_SET", "v", 1);
  EXPECT_EQ(*collect_environment({path}, {"C=2", "GANTRY_TEST_SET"}),
            (std::vector<std::string>{"A=1 # kept", "GANTRY_TEST_SET=v", "B=", "C=2",
                                      "GANTRY_TEST_SET=v"}));
  EXPECT_EQ(collect_environment({"/nosuch"}, {}).error().message(),
            "open /nosuch: no such file or directory");
  ::unlink(path.c_str());
}

TEST(Specs, FiltersAreAnObjectOfSets) {
  EXPECT_EQ(*filters_parameter({"Name=a", "name=b", "label=x=y"}),
            R"({"name":{"a":true,"b":true},"label":{"x=y":true}})");
  EXPECT_EQ(*filters_parameter({}), "");
}

std::string request_error(std::vector<std::string> words) {
  ContainerOptions options;
  const FlagGroup groups[] = {own_flags(kContainerFlags)};
  auto parsed = parse_flags(groups, &options, Interspersed::no, words);
  if (!parsed) return parsed.error().message();
  auto request = container_request(options);
  return request ? json::serialize(*request) : request.error().message();
}

TEST(ContainerRequest, ConflictsAreSaid) {
  EXPECT_EQ(request_error({"--rm", "--restart", "always"}),
            "conflicting options: cannot specify both --restart and --rm");
  EXPECT_EQ(request_error({"--no-healthcheck", "--health-cmd", "x"}),
            "--no-healthcheck conflicts with --health-* options");
  EXPECT_EQ(request_error({"--memory-swappiness", "101"}),
            "invalid value: 101. Valid memory swappiness range is 0-100");
  EXPECT_EQ(request_error({"--pid", "foo"}), "--pid: invalid PID mode");
  EXPECT_EQ(request_error({"--ulimit", "x"}),
            "invalid argument \"x\" for \"--ulimit\" flag: invalid ulimit argument: x");
  EXPECT_EQ(request_error({"-m", "x"}),
            "invalid argument \"x\" for \"-m, --memory\" flag: invalid size: 'x'");
}

TEST(ContainerRequest, AttachmentFollowsTheFlags) {
  ContainerOptions options;
  options.image = "i";
  options.interactive = true;
  json::object plain = *container_request(options);
  EXPECT_TRUE(plain["AttachStdin"].as_bool() && plain["AttachStdout"].as_bool() &&
              plain["StdinOnce"].as_bool());
  options.detach = true;
  json::object detached = *container_request(options);
  EXPECT_FALSE(detached["AttachStdin"].as_bool() || detached["AttachStdout"].as_bool() ||
               detached["StdinOnce"].as_bool());
  EXPECT_TRUE(detached["OpenStdin"].as_bool());
  options.detach = false;
  options.attach = {"STDERR"};
  json::object one = *container_request(options);
  EXPECT_FALSE(one["AttachStdin"].as_bool() || one["AttachStdout"].as_bool());
  EXPECT_TRUE(one["AttachStderr"].as_bool());
}

TEST(ContainerRequest, PortsAreExposedAndBound) {
  ContainerOptions options;
  options.publish = {"8080:80", "[::1]:8081:80"};
  options.expose = {"90"};
  json::object request = *container_request(options);
  EXPECT_EQ(json::serialize(request["ExposedPorts"]), R"({"80/tcp":{},"90/tcp":{}})");
  EXPECT_EQ(json::serialize(request["HostConfig"].at("PortBindings")),
            R"({"80/tcp":[{"HostIp":"","HostPort":"8080"},{"HostIp":"::1","HostPort":"8081"}]})");
}

}  // namespace
}  // namespace gantry::client
