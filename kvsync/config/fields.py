"""Field tables of `kvsync.yaml`: names, types, help texts and defaults."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Final

from kvsync.config.authors import AUTHORS_FIELDS
from kvsync.config.git import SOURCE_FIELDS
from kvsync.config.limits import JOURNAL_FIELDS, LIMIT_FIELDS
from kvsync.config.policy import ROOT_POLICY_FIELDS
from kvsync.config.run import run
from kvsync.config.schemas import SCHEMA_FIELDS
from kvsync.config.sops import SOPS_FIELDS
from kvsync.config.stores import StoreTypes, stores
from kvsync.config.waves import WAVE_FIELDS
from kvsync.yaml import nodes
from kvsync.yaml.credential import credential
from kvsync.yaml.fields import (
    OMITTED,
    Decoder,
    Field,
    Problems,
    ScalarDecoder,
    at,
    checked,
    glob,
    list_of,
    map_of,
    one_of,
    path,
    record,
    text,
)
from kvsync.yaml.variables import VARIABLE_NAME

ENVIRONMENT_NAME: Final = r"[A-Za-z0-9_-]+"  # it stands between dots in file names


def _version() -> Decoder:
    def read(written: str, plain: bool) -> int:
        if written != "1" or not plain:
            raise ValueError("this release of kvsync supports version 1")
        return 1

    return ScalarDecoder("version 1", read, {"const": 1})


def _state_glob() -> Decoder:
    def check(written: str, node: nodes.Node, problems: Problems, what: str) -> None:
        pure = PurePosixPath(written)
        if pure.is_absolute() or ".." in pure.parts:
            message = "state files must be in the folder of the configuration or below it"
            problems.add(at(what, message), node, "use a relative pattern without ..")

    return checked(glob(), check)


DEFAULT_STATE_FILES: Final = ("state/**/*.yaml",)

POSTGRESQL_FIELDS: Final = (
    Field(
        "dsn",
        credential(),
        required=True,
        help="Connection string: postgresql://USER@HOST:PORT/DATABASE?sslmode=verify-full, with a password.",
    ),
)
"""Everything that `state.postgresql` may hold."""

STATE_FIELDS: Final = (
    Field(
        "files",
        one_of(list_of(_state_glob(), least=1), _state_glob()),
        default=DEFAULT_STATE_FILES,
        help="Patterns of the files with the desired state, relative to this file (state/**/*.yaml).",
    ),
    Field(
        "postgresql",
        record(POSTGRESQL_FIELDS),
        help="Database that keeps journal, ledger, approvals and pauses for all replicas; state_dir keeps caches only.",
    ),
)
"""Everything that `state` may hold as a mapping."""


def config_fields(store_types: StoreTypes) -> tuple[Field, ...]:
    """Everything that `kvsync.yaml` may hold. `store_types` are those that its stores may be of."""
    return (
        Field("version", _version(), required=True, help="Version of this format: 1."),
        Field(
            "owner",
            text("[A-Za-z0-9._-]{1,64}", "1 to 64 of A-Z a-z 0-9 . _ -"),
            required=True,
            help="Id that marks every entry kvsync writes; kvsync deletes only entries with this mark.",
        ),
        Field(
            "owner_key",
            one_of(list_of(credential(), least=1), credential()),
            help="Secret that signs marks and ledgers, the same on all machines of the owner. "
            "In a list of secrets, the first one signs.",
        ),
        Field(
            "state",
            one_of(list_of(_state_glob(), least=1), _state_glob(), record(STATE_FIELDS)),
            default=DEFAULT_STATE_FILES,
            help="Patterns of the files with the desired state, relative to this file (state/**/*.yaml); "
            "or, if a database keeps the state, a mapping with the fields files and postgresql.",
        ),
        Field(
            "source",
            record(SOURCE_FIELDS),
            help="Source of the state files, if they are not in the folder of this file; state is then relative to the source.",
        ),
        Field("state_dir", path(), default=".kvsync", help="Folder of the journal, ledger, cache and lock (.kvsync)."),
        Field(
            "environments",
            list_of(text(ENVIRONMENT_NAME, "the name of an environment: A-Z a-z 0-9 _ -")),
            default=(),
            help="Environments that overlay files can name: kvsync.prod.yaml and state/web.prod.yaml belong to prod.",
        ),
        Field("environment", text(), help="The current environment; --env overrides it."),
        Field(
            "vars",
            map_of(text(empty=True), VARIABLE_NAME),
            default={},
            help="Variables, as name: text, for `${name}` in this file and in templates of state files.",
        ),
        Field("stores", stores(store_types), required=True, help="The stores, by name."),
        Field("policy", record(ROOT_POLICY_FIELDS), required=True, help="What kvsync may do; prune is required."),
        Field(
            "schemas",
            list_of(record(SCHEMA_FIELDS)),
            default=(),
            help="JSON Schemas for the values of some keys.",
        ),
        Field(
            "waves",
            list_of(record(WAVE_FIELDS)),
            default=(),
            help="Waves of targets, first to last: each begins once the previous one is in sync.",
        ),
        Field("sops", record(SOPS_FIELDS), help="How kvsync decrypts files that are encrypted with SOPS."),
        Field("limits", record(LIMIT_FIELDS), help="Limits for reading state files, and for responses of stores."),
        Field("journal", record(JOURNAL_FIELDS), help="How many runs the journal keeps, and for how long."),
        Field(
            "run",
            run(),
            default=OMITTED,
            help="The daemon: when it makes passes, and when it may apply.",
        ),
        Field(
            "authors",
            record(AUTHORS_FIELDS),
            help="What state files may do; by default, they can only make the policy stricter.",
        ),
    )
