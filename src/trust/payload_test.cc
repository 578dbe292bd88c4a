#include "trust/payload.h"

#include <gtest/gtest.h>

#include "trust/gpg.h"
#include "trust/lookaside.h"

namespace gantry::trust {
namespace {

const Digest kDigest = Digest::of("");

TEST(Payload, has_the_bytes_that_cosign_signs) {
  EXPECT_EQ(make_payload("a.io/r:1", kDigest),
            R"({"critical":{"identity":{"docker-reference":"a.io/r:1"},"image":)"
            R"({"docker-manifest-digest":"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934c)"
            R"(a495991b7852b855"},"type":"cosign container image signature"},"optional":null})");
  auto back = parse_payload(make_payload("a.io/r:1", kDigest), SignatureKind::sigstore);
  ASSERT_TRUE(back);
  EXPECT_EQ(back->reference, "a.io/r:1");
  EXPECT_EQ(back->digest, kDigest);
}

TEST(Payload, one_kind_is_never_taken_for_the_other) {
  EXPECT_FALSE(parse_payload(make_payload("a.io/r:1", kDigest), SignatureKind::gpg));
}

TEST(Payload, what_is_more_or_less_than_a_payload_is_refused) {
  const std::string good = make_payload("a.io/r:1", kDigest);
  auto with = [&](std::string_view from, std::string_view to) {
    std::string text = good;
    text.replace(text.find(from), from.size(), to);
    return parse_payload(text, SignatureKind::sigstore).has_value();
  };
  EXPECT_TRUE(with("null", R"({"creator":"x","timestamp":1})"));
  EXPECT_FALSE(with("null", "1"));
  EXPECT_FALSE(with(",\"optional\":null", ""));
  EXPECT_FALSE(with("\"optional\":null", "\"optional\":null,\"more\":1"));
  EXPECT_FALSE(with("\"type\":", "\"more\":1,\"type\":"));
  EXPECT_FALSE(with("\"type\":", "\"image\":{\"docker-manifest-digest\":\"sha256:\"},\"type\":"));
  EXPECT_FALSE(with("sha256:e3", "sha512:e3"));
  EXPECT_FALSE(with("\"a.io/r:1\"", "1"));
  EXPECT_FALSE(with("{\"critical", " x{\"critical"));
}

std::string status(std::string_view lines) {
  auto read = read_gpgv_status(lines, "text");
  return read ? read->fingerprint : read.error().message();
}

constexpr std::string_view kGood =
    "[GNUPG:] PLAINTEXT 62 1 \n[GNUPG:] NEWSIG\n[GNUPG:] GOODSIG 4B8D71B0A7009712 A <a@x>\n"
    "[GNUPG:] VALIDSIG DB9AD2C00A4F48B3624B0C794B8D71B0A7009712 2026-11-28 1 0 4 0 22 8 00 "
    "AB9AD2C00A4F48B3624B0C794B8D71B0A7009712\n";

TEST(Gpgv, one_good_signature_over_one_text_is_asked_for) {
  EXPECT_EQ(status(kGood), "AB9AD2C00A4F48B3624B0C794B8D71B0A7009712");
  EXPECT_NE(status(std::string(kGood) + std::string(kGood)).find("not just one"),
            std::string::npos);
  EXPECT_NE(status("").find("not just one"), std::string::npos);
  EXPECT_NE(status(std::string(kGood) + "[GNUPG:] BADSIG 1 A\n").find("changed"),
            std::string::npos);
  EXPECT_NE(status("[GNUPG:] NEWSIG\n[GNUPG:] ERRSIG 4B8D 22 8 00 1 9 -\n").find("another key"),
            std::string::npos);
  EXPECT_NE(status(std::string(kGood) + "[GNUPG:] EXPKEYSIG 1 A\n").find("expired"),
            std::string::npos);
}

TEST(Gpgv, armour_of_several_keys_is_taken_off) {
  auto plain = dearmor("\x99\x01raw");
  EXPECT_EQ(*plain, "\x99\x01raw");
  auto two = dearmor(
      "-----BEGIN PGP PUBLIC KEY BLOCK-----\nComment: x\n\nYWJj\n=abcd\n"
      "-----END PGP PUBLIC KEY BLOCK-----\n"
      "-----BEGIN PGP PUBLIC KEY BLOCK-----\r\n\r\nZGVm\r\n-----END PGP PUBLIC KEY BLOCK-----\n");
  ASSERT_TRUE(two) << two.error().message();
  EXPECT_EQ(*two, "abcdef");
  EXPECT_FALSE(dearmor("-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nYWJj\n"));
}

TEST(Lookaside, the_longest_scope_that_names_a_store_is_asked) {
  Lookaside lookaside;
  ASSERT_TRUE(lookaside.add("# comment\ndefault-docker:\n  sigstore: https://default.example\n"));
  ASSERT_TRUE(
      lookaside.add("docker:\n  a.io:\n    lookaside: 'https://a.example'\n  a.io/ns/r:\n"
                    "    use-sigstore-attachments: true\n  a.io/ns: {lookaside: file:///sigs}\n"));
  auto store = [&](const char* text) {
    return lookaside.store_of(image::Reference::parse(text).value().with_default_tag());
  };
  EXPECT_EQ(store("a.io/x"), "https://a.example");
  EXPECT_EQ(store("a.io/ns/r"), "file:///sigs");
  EXPECT_EQ(store("busybox"), "https://default.example");
  EXPECT_EQ(Lookaside().store_of(image::Reference::parse("a.io/x").value()),
            "file:///var/lib/containers/sigstore");
}

TEST(Lookaside, what_is_wrong_is_told_with_its_line) {
  auto failure = [](std::string_view text) {
    Lookaside lookaside;
    Status added = lookaside.add(text);
    return added ? "(none)" : added.error().message();
  };
  EXPECT_EQ(failure("docker:\n  a.io:\n    lookaisde: https://x\n"),
            "line 3: unknown key \"lookaisde\"");
  EXPECT_EQ(failure("docker:\n  a.io:\n    lookaside: ../x\n"),
            "line 3: the URL is neither file:///, http:// nor https://");
  EXPECT_EQ(failure("podman: {}\n"), "line 1: unknown key \"podman\"");
  EXPECT_NE(failure("docker: [\n").find("line 2"), std::string::npos);
  EXPECT_EQ(failure(""), "(none)");
}

}  // namespace
}  // namespace gantry::trust
