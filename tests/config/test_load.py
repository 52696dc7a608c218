"""The configuration: everything of it is read, and everything that is wrong with it is said at once."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from kvsync.app.configuration import read_config
from kvsync.config.model import Config, CredentialKind, RunConfig, StoreConfig, Window
from kvsync.errors import InvalidInput
from kvsync.model.policy import Adopt, DriftAction, DriftPolicy, Guard, Policy, Prune
from kvsync.planning.waves import Probe, Wave

LEAST = "version: 1\nowner: shop\nstores:\n  local: {type: sqlite, path: kv.db}\npolicy: {prune: owned}\n"

FULL = """\
version: 1
owner: payments-gitops
state: ["state/**/*.yaml", more/*.yml]
state_dir: var/kvsync
environments: [dev, prod]
environment: prod
stores:
  local: {type: sqlite, path: .kvsync/store.db}
  other:
    type: memory
    endpoint: https://kv.example/v1/
    timeout: 10s
    concurrency: 4
    key_format: "{label}/{key}"
    policy: {prune: off, drift: {missing: report}, guard: {grace: 1h}}
policy:
  prune: scope
  adopt: always
  drift: gate
  guard: {max_delete_pct: 20, max_update_pct: 40%, min_existing: 5, max_deletes: 100, grace: 30s}
  ignore: ["tmp/*"]
run:
  cron: "*/15 * * * *"
  jitter: 10s
  deep_every: 1h
  watch: false
  debounce: 1s
  windows:
    - {deny: "0 22 * * 5", for: 60h, timezone: Europe/Paris}
    - {allow: "0 8 * * *", for: 10h}
  listen: 127.0.0.1:9464
"""


def load(
    folder: Path, text: str, *, environment: str | None = None, environ: Mapping[str, str] | None = None
) -> Config:
    file = folder / "kvsync.yaml"
    file.write_text(text)
    return read_config(file, environment=environment, environ=environ or {})


def problems_of(folder: Path, text: str, environment: str | None = None) -> list[str]:
    with pytest.raises(InvalidInput) as caught:
        load(folder, text, environment=environment)
    return [str(problem) for problem in caught.value.problems]


def test_the_least(tmp_path: Path) -> None:
    """Version, owner, one store and prune are enough; all else has defaults."""
    config = load(tmp_path, LEAST)
    assert config.owner == "shop"
    assert config.state == ("state/**/*.yaml",)
    assert config.root == tmp_path
    assert config.file == tmp_path / "kvsync.yaml"
    assert config.state_dir == tmp_path / ".kvsync"
    assert (config.environments, config.environment) == ((), None)
    assert config.policy == Policy()
    assert config.run == RunConfig()
    store = config.stores["local"]
    assert (store.name, store.type, store.options) == ("local", "sqlite", {"path": "kv.db"})
    assert (store.timeout, store.concurrency, store.endpoint, store.policy) == (30.0, None, None, Policy())


def test_everything(tmp_path: Path) -> None:
    """Every field arrives, in seconds, bytes and words of the model."""
    config = load(tmp_path, FULL)
    assert config.state == ("state/**/*.yaml", "more/*.yml")
    assert config.state_dir == tmp_path / "var/kvsync"
    assert (config.environments, config.environment) == (("dev", "prod"), "prod")
    gate = DriftPolicy(DriftAction.GATE, DriftAction.GATE, DriftAction.GATE)
    assert config.policy == Policy(Prune.SCOPE, Adopt.ALWAYS, gate, Guard(20, 40, 5, 100, 30), ("tmp/*",))
    assert config.run == RunConfig(
        every=None,
        cron="*/15 * * * *",
        jitter=10,
        deep_every=3600,
        watch=False,
        debounce=1,
        windows=(
            Window("0 22 * * 5", 216000, "Europe/Paris"),
            Window("0 8 * * *", 36000, "UTC", deny=False),
        ),
        listen="127.0.0.1:9464",
    )


def test_a_store_overrides_the_policy_line_by_line(tmp_path: Path) -> None:
    """A store's policy replaces the lines it has, down to single limits and classes, and keeps the others."""
    store = load(tmp_path, FULL).stores["other"]
    assert isinstance(store, StoreConfig)
    assert (store.endpoint, store.timeout, store.concurrency) == ("https://kv.example/v1", 10, 4)
    drift = DriftPolicy(DriftAction.GATE, DriftAction.REPORT, DriftAction.GATE)
    assert store.policy == Policy(Prune.OFF, Adopt.ALWAYS, drift, Guard(20, 40, 5, 100, 3600), ("tmp/*",))


def test_everything_wrong_at_once(tmp_path: Path) -> None:
    """All mistakes of a file are reported together, in its order, with place and nearest name."""
    text = """\
version: 2
ownr: shop
stores:
  edge: {type: sqlit, path: x}
  my store: {type: sqlite}
  far: {type: memory, endpoint: "http://kv.example", timeout: 30, key_format: "{label}"}
policy: {prune: owed, drift: {drifted: heel}, guard: {max_deletes: many}}
run: {every: 5m, cron: "61 * * * *", windows: [{for: 1h, timezone: Europe/Pris}], listen: 9464}
environment: prod
"""
    assert problems_of(tmp_path, text) == [
        'kvsync.yaml:1:1: missing field "owner" (Id that marks every entry kvsync writes; kvsync deletes only '
        "entries with this mark.)",
        'kvsync.yaml:1:10: version: expected version 1, found "2" (this release of kvsync supports version 1)',
        'kvsync.yaml:2:1: unknown field "ownr" (did you mean "owner"?)',
        'kvsync.yaml:4:16: stores.edge.type: unknown store type "sqlit" (did you mean "sqlite"?)',
        'kvsync.yaml:5:3: stores: the name "my store" does not match [A-Za-z0-9._-]+',
        'kvsync.yaml:5:13: stores.my store: missing field "path" (The database file, relative to the folder of '
        "kvsync.yaml.)",
        "kvsync.yaml:6:33: stores.far.endpoint: plain http:// sends secrets unencrypted over the network "
        "(write https://, or set allow_insecure: true)",
        "kvsync.yaml:6:63: stores.far.timeout: expected a duration such as 30s, 5m or 1h30m, at least 0.001s, "
        'found "30" (add the unit: 30s)',
        'kvsync.yaml:6:79: stores.far.key_format: expected a format such as "{namespace}/{key}", found the text '
        '"{label}" (key_format "{label}": {key} is missing)',
        'kvsync.yaml:7:17: policy.prune: expected one of owned, off, scope, found "owed" (did you mean "owned"?)',
        'kvsync.yaml:7:40: policy.drift.drifted: expected one of heal, report, gate, found "heel" (did you mean "heal"?)',
        'kvsync.yaml:7:68: policy.guard.max_deletes: expected a whole number of at least 0, found "many"',
        "kvsync.yaml:8:18: run: set every or cron, not both",
        'kvsync.yaml:8:24: run.cron: expected a cron expression such as "*/15 * * * *", found the text "61 * * * *" '
        "(minute: '61' is not a number from 0 to 59)",
        "kvsync.yaml:8:48: run.windows[0]: set deny or allow to the cron expression that opens the window",
        'kvsync.yaml:8:68: run.windows[0].timezone: expected a time zone such as Europe/Paris, found "Europe/Pris" '
        "(unknown time zone on this machine)",
        'kvsync.yaml:8:91: run.listen: expected an address such as 127.0.0.1:9464, found "9464" '
        "(write host and port; 0.0.0.0 means all interfaces)",
        'kvsync.yaml:9:14: environment: "prod" is not in environments (none are defined)',
    ]


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (("owner: shop", "owner: my shop"), 'kvsync.yaml:2:8: owner: expected 1 to 64 of A-Z a-z 0-9 . _ -, found "my shop"'),
        (("owner: shop", "owner: " + "x" * 65), "kvsync.yaml:2:8: owner: expected 1 to 64 of"),
        (("owner: shop", "owner:"), "kvsync.yaml:2:7: owner: expected 1 to 64 of A-Z a-z 0-9 . _ -, found nothing"),
        (("version: 1\n", ""), 'kvsync.yaml:1:1: missing field "version"'),
        (("version: 1", "version: '1'"), "kvsync.yaml:1:10: version: expected version 1"),
        (("policy: {prune: owned}\n", ""), 'kvsync.yaml:1:1: missing field "policy"'),
        (("{prune: owned}", "{adopt: never}"), 'kvsync.yaml:5:9: policy: missing field "prune"'),
        (("  local: {type: sqlite, path: kv.db}", "  {}"), "kvsync.yaml:4:3: stores: define at least one store"),
        (("{type: sqlite, path: kv.db}", "{path: kv.db}"), 'kvsync.yaml:4:10: stores.local: missing field "type"'),
        (("path: kv.db", "path: [a]"), "kvsync.yaml:4:31: stores.local.path: expected a path, found a list"),
        (("owner: shop", "owner: shop\nstate: ../x.yaml"), "kvsync.yaml:3:8: state: state files must be in the folder"),
        (("owner: shop", "owner: shop\nstate: [/etc/*]"), "kvsync.yaml:3:9: state[0]: state files must be in the folder"),
        (("owner: shop", "owner: shop\nstate: []"), "kvsync.yaml:3:8: state: expected at least 1 of: a pattern"),
        (("owner: shop", "owner: shop\nenvironments: [a, b, a]"), 'kvsync.yaml:3:15: environments: "a" is listed twice'),
        (("owner: shop", "owner: shop\nenvironments: [a.b]"), "kvsync.yaml:3:16: environments[0]: expected the name of an"),
        (("owner: shop", "owner: shop\nrun: {every: 5m, cron: 0 0 * * *}"), "kvsync.yaml:3:18: run: set every or cron, not"),
        (("owner: shop", "owner: shop\nrun: {listen: 'h:70000'}"), "the highest port is 65535"),
        (("owner: shop", "owner: shop\nowner: shop"), "kvsync.yaml:3:1: "),
        (("owner: shop", "owner: shop\n---\nversion: 1"), "the configuration must be a single YAML document"),
    ],
)  # fmt: skip
def test_one_mistake(tmp_path: Path, change: tuple[str, str], problem: str) -> None:
    """Each mistake is found where it stands."""
    found = problems_of(tmp_path, LEAST.replace(*change))
    assert [line for line in found if problem in line], found


@pytest.mark.parametrize(
    "address",
    ["http://127.0.0.1:8080", "http://localhost", "http://[::1]:1/v1", "http://kv.localhost", "https://a.b/c"],
)
def test_endpoints_that_are_safe(tmp_path: Path, address: str) -> None:
    """Plain http is fine towards this machine, https towards any."""
    config = load(tmp_path, LEAST.replace("path: kv.db", f"path: kv.db, endpoint: '{address}'"))
    assert config.stores["local"].endpoint == address


@pytest.mark.parametrize("address", ["http://10.0.0.1", "http://127.0.0.1.evil.example", "http://localhost.example"])
def test_plain_http(tmp_path: Path, address: str) -> None:
    """Plain http beyond this machine is refused, unless allow_insecure says that it is meant."""
    text = LEAST.replace("path: kv.db", f"path: kv.db, endpoint: '{address}'")
    assert "allow_insecure" in problems_of(tmp_path, text)[0]
    config = load(tmp_path, text.replace("}\npolicy", ", allow_insecure: true}\npolicy"))
    assert config.stores["local"].endpoint == address


@pytest.mark.parametrize(
    "address",
    [
        "https://user:s3cr3t@host",
        "ftp://s3cr3t",
        "https://host?sig=s3cr3t",
        "s3cr3t",
        "Endpoint=s3cr3t",
        "https://",
        "https://.s3cr3t.example",
        "https://s3cr3t..example",
        f"https://s3cr3t{'x' * 60}.example",
        f"https://{'s3cr3t.' * 40}example",
        "https://s3cr3t.example:99999",
        "https://s3cr3t.example:port",
        "https://s3cr3té.example",
        "https://[s3cr3t]",
    ],
)
def test_endpoints_that_are_none(tmp_path: Path, address: str) -> None:
    """What is not a base URL is refused, without repeating it: people paste secrets there."""
    [problem] = problems_of(tmp_path, LEAST.replace("path: kv.db", f"path: kv.db, endpoint: '{address}'"))
    assert "stores.local.endpoint: expected the URL of an API" in problem
    assert "s3cr3t" not in problem


def test_environment_asked_for(tmp_path: Path) -> None:
    """The environment asked for wins over the one in the file, and must be declared."""
    assert load(tmp_path, FULL, environment="dev").environment == "dev"
    assert problems_of(tmp_path, FULL, environment="prd") == [
        'kvsync.yaml:5:15: the environment "prd" is not in environments (did you mean "prod"?)'
    ]


def test_state_directory_of_systemd(tmp_path: Path) -> None:
    """$STATE_DIRECTORY wins over state_dir, and of several the first."""
    given = {"STATE_DIRECTORY": "/var/lib/kvsync:/var/lib/other"}
    assert load(tmp_path, FULL, environ=given).state_dir == Path("/var/lib/kvsync")
    assert load(tmp_path, FULL, environ={"STATE_DIRECTORY": ""}).state_dir == tmp_path / "var/kvsync"


def test_no_file(tmp_path: Path) -> None:
    """A missing configuration says what to do."""
    with pytest.raises(InvalidInput, match=r"no such configuration file \(create one with kvsync init"):
        read_config(tmp_path / "kvsync.yaml", environ={})


def test_a_folder_is_not_a_file(tmp_path: Path) -> None:
    """A folder in place of the file is an error for people."""
    with pytest.raises(InvalidInput, match="cannot read the configuration: Is a directory"):
        read_config(tmp_path, environ={})


@pytest.mark.parametrize("text", ["", "\n# nothing\n", "---\n", "null\n"])
def test_empty_file(tmp_path: Path, text: str) -> None:
    """A file with nothing in it says so, once."""
    assert problems_of(tmp_path, text) == ["kvsync.yaml:1:1: the file is empty (create one with kvsync init)"]


def test_broken_yaml(tmp_path: Path) -> None:
    """What is not YAML is an error with its place."""
    [problem] = problems_of(tmp_path, "version: 1\nowner: [a\n")
    assert problem.startswith("kvsync.yaml:3:1: ")


@pytest.mark.parametrize("end", range(0, len(FULL), 7))
def test_half_a_file(tmp_path: Path, end: int) -> None:
    """Half a file is either an error for people or a shorter valid file, never a crash."""
    try:
        owner = load(tmp_path, FULL[:end]).owner
    except InvalidInput as error:
        owner = "payments-gitops" if error.problems else ""
    assert owner == "payments-gitops"


def test_relative_path_and_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All paths of a configuration are relative to its own folder, wherever one stands."""
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf/kvsync.yaml").write_text(LEAST)
    monkeypatch.chdir(tmp_path)
    config = read_config(Path("conf/kvsync.yaml"), environ={})
    assert (config.root, config.state_dir) == (tmp_path / "conf", tmp_path / "conf/.kvsync")


def test_a_folder_reached_by_a_link(tmp_path: Path) -> None:
    """Through a link that flips (git-sync, ConfigMap), the folder keeps the name of the link, so that flips are seen."""
    for version in ("one", "two"):
        (tmp_path / version).mkdir()
        (tmp_path / version / "kvsync.yaml").write_text(LEAST.replace("shop", version))
    link = tmp_path / "current"
    link.symlink_to("one")
    first = read_config(link / "kvsync.yaml", environ={})
    (tmp_path / "new").symlink_to("two")
    os.replace(tmp_path / "new", link)  # noqa: PTH105  # the flip itself
    second = read_config(link / "kvsync.yaml", environ={})
    assert (first.owner, second.owner) == ("one", "two")
    assert first.root == second.root == link


def test_a_database_keeps_the_state(tmp_path: Path) -> None:
    """`state` may be a mapping: of the files, and of where PostgreSQL keeps the rest."""
    config = load(tmp_path, LEAST.replace("owner: shop", "owner: shop\nstate: {postgresql: {dsn: {env: DSN}}}"))
    assert config.state == ("state/**/*.yaml",)
    assert config.database is not None
    assert (config.database.kind, config.database.name) == (CredentialKind.ENV, "DSN")
    files = "owner: shop\nstate: {files: keys/*.yaml}"
    config = load(tmp_path, LEAST.replace("owner: shop", files))
    assert (config.state, config.database) == (("keys/*.yaml",), None)


@pytest.mark.parametrize(
    ("state", "problem"),
    [
        ("{postgresql: {dsn: 'postgresql://u:hunter22@db/kv'}}", "kvsync.yaml:3:27: state.postgresql.dsn: "),
        ("{postgresql: {}}", 'kvsync.yaml:3:21: state.postgresql: missing field "dsn"'),
        (
            "{postgresql: {dsn: {env: DSN}}}\nrun: {lease: {etcd: {endpoints: ['https://e:2379']}}}",
            "cannot be combined",
        ),
    ],
)
def test_a_database_that_cannot_be_used(tmp_path: Path, state: str, problem: str) -> None:
    """A connection string is a reference, never a literal; claims and a lease exclude each other."""
    found = problems_of(tmp_path, LEAST.replace("owner: shop", f"owner: shop\nstate: {state}"))
    assert any(problem in one for one in found), found
    assert "hunter22" not in "".join(found)


def test_waves_are_read_in_their_order(tmp_path: Path) -> None:
    text = "waves: [{targets: ['local/dev-*'], bake: 10m}, {targets: ['*'], probe: {command: [./ok, -v], timeout: 5s}}]"
    first, second = load(tmp_path, f"{LEAST}\n{text}").waves
    assert first == Wave(("local/dev-*",), 600)
    assert second == Wave(("*",), 0, Probe(None, ("./ok", "-v"), 5))


@pytest.mark.parametrize(
    ("waves", "message"),
    [
        ("{targets: [edge/web]}", 'waves[0].targets: "edge/web" matches no target of a configured store'),
        ("{targets: [local]}", 'waves[0].targets: "local" matches no target of a configured store'),
        ("{targets: ['*'], probe: {}}", "waves[0].probe: a probe has either http or command"),
        ("{targets: ['*'], probe: {http: 'https://u:hunter22@x/'}}", "waves[0].probe.http: "),
        (
            "{targets: ['*'], bake: 31d}",
            "waves[0].bake: expected a duration such as 30s, 5m or 1h30m, at most 30d, found",
        ),
    ],
)
def test_a_wave_that_holds_nothing_back_is_an_error(tmp_path: Path, waves: str, message: str) -> None:
    """A misspelled wave would be over before it began."""
    with pytest.raises(InvalidInput) as refused:
        load(tmp_path, f"{LEAST}\nwaves: [{waves}]")
    (problem,) = refused.value.problems
    assert message in str(problem)
    assert str(problem).startswith("kvsync.yaml:")
    assert "hunter22" not in str(problem)
