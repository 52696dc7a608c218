"""Decoder of the `sops:` section: how files that SOPS encrypted are read."""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Final

from kvsync.util.values import dataclass
from kvsync.yaml.fields import Field, choice, duration, list_of, path


class SopsKey(StrEnum):
    """Kinds of keys that a SOPS file may be encrypted with, as its metadata names them."""

    AGE = "age"
    PGP = "pgp"
    AWS_KMS = "kms"
    GCP_KMS = "gcp_kms"
    AZURE_KEY_VAULT = "azure_kv"
    HASHICORP_VAULT = "hc_vault"
    HUAWEI_KMS = "hckms"


@dataclass(frozen=True, slots=True)
class SopsConfig:
    """The `sops` program, its `timeout` in seconds for one file, and the kinds of keys that files may use. For a kind that is
    reached over the network, sops sends credentials to the address in the file, so the operator has to list it."""

    program: str = "sops"
    timeout: float = 30
    keys: tuple[SopsKey, ...] = (SopsKey.AGE, SopsKey.PGP)


SOPS_FIELDS: Final = (
    Field("program", path(), default="sops", help="Name or path of the sops program (sops)."),
    Field("timeout", duration(minimum=0.1, maximum=600), default=30.0, help="Timeout for decrypting one file (30s)."),
    Field(
        "keys",
        list_of(choice(SopsKey), least=1),
        default=(SopsKey.AGE, SopsKey.PGP),
        help="Kinds of keys that files may be encrypted with (age, pgp).",
    ),
)
"""Everything that `sops:` may hold."""


def sops_config(values: dict[str, Any] | None) -> SopsConfig:
    """Convert the decoded section to a `SopsConfig`."""
    return SopsConfig() if values is None else SopsConfig(**values)
