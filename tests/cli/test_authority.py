"""Promise 10 through the real command: state files that ask for more than they may, against every command that reads them."""

from __future__ import annotations

import pytest

from tests.cli.conftest import Repo

OPERATOR = """\
version: 1
owner: team-a
policy:
  prune: owned
  adopt: never
  drift: report
  guard: {max_delete_pct: 10, min_existing: 1, max_deletes: 1}
  ignore: ["vault/*"]
stores:
  local: {type: sqlite, path: .kvsync/store.db}
  edge: {type: cloudflare-kv, account_id: "0f2a", endpoint: "http://127.0.0.1:9", token: {env: EDGE_TOKEN}}
"""
ESCALATIONS = (
    "prune: scope",
    "adopt: always",
    "drift: heal",
    "ignore: []",
    "guard: {max_delete_pct: 100}",
    "guard: {max_update_pct: 100}",
    "guard: {max_deletes: 1000000}",
    "guard: {min_existing: 1000000}",
)
COMMANDS = ("validate", "plan -o json", "drift", "adopt --yes", "apply --yes --deep", "run --once")
CANARY = "canary-0f2a-b1c3"


def want(repo: Repo, keys: str, head: str = "", namespace: str = "web") -> None:
    """Write the state file of a namespace."""
    repo.write(f"state/{namespace}.yaml", f"store: local\nnamespace: {namespace}\n{head}keys: {keys}\n")


@pytest.mark.parametrize("line", ESCALATIONS)
def test_each_line_through_every_command(repo: Repo, line: str) -> None:
    """Every command that reads the file says so and ends with 78; the entries of others and of ours stay."""
    repo.write("kvsync.yaml", OPERATOR)
    want(repo, "{mine: a}")
    repo.run("apply", "--yes")
    for key in ("vault/1", *(f"foreign{number}" for number in range(9))):
        repo.insert(key, "theirs")
    before = repo.held()
    want(repo, "{foreign1: x}", f"policy: {{{line}}}\n")
    for command in COMMANDS:
        done = repo.run(*command.split(), code=78)
        assert "state/web.yaml:3:" in done.stdout + done.stderr
    assert repo.held() == before


@pytest.mark.parametrize("value", ["{env: EDGE_TOKEN}", "{env: HOME}", "{file: ../secrets/key}"])
def test_nothing_is_read_that_was_not_granted(repo: Repo, value: str) -> None:
    """No command writes a variable or a file that the operator did not grant to a store, or shows it."""
    repo.write("kvsync.yaml", f"{OPERATOR}authors: {{files: [state]}}\n")
    secret = repo.write("secrets/key", CANARY)
    env = {"EDGE_TOKEN": CANARY, "HOME": CANARY}
    want(repo, "{mine: a}")
    repo.run("apply", "--yes", env=env)
    want(repo, f"{{mine: {value}, other: {{value: x, labels: {{l: {value}}}}}}}")
    for command in COMMANDS:
        done = repo.run(*command.split(), env=env, code=78)
        assert CANARY not in done.stdout + done.stderr
    assert repo.held() == {"mine": "a"}
    for file in repo.root.rglob("*"):
        assert file == secret or not file.is_file() or CANARY.encode() not in file.read_bytes()


def test_a_target_of_others_goes_on(repo: Repo) -> None:
    """A file that names a target of others is an error; theirs is applied all the same, and no entry of it is taken."""
    grants = "{path: state/web.yaml, namespaces: [web]}, {path: state/pay.yaml, namespaces: [pay]}"
    repo.write("kvsync.yaml", f"{OPERATOR}authors: {{targets: [{grants}]}}\n")
    want(repo, "{mine: a}")
    want(repo, "{price: 1}", namespace="pay")
    repo.run("apply", "--yes")
    repo.write("state/web.yaml", "store: local\nnamespace: pay\nkeys: {price: 0, new: 1}\n")
    want(repo, "{price: 1, more: 2}", namespace="pay")
    done = repo.run("apply", "--yes", code=78)
    assert 'state/web.yaml:2:12: would manage "local/pay"' in done.stderr
    assert (repo.held(), repo.held("pay")) == ({"mine": "a"}, {"price": "1", "more": "2"})


ID, OWN_ID = "a23ce2e04936484d9a4d9f4d8c9e1b2f", "b" * 32
NAMED_BY_ID = {
    "cloudflare": ("edge", ID, True),
    "cloudflare in capitals": ("edge", ID.upper(), True),
    "cloudflare, an id of namespace_ids under another name": ("edge", OWN_ID.replace("b", "a"), True),
    "cloudflare, a name of namespace_ids": ("edge", "a" * 31 + "0", False),
    "apify": ("scraper", "aBcD1eFgH2iJkL3mN", True),
    "apify of another account": ("scraper", "auser~prices", True),
    "a name": ("scraper", "a-prices", False),
}


@pytest.mark.parametrize("case", NAMED_BY_ID)
def test_an_id_is_not_granted_by_a_wildcard(repo: Repo, case: str) -> None:
    """A wildcard for names does not cover ids of the server, which lead to namespaces of others; a line with the id does."""
    store, namespace, is_denied = NAMED_BY_ID[case]
    ids = f"{{{'a' * 31}0: {OWN_ID}, web: {'a' * 32}}}"
    config = f"""\
version: 1
owner: team-a
policy: {{prune: owned, adopt: never, drift: report}}
stores:
  edge: {{type: cloudflare-kv, account_id: "0f2a", token: {{env: EDGE_TOKEN}}, namespace_ids: {ids}}}
  scraper: {{type: apify, token: {{env: APIFY_TOKEN}}}}
"""
    repo.write("state/web.yaml", f'store: {store}\nnamespace: "{namespace}"\nkeys: {{price: 0}}\n')
    for pattern, code in ((("*", "a*", "A*"), 78 if is_denied else 0), ((namespace,), 0)):
        grant = f"{{path: 'state/**', namespaces: [{', '.join(map(repr, pattern))}]}}"
        repo.write("kvsync.yaml", f"{config}authors: {{targets: [{grant}]}}\n")
        done = repo.run("validate", code=code)
        assert ("state/web.yaml:2:12: would manage" in done.stderr) is bool(code)
        assert ("by an id of the server; authors.targets must list it without a wildcard" in done.stderr) is bool(code)
    repo.write("kvsync.yaml", f"{config}authors: {{targets: [{{path: 'state/**', stores: [{store}]}}]}}\n")
    repo.run("validate")
