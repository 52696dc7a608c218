"""Keys for age, the encryption that SOPS uses in tests."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

_CHARACTERS = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
_GENERATORS = (0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)


@dataclass(frozen=True, slots=True)
class AgeKey:
    """A key pair: what files are encrypted for, and what decrypts them."""

    recipient: str
    secret: str


def new_key() -> AgeKey:
    """A new X25519 key pair, as age-keygen writes it."""
    key = X25519PrivateKey.generate()
    public = key.public_key().public_bytes_raw()
    return AgeKey(_bech32("age", public), _bech32("age-secret-key-", key.private_bytes_raw()).upper())


def _bech32(prefix: str, data: bytes) -> str:
    number, bits = int.from_bytes(data, "big"), len(data) * 8
    shift = -bits % 5
    values = [(number << shift) >> (5 * index) & 31 for index in reversed(range((bits + 4) // 5))]
    expanded = [ord(char) >> 5 for char in prefix] + [0] + [ord(char) & 31 for char in prefix]
    check = _polymod([*expanded, *values, *[0] * 6]) ^ 1
    values += [check >> (5 * (5 - index)) & 31 for index in range(6)]
    return f"{prefix}1{''.join(_CHARACTERS[value] for value in values)}"


def _polymod(values: Iterable[int]) -> int:
    check = 1
    for value in values:
        top, check = check >> 25, (check & 0x1FFFFFF) << 5 ^ value
        for index, generator in enumerate(_GENERATORS):
            check ^= generator if top >> index & 1 else 0
    return check
