#include "trust/key.h"

#include <gtest/gtest.h>
#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/pem.h>

#include "trust/sealed_box.h"

namespace gantry::trust {
namespace {

Passphrase answer(std::string text) {
  return [text]() -> Result<std::string> { return text; };
}
Result<std::string> never() { return internal("nobody should ask"); }

// What OpenSSL writes of a fresh key, for `type` "EC" with `group`, "ED25519" or "RSA".
std::string openssl_key(const char* type, const char* group, const char* passphrase) {
  EVP_PKEY* key = std::string(type) == "EC"    ? EVP_PKEY_Q_keygen(nullptr, nullptr, "EC", group)
                  : std::string(type) == "RSA" ? EVP_PKEY_Q_keygen(nullptr, nullptr, "RSA", 2048ul)
                                               : EVP_PKEY_Q_keygen(nullptr, nullptr, type);
  BIO* bio = BIO_new(BIO_s_mem());
  PEM_write_bio_PKCS8PrivateKey(bio, key, passphrase ? EVP_aes_256_cbc() : nullptr, passphrase,
                                passphrase ? static_cast<int>(strlen(passphrase)) : 0, nullptr,
                                nullptr);
  char* data = nullptr;
  long size = BIO_get_mem_data(bio, &data);
  std::string out(data, static_cast<size_t>(size));
  BIO_free(bio);
  EVP_PKEY_free(key);
  return out;
}

class Keys : public testing::TestWithParam<KeyType> {};
INSTANTIATE_TEST_SUITE_P(BothTypes, Keys, testing::Values(KeyType::ecdsa_p256, KeyType::ed25519));

TEST_P(Keys, a_signature_is_good_for_its_text_and_its_key_alone) {
  auto key = PrivateKey::generate(GetParam());
  auto other = PrivateKey::generate(GetParam());
  ASSERT_TRUE(key && other);
  auto signature = key->sign("text");
  ASSERT_TRUE(signature);
  EXPECT_TRUE(key->public_key().verify("text", *signature));
  EXPECT_FALSE(key->public_key().verify("texT", *signature));
  EXPECT_FALSE(other->public_key().verify("text", *signature));
  std::string changed = *signature;
  changed[changed.size() / 2] = static_cast<char>(changed[changed.size() / 2] ^ 1);
  EXPECT_FALSE(key->public_key().verify("text", changed));
  EXPECT_FALSE(key->public_key().verify("text", ""));
}

TEST_P(Keys, a_sealed_key_comes_back_with_its_passphrase_alone) {
  auto key = PrivateKey::generate(GetParam());
  ASSERT_TRUE(key);
  auto pem = key->sealed_pem("secret");
  ASSERT_TRUE(pem);
  EXPECT_TRUE(pem->starts_with("-----BEGIN ENCRYPTED SIGSTORE PRIVATE KEY-----\n"));
  auto back = PrivateKey::parse(*pem, answer("secret"));
  ASSERT_TRUE(back) << back.error().message();
  EXPECT_EQ(back->public_key().id(), key->public_key().id());
  auto wrong = PrivateKey::parse(*pem, answer("Secret"));
  ASSERT_FALSE(wrong);
  EXPECT_EQ(wrong.error().message(), "wrong passphrase");
}

TEST_P(Keys, a_public_key_goes_through_pem) {
  auto key = PrivateKey::generate(GetParam());
  ASSERT_TRUE(key);
  auto back = PublicKey::parse(key->public_key().pem());
  ASSERT_TRUE(back);
  EXPECT_EQ(back->id(), key->public_key().id());
}

TEST(KeyForms, pkcs8_is_read_plain_and_encrypted) {
  for (const char* type : {"EC", "ED25519"}) {
    auto plain = PrivateKey::parse(openssl_key(type, "P-256", nullptr), never);
    EXPECT_TRUE(plain) << plain.error().message();
    std::string sealed = openssl_key(type, "P-256", "pass");
    EXPECT_NE(sealed.find("BEGIN ENCRYPTED PRIVATE KEY"), sealed.npos);
    auto opened = PrivateKey::parse(sealed, answer("pass"));
    EXPECT_TRUE(opened) << opened.error().message();
    auto wrong = PrivateKey::parse(sealed, answer("word"));
    ASSERT_FALSE(wrong);
    EXPECT_EQ(wrong.error().message(), "wrong passphrase");
  }
}

TEST(KeyForms, other_kinds_of_keys_are_refused_by_name) {
  auto curve = PrivateKey::parse(openssl_key("EC", "P-384", nullptr), never);
  ASSERT_FALSE(curve);
  EXPECT_NE(curve.error().message().find("secp384r1"), std::string::npos);
  auto rsa = PrivateKey::parse(openssl_key("RSA", "", nullptr), never);
  ASSERT_FALSE(rsa);
  EXPECT_NE(rsa.error().message().find("RSA"), std::string::npos);
  auto swapped = PublicKey::parse(openssl_key("EC", "P-256", nullptr));
  ASSERT_FALSE(swapped);
  EXPECT_EQ(swapped.error().message(), "it is a private key: give the public one");
  EXPECT_FALSE(PublicKey::parse("nonsense"));
}

// Made by tests/lib/cosign_box.py, which has nothing of ours.
TEST(SealedBox, a_box_of_another_program_is_opened) {
  constexpr const char* kBox =
      R"({"kdf":{"name":"scrypt","params":{"N":32768,"r":8,"p":1},"salt":"5kcmChX97dDzR)"
      R"(f1buqzxi/746GuS9d42CSivNOZ51SM="},"cipher":{"name":"nacl/secretbox","nonce":"C)"
      R"(hvS4FsZ9BLnxtquvLwP1Ej8XtxaQTq9"},"ciphertext":"UDZYKeeqOYt6UWe1VArnzEeEVi7I+5)"
      R"(yxxT5Ixi6VTdtBi1wrInV5Bak="})";
  auto plain = unseal(kBox, "fixture");
  ASSERT_TRUE(plain) << plain.error().message();
  EXPECT_EQ(*plain, "what was sealed elsewhere");
}

TEST(SealedBox, what_is_not_cosigns_form_is_refused) {
  auto box = seal("x", "p", ScryptCost::legacy);
  ASSERT_TRUE(box);
  EXPECT_TRUE(unseal(*box, "p"));
  auto with = [&](std::string from, std::string to) {
    std::string text = *box;
    text.replace(text.find(from), from.size(), to);
    auto opened = unseal(text, "p");
    return opened ? "" : opened.error().message();
  };
  EXPECT_NE(with("32768", "1073741824").find("scrypt with N=1073741824"), std::string::npos);
  EXPECT_NE(with("nacl/secretbox", "nacl/openbox").find("is not known"), std::string::npos);
  EXPECT_NE(with("\"scrypt\"", "\"plain\"").find("is not known"), std::string::npos);
}

}  // namespace
}  // namespace gantry::trust
