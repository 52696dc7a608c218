"""plan, apply and drift: what they answer, and what they do."""

from __future__ import annotations

import json
import re

import jsonschema
import pytest

from kvsync.app.json_schema import plan_schema
from tests.cli.conftest import WEB, Repo

LARGE = "store: local\nnamespace: web\nkeys:\n" + "".join(f"  key{number}: x\n" for number in range(20))


def test_a_second_plan_is_empty(repo: Repo) -> None:
    """After an apply the same files ask for nothing more."""
    document = repo.json("apply", "--yes")
    assert document["summary"]["outcomes"]["applied"] == 3
    assert repo.run("plan", "--exit-code").stdout == "Nothing to do: 3 unchanged, 0 foreign.\n"
    assert repo.json("apply", "--yes")["run"] is None


def test_documents_are_as_their_schema_says(applied: Repo) -> None:
    """What plan, apply and drift print as JSON, and what --out saves, fits `kvsync schema plan`."""
    schema = json.loads(applied.run("schema", "plan").stdout)
    assert schema == plan_schema()
    applied.drift()
    applied.write("state/web.yaml", WEB + "  new: {value: x, ttl: 1h}\n  secret: {value: hush, sensitive: true}\n")
    applied.run("plan", "--out", "saved.json")
    documents = [
        applied.json("plan"),
        applied.json("drift", code=2),
        json.loads((applied.root / "saved.json").read_text()),
    ]
    documents.append(applied.json("apply", "--yes"))
    for document in documents:
        jsonschema.validate(document, schema)


def test_other_forms_are_written_in_the_same_run(repo: Repo) -> None:
    """--json-into and --markdown-into write files next to the answer, for plans and for applies."""
    for command in (["plan"], ["apply", "--yes"]):
        done = repo.run(*command, "--json-into", "out.json", "--markdown-into", "out.md")
        assert "to create" in done.stdout
        assert json.loads((repo.root / "out.json").read_text())["summary"]["create"] == 3
        assert "<!-- kvsync-plan -->" in (repo.root / "out.md").read_text()
        assert sorted(file.name for file in repo.root.glob("*out.*")) == ["out.json", "out.md"]


def test_targets_and_keys_narrow_a_plan(repo: Repo) -> None:
    """--target takes a store or store/namespace, --key a glob; both may be given several times."""
    repo.write("state/shop.yaml", "store: local\nnamespace: shop\nkeys: {a: 1, b: 2}\n")

    def keys(*arguments: str) -> list[str]:
        return [change["key"] for target in repo.json("plan", *arguments)["targets"] for change in target["changes"]]

    assert keys("--target", "local/shop") == ["a", "b"]
    assert keys("--target", "local", "--key", "b", "--key", "g*") == ["b", "greeting"]
    repo.run("apply", "--yes", "--key", "a")
    assert repo.held("shop") == {"a": "1"}
    assert repo.held() == {}


def test_a_saved_plan_is_applied_as_far_as_it_is_the_same(applied: Repo) -> None:
    """`apply FILE` applies the saved changes that still result, reports the others as stale with 3, and adds nothing."""
    applied.write("state/web.yaml", WEB.replace("Hello", "Hi").replace("30", "60") + "  new: x\n")
    applied.run("plan", "--out", "plan.json")
    applied.drift("timeout", "45")
    applied.write("state/web.yaml", WEB.replace("Hello", "Hi").replace("30", "60") + "  new: x\n  later: y\n")
    document = applied.json("apply", "plan.json", code=3)
    outcomes = {outcome["key"]: outcome["outcome"] for outcome in document["targets"][0]["outcomes"]}
    assert outcomes == {"greeting": "applied", "new": "applied", "timeout": "stale"}
    assert applied.held() == {"greeting": "Hi", "new": "x", "timeout": "45", "limits": '{"rps":10}'}


def test_a_saved_plan_holds_no_value(repo: Repo) -> None:
    """A plan file has fingerprints and places, and no value at all."""
    repo.run("plan", "--out", "plan.json")
    text = (repo.root / "plan.json").read_text()
    assert "Hello" not in text
    assert "rps" not in text


def test_a_saved_plan_of_another_owner_or_environment_is_refused(repo: Repo) -> None:
    """A plan file that was made for something else is refused with 4, and nothing is done."""
    repo.run("plan", "--out", "plan.json")
    repo.configure(tester="other")
    assert "owner 'tester'" in repo.run("apply", "plan.json", code=4).stderr
    assert repo.held() == {}


@pytest.mark.parametrize("text", ["", "{", "[]", '{"schema": "kvsync.plan/2"}', "\xff"])
def test_a_damaged_plan_file_is_invalid(repo: Repo, text: str) -> None:
    """A plan file that is none is refused with 78 and its name."""
    (repo.root / "plan.json").write_bytes(text.encode("latin-1"))
    assert "plan.json" in repo.run("apply", "plan.json", code=78).stderr
    assert "missing.json" in repo.run("apply", "missing.json", code=78).stderr


def test_a_parked_plan_is_released_by_its_hash(repo: Repo) -> None:
    """`approve HASH` lets the next apply do exactly that plan, `apply --approve HASH` does it in one step, and another plan
    needs an approval of its own."""
    repo.write("state/web.yaml", LARGE)
    repo.run("apply", "--yes")
    repo.write("state/web.yaml", LARGE.split("  key10")[0])
    (target,) = repo.json("plan", code=4)["targets"]
    digest = target["digest"].removeprefix("sha256:")
    assert "max_delete_pct" in target["parked"][0]
    assert digest[:12] in repo.run("status").stdout
    assert "parked" in repo.run("approve", "0" * 12, code=4).stderr
    repo.run("approve", digest[:12])
    repo.run("plan", "--exit-code", code=2)
    repo.write("state/web.yaml", LARGE.split("  key9")[0])
    repo.run("apply", "--yes", code=4)
    assert len(repo.held()) == 20
    (target,) = repo.json("plan", code=4)["targets"]
    repo.run("apply", "--yes", "--approve", target["digest"])
    assert len(repo.held()) == 9


def test_a_hash_is_good_for_one_key(repo: Repo) -> None:
    """The hash of the same plan under another key releases nothing: authors cannot compute one. With the key it does."""
    repo.write("state/web.yaml", LARGE)
    repo.run("apply", "--yes")
    repo.write("state/web.yaml", LARGE.split("  key10")[0])
    key = repo.root / ".kvsync/key"
    own, other = key.read_bytes(), b"k" * 32
    key.write_bytes(other)
    digest = repo.json("plan", code=4)["digest"]
    key.write_bytes(own)
    done = repo.run("apply", "--yes", "--approve", digest, code=4)
    assert "this plan has another hash" in done.stderr
    assert "with another state directory (another key)" in done.stderr
    assert len(repo.held()) == 20
    key.write_bytes(other)
    repo.run("apply", "--yes", "--approve", digest[len("sha256:") :][:12])
    assert len(repo.held()) == 10


def test_a_move_onto_other_entries_is_parked(repo: Repo) -> None:
    """Keys that are moved onto keys with other values are deleted, whatever the files call it."""
    head, keys = "store: local\nnamespace: web\nkeys:\n", [f"  key{n}: x{n}\n" for n in range(20)]
    repo.write("state/web.yaml", head + "".join(keys))
    repo.run("apply", "--yes")
    moved = ", ".join(f"{{from: key{n}, to: key{n - 10}}}" for n in range(10, 20))
    repo.write("state/web.yaml", f"{head}{''.join(keys[:10])}moved: [{moved}]\n")
    (target,) = repo.json("plan", code=4)["targets"]
    assert "would delete 10 of 20 entries" in target["parked"][0]


def test_drift_shows_only_what_others_did(applied: Repo) -> None:
    """A changed file is not drift; a changed, and a missing entry are."""
    applied.write("state/web.yaml", WEB.replace("30", "60"))
    applied.drift()
    applied.sql("DELETE FROM entries WHERE key = 'limits'")
    (target,) = applied.json("drift", code=2)["targets"]
    assert {change["key"]: change["class"] for change in target["changes"]} == {
        "greeting": "drifted",
        "limits": "missing",
    }
    text = applied.run("drift", code=2).stdout
    assert '~ greeting  drifted  "Hacked" -> "Hello"' in text
    assert text.endswith("Drift: 1 drifted, 1 missing.\n")


def test_protected_entries_need_to_be_allowed(applied: Repo) -> None:
    """A protected entry is overwritten only with --allow-protected."""
    applied.write("state/web.yaml", WEB.replace("Hello", "{value: Hello, protected: true}"))
    applied.run("apply", "--yes")
    applied.write("state/web.yaml", WEB.replace("Hello", "{value: Hi, protected: true}"))
    assert "--allow-protected" in applied.run("apply", "--yes", code=3).stdout
    applied.run("apply", "--yes", "--allow-protected")
    assert applied.held()["greeting"] == "Hi"


def test_a_state_directory_that_cannot_be_used_is_named(repo: Repo) -> None:
    """What is wrong with the state directory is said with its path and the setting to change, by every command."""
    repo.write(".kvsync", "not a folder")
    for command in ("plan", "apply --yes", "run --once", "status", "history"):
        assert "state_dir" in repo.run(*command.split(), code=78).stderr


def test_validate_checks_every_environment(repo: Repo) -> None:
    """`validate` finds what is wrong in an overlay of an environment that is not in force, unless --env names another."""
    repo.configure(**{"owner: tester": "owner: tester\nenvironments: [dev, prod]\nenvironment: dev"})
    assert repo.run("validate").stdout == (
        "dev: valid: 3 entries, 1 target, 1 file\nprod: valid: 3 entries, 1 target, 1 file\n"
    )
    repo.write("state/web.prod.yaml", "keys:\n  greeting: {ttl: 0s, value: x}\n")
    assert "state/web.prod.yaml:2:" in repo.run("validate", code=78).stderr
    repo.run("validate", "--env", "dev")
    repo.run("validate", "--env", "dev", "--all-environments", code=78)
    repo.run("plan")


def test_validate_warns_of_globs_of_waves_that_decide_nothing(repo: Repo) -> None:
    """One whose targets are all in an earlier wave, and one that matches no target of any environment."""
    waves = "waves: [{targets: ['local/w*']}, {targets: [local/web, 'local/t?po', local/dev]}]"
    repo.configure(**{"owner: tester": f"owner: tester\nenvironments: [dev, prod]\n{waves}"})
    repo.write("state/other.yaml", "store: local\nnamespace: dev\nkeys: {a: 1}\n")
    warnings = repo.run("validate").stderr.splitlines()
    assert [re.findall('targets: ("[^"]+" matches (?:nothing|no target))', one) for one in warnings] == [
        ['"local/t?po" matches no target'],
        ['"local/web" matches nothing'],
    ]


def test_init_writes_what_works(repo: Repo) -> None:
    """What init writes validates, applies, and then asks for nothing; it overwrites nothing, and says what to do next."""
    done = repo.run("init", "shop")
    assert "kvsync plan" in done.stdout
    assert (repo.root / "shop/.gitignore").read_text() == ".kvsync/\n"
    repo.run("init", "shop", code=64)
    repo.root /= "shop"
    repo.run("validate")
    repo.run("apply", "--yes")
    repo.run("plan", "--exit-code")


ORDERED = """\
store: local
namespace: web
keys:
  alarm: {{value: v{0}, after: [zone]}}
  sentinel: {{value: v{0}, after: all}}
  vip: {{value: v{0}, protected: true}}
  zone: v{0}
"""


def test_the_last_entry_waits_for_what_is_refused(repo: Repo) -> None:
    """An entry with `after: all` is refused while another one of its target is, and plans say what is written before what."""
    repo.write("state/web.yaml", ORDERED.format(1))
    created = repo.json("plan")["targets"][0]["changes"]
    orders = {one["key"]: (one.get("written_after"), one.get("written_last")) for one in created}
    assert orders == {"alarm": (["zone"], None), "sentinel": (None, True), "vip": (None, None), "zone": (None, None)}
    text = repo.run("plan").stdout
    assert '+ sentinel  "v1"  written last' in text
    assert '+ alarm  "v1"  after zone' in text
    repo.run("apply", "--yes")
    repo.write("state/web.yaml", ORDERED.format(2))
    held = repo.json("apply", "--yes", code=3)["targets"][0]
    assert {one["key"]: one["reason"] for one in held["refused"]} == {
        "sentinel": "it is written after everything else of its target, and vip cannot be written yet",
        "vip": "it is protected (different value); use --allow-protected to overwrite or delete it",
    }
    assert repo.held() == {"alarm": "v2", "sentinel": "v1", "vip": "v1", "zone": "v2"}
    repo.run("apply", "--yes", "--allow-protected")
    assert repo.held() == dict.fromkeys(("alarm", "sentinel", "vip", "zone"), "v2")


def test_the_last_entry_waits_for_what_went_stale(repo: Repo) -> None:
    """Of a saved plan, the last entry is left out when another one changed since in the files, and not when it was applied."""
    repo.write("state/web.yaml", ORDERED.format(1))
    repo.run("plan", "--out", "plan.json")
    repo.write("state/web.yaml", ORDERED.format(1).replace("zone: v1", "zone: v2"))
    outcomes = repo.json("apply", "plan.json", "--yes", code=3)["targets"][0]["outcomes"]
    assert {one["key"]: one["outcome"] for one in outcomes} == {
        "alarm": "skipped", "sentinel": "skipped", "vip": "applied", "zone": "stale",
    }  # fmt: skip
    repo.run("plan", "--out", "plan.json")
    repo.run("apply", "--yes", "--key", "zone")
    repo.run("apply", "plan.json", "--yes", code=None)
    assert repo.held() == {"alarm": "v1", "sentinel": "v1", "vip": "v1", "zone": "v2"}


def test_a_pause_that_was_lost_with_its_database_is_reported(repo: Repo) -> None:
    """Without `state.db` nothing is paused any more; no command goes on without saying so."""
    repo.run("apply", "--yes")
    repo.run("pause", "local/web")
    for file in (repo.root / ".kvsync").glob("state.db*"):
        file.unlink()
    for command in ("status", "plan", "status"):  # a command that only reads does not hide the loss from the next one
        shown = repo.run(command)
        assert "state.lost" in shown.stderr
        assert "history, pauses, approvals, local ledgers" in shown.stderr
    assert "state.lost" in repo.run("apply", "--yes").stderr
    (repo.root / ".kvsync/state.db").write_bytes(b"")
    refused = repo.run("apply", "--yes", code=1)
    assert "state.db is empty, although kvsync has used it before; restore it, or move it away" in refused.stderr
