#!/usr/bin/python3
"""Seals a private key as cosign does, with nothing of Gantry's: cosign_box.py KEY.der PASSPHRASE [N] >key

The box is a NaCl secretbox (XSalsa20 and Poly1305) under scrypt, in JSON, in PEM
"ENCRYPTED COSIGN PRIVATE KEY", with the parameters of cosign's first years unless N is given: any
version of cosign and skopeo reads it. With --bare the JSON alone is printed.
"""
import base64
import hashlib
import json
import os
import struct
import sys


def salsa20_rounds(state):
    x = list(state)

    def quarter(a, b, c, d):
        for target, one, two, turn in ((b, a, d, 7), (c, b, a, 9), (d, c, b, 13), (a, d, c, 18)):
            t = (x[one] + x[two]) & 0xFFFFFFFF
            x[target] ^= ((t << turn) | (t >> (32 - turn))) & 0xFFFFFFFF

    for _ in range(10):
        for column in ((0, 4, 8, 12), (5, 9, 13, 1), (10, 14, 2, 6), (15, 3, 7, 11)):
            quarter(*column)
        for row in ((0, 1, 2, 3), (5, 6, 7, 4), (10, 11, 8, 9), (15, 12, 13, 14)):
            quarter(*row)
    return x


def start(key, sixteen):
    sigma = struct.unpack("<4I", b"expand 32-byte k")
    k = struct.unpack("<8I", key)
    n = struct.unpack("<4I", sixteen)
    return [sigma[0], *k[:4], sigma[1], *n, sigma[2], *k[4:], sigma[3]]


def hsalsa20(key, nonce):
    x = salsa20_rounds(start(key, nonce))
    return struct.pack("<8I", *(x[i] for i in (0, 5, 10, 15, 6, 7, 8, 9)))


def salsa20_stream(key, nonce, size):
    out = b""
    counter = 0
    while len(out) < size:
        first = start(key, nonce + struct.pack("<Q", counter))
        last = salsa20_rounds(first)
        out += struct.pack("<16I", *((a + b) & 0xFFFFFFFF for a, b in zip(first, last)))
        counter += 1
    return out[:size]


def poly1305(key, message):
    r = int.from_bytes(key[:16], "little") & 0x0FFFFFFC0FFFFFFC0FFFFFFC0FFFFFFF
    s = int.from_bytes(key[16:], "little")
    total = 0
    for at in range(0, len(message), 16):
        block = message[at : at + 16] + b"\x01"
        total = (total + int.from_bytes(block, "little")) * r % ((1 << 130) - 5)
    return ((total + s) & ((1 << 128) - 1)).to_bytes(16, "little")


def secretbox(key, nonce, plain):
    stream = salsa20_stream(hsalsa20(key, nonce[:16]), nonce[16:], 32 + len(plain))
    sealed = bytes(a ^ b for a, b in zip(plain, stream[32:]))
    return poly1305(stream[:32], sealed) + sealed


def seal(plain, passphrase, cost):
    salt, nonce = os.urandom(32), os.urandom(24)
    key = hashlib.scrypt(passphrase.encode(), salt=salt, n=cost, r=8, p=1, maxmem=1 << 28, dklen=32)
    text = lambda data: base64.b64encode(data).decode()
    return json.dumps(
        {
            "kdf": {"name": "scrypt", "params": {"N": cost, "r": 8, "p": 1}, "salt": text(salt)},
            "cipher": {"name": "nacl/secretbox", "nonce": text(nonce)},
            "ciphertext": text(secretbox(key, nonce, plain)),
        },
        separators=(",", ":"),
    )


def main(arguments):
    bare = "--bare" in arguments
    words = [word for word in arguments if word != "--bare"]
    with open(words[0], "rb") as file:
        plain = file.read()
    box = seal(plain, words[1], int(words[2]) if len(words) > 2 else 32768)
    if bare:
        print(box)
        return
    body = base64.b64encode(box.encode()).decode()
    print("-----BEGIN ENCRYPTED COSIGN PRIVATE KEY-----")
    for at in range(0, len(body), 64):
        print(body[at : at + 64])
    print("-----END ENCRYPTED COSIGN PRIVATE KEY-----")


main(sys.argv[1:])
