"""history, undo, explain, dump, adopt, doctor, stores, schema, pause: what they say and do."""

from __future__ import annotations

import json
import re
import time

import jsonschema
import pytest

from kvsync.model.entry import Identity, Target
from kvsync.state import StateDir
from tests.cli.conftest import WEB, Repo
from tests.support.places import located


def last_run(repo: Repo) -> str:
    return str(repo.json("history")["runs"][0]["run"])


def test_history_tells_runs_and_their_changes(applied: Repo) -> None:
    """`history` lists runs with the newest first, and with a run's id every change with its line and outcome."""
    applied.drift()
    applied.run("apply", "--yes")
    runs = applied.json("history")["runs"]
    assert [run["summary"]["applied"] for run in runs] == [1, 3]
    assert [run["run"] for run in applied.json("history", "--limit", "1")["runs"]] == [runs[0]["run"]]
    (change,) = applied.json("history", runs[0]["run"])["changes"]
    assert (change["key"], change["class"], change["outcome"]) == ("greeting", "drifted", "applied")
    assert change["origin"] == "state/web.yaml:4:3"
    assert "state/web.yaml:4:3" in applied.run("history", runs[0]["run"]).stdout
    assert "apply" in applied.run("history").stdout


def test_undo_restores_what_a_run_changed(applied: Repo) -> None:
    """`undo RUN` brings back what was updated and deleted, removes what was created, and leaves alone what changed since."""
    applied.write(
        "state/web.yaml", WEB.replace("Hello", "Hi").replace("  timeout: 30\n", "") + "  new: x\n  newer: y\n"
    )
    applied.run("apply", "--yes")
    run = last_run(applied)
    applied.drift("newer", "changed since")
    done = applied.run("undo", run, "--yes", code=3)
    assert "stale" in done.stdout
    assert applied.held() == {"greeting": "Hello", "timeout": "30", "limits": '{"rps":10}', "newer": "changed since"}
    assert applied.json("history")["runs"][0]["source"] == run
    assert applied.run("undo", run, code=4).stdout == ""
    again = applied.json("undo", run, "--yes", code=3)
    assert again["run"] is None
    assert again["summary"]["outcomes"]["unchanged"] == 3


def test_what_is_undone_is_not_drift(applied: Repo) -> None:
    """An undone change is not drift, as kvsync did it: it is refused until its file changes, and the help of undo says so."""
    applied.write("state/web.yaml", WEB.replace("Hello", "Hi"))
    applied.run("apply", "--yes")
    applied.run("undo", last_run(applied), "--yes")
    applied.run("drift")
    (target,) = applied.json("plan")["targets"]
    assert target["changes"] == []
    assert ["undone: kvsync undo reverted run" in refusal["reason"] for refusal in target["refused"]] == [True]
    told = " ".join(applied.run("undo", "--help").stdout.split())
    assert "drift" not in told
    assert "until their files change" in told
    applied.run("resume", "local/web", "--key", "greeting")
    assert applied.json("plan")["summary"]["update"] == 1


def test_undo_shows_what_it_would_do(applied: Repo) -> None:
    """`--dry-run` shows the plan and what cannot be restored, in text and JSON, and changes nothing."""
    applied.write("state/web.yaml", WEB.replace("Hello", "{value: first-secret, sensitive: true}"))
    applied.run("apply", "--yes")
    applied.write("state/web.yaml", WEB.replace("Hello", "{value: second-secret, sensitive: true}").replace("30", "31"))
    applied.run("apply", "--yes")
    run, before = last_run(applied), applied.held()
    shown = applied.run("undo", run, "--dry-run")
    assert "1 to update" in shown.stdout
    assert "1 entry cannot be restored" in shown.stderr
    assert applied.json("undo", "--since", run, "--dry-run")["summary"] | {"unchanged": 0} == {
        **dict.fromkeys(("create", "renew", "adopt", "delete", "unchanged", "foreign"), 0),
        "update": 1,
        "refused": 1,
    }
    assert (applied.held(), last_run(applied)) == (before, run)


def test_undo_says_that_sensitive_values_are_not_kept(applied: Repo) -> None:
    """A previous value that was sensitive cannot be restored; undo says so and exits with 3."""
    applied.write("state/web.yaml", WEB.replace("Hello", "{value: first-secret, sensitive: true}"))
    applied.run("apply", "--yes")
    applied.write("state/web.yaml", WEB.replace("Hello", "{value: second-secret, sensitive: true}"))
    applied.run("apply", "--yes")
    done = applied.run("undo", last_run(applied), "--yes", code=3)
    assert "not kept" in done.stdout
    assert "secret" not in done.stdout + done.stderr


def test_explain_says_why(applied: Repo) -> None:
    """`explain` shows all sides of an entry, the action, its reason, the line of the policy, and the runs that touched it."""
    applied.drift()
    text = applied.run("explain", "greeting").stdout
    for words in (
        '"Hello"', '"Hacked"', "state/web.yaml:4:3", "update (drifted)", "another writer changed it in the store",
        "policy.drift.drifted is heal", "create (new): applied",
    ):  # fmt: skip
        assert words in text
    (entry,) = applied.json("explain", "greeting")["entries"]
    assert (entry["action"], entry["class"], entry["status"]) == ("update", "drifted", "pending")
    assert "it matches the files" in applied.run("explain", "timeout").stdout


def test_explain_knows_entries_by_label_and_those_no_file_asks_for(applied: Repo) -> None:
    """Each label is an entry of its own, an entry without an owner is shown as such, and an unknown key gets a suggestion."""
    applied.write("state/web.yaml", WEB + "  theme: {value: light, labels: {prod: dark}}\n")
    applied.insert("stray", "x")
    assert [one["label"] for one in applied.json("explain", "theme")["entries"]] == [None, "prod"]
    assert [one["label"] for one in applied.json("explain", "theme", "--label", "prod")["entries"]] == ["prod"]
    text = applied.run("explain", "stray").stdout
    assert "kvsync does not own it" in text
    assert '"x"' not in text
    assert "'greeting'" in applied.run("explain", "greting", code=1).stderr
    applied.run("explain", "greeting", "--target", "nowhere", code=64)


def test_a_dump_asks_for_what_is_there(applied: Repo) -> None:
    """Planned right after a dump, the dumped files ask for nothing: text, lines, JSON, bytes, labels, lifetimes, options."""
    (applied.root / "bytes.bin").write_bytes(bytes(range(256)) * 400)
    applied.write(
        "state/web.yaml",
        WEB
        + "  lines: |\n    one\n    two\n"
        + '  odd: "tab\\tquote\\" \\u2028 end"\n'
        + "  large: {file: ../bytes.bin, content_type: application/octet-stream}\n"
        + "  theme: {value: light, tags: {a: b}, labels: {prod: {value: dark, ttl: 1h}, dev: neon}}\n"
        + '  kept: {value: x, protected: true, metadata: {n: [1, 2.5, null, "1"]}}\n'
        + '  sale: {value: "on", expires_at: 2036-12-24T00:00:00Z}\n'
        + "  code: {value: hush-hush, sensitive: true}\n",
    )
    applied.run("apply", "--yes")
    done = applied.run("dump", "local/web", "--to", "dumped")
    assert "set CODE in the environment" in done.stdout
    assert "hush-hush" not in (applied.root / "dumped/web.yaml").read_text()
    applied.run("dump", "local", "--to", "dumped", code=1)
    applied.run("dump", "local", "--to", "dumped", "--force")
    (applied.root / "state/web.yaml").unlink()
    applied.configure(**{"owner: tester": "owner: tester\nstate: dumped/**/*.yaml"})
    applied.run("plan", "--exit-code", env={"CODE": "hush-hush"})
    applied.run("plan", code=78)
    applied.run("dump", "local", "--to", "dumped", "--force", "--include-sensitive")
    applied.run("plan", "--exit-code")


def test_a_dump_of_nothing_writes_nothing(applied: Repo) -> None:
    """A namespace that holds nothing becomes no file, because an empty one would be a request to delete."""
    assert "nothing" in applied.run("dump", "local/none", "--to", "dumped").stdout
    assert not (applied.root / "dumped").exists()


def test_adopt_takes_equal_entries_and_no_others(applied: Repo) -> None:
    """`adopt` marks entries without an owner that equal the files, whatever the policy says, and leaves the rest to apply."""
    applied.configure(**{"prune: owned": "prune: owned\n  adopt: never"})
    applied.insert("same", "x")
    applied.insert("differs", "y")
    applied.write("state/web.yaml", WEB.replace("30", "60") + "  same: x\n  differs: x\n")
    applied.run("adopt", code=4)
    done = applied.run("adopt", "--yes")
    assert "left unchanged: 1 entry without an owner, different from the files" in done.stderr
    assert "local/web: differs: it exists, and kvsync did not write it (different value)" in done.stderr
    assert applied.sql("SELECT key, owner FROM entries WHERE key IN ('same', 'differs') ORDER BY key") == [
        ("differs", None), ("same", "tester"),
    ]  # fmt: skip
    assert applied.held()["timeout"] == "30"
    assert "Nothing to do" in applied.run("adopt", "--yes").stdout


def test_adopting_a_dump_takes_a_store_over(repo: Repo) -> None:
    """A store that others filled is taken over by dump, adopt, and then an empty plan."""
    repo.run("apply", "--yes")
    repo.sql("UPDATE entries SET owner = NULL, mark_fingerprint = NULL")
    repo.run("dump", "local", "--to", "state", "--force")
    repo.run("adopt", "--yes")
    repo.run("plan", "--exit-code")


def test_doctor_says_what_is_well_and_what_is_not(applied: Repo) -> None:
    """`doctor` has a line for each check, the same as JSON, and exits with 78 for bad files."""
    assert applied.run("doctor").stdout.count("ok  ") == 5
    assert re.search(r"loaded: \d+ entr(y|ies) in 1 file\n", applied.run("doctor").stdout)
    assert applied.json("doctor")["ok"] is True
    applied.write("state/web.yaml", "keys: [")
    assert "FAIL  state files" in applied.run("doctor", code=78).stdout


def test_doctor_goes_on_where_the_state_directory_cannot_be_read(applied: Repo) -> None:
    """A damaged state database is a check that failed; files and stores are looked at all the same, and nothing is mended."""
    database = applied.root / ".kvsync/state.db"
    database.write_bytes(b"no database" * 500)
    shown = applied.run("doctor", code=1).stdout
    assert re.search(r"FAIL  state directory: readable: .* \[KV6101\]$", shown, re.MULTILINE)
    assert "ok    store local" in shown
    assert [one["ok"] for one in applied.json("doctor", code=1)["findings"]] == [True, True, True, False, True]
    assert database.read_bytes() == b"no database" * 500


def test_stores_shows_what_each_type_can_do(repo: Repo) -> None:
    """`stores` lists every type in all forms, and needs no configuration."""
    (repo.root / "kvsync.yaml").unlink()
    assert {store["type"] for store in repo.json("stores")["stores"]} >= {"memory", "sqlite"}
    assert "| <code>sqlite</code> | a column |" in repo.run("stores", "-o", "markdown").stdout
    assert "sqlite" in repo.run("stores").stdout


@pytest.mark.parametrize("which", ["config", "state", "plan"])
def test_schemas_are_schemas(repo: Repo, which: str) -> None:
    """Each schema that is printed is a valid JSON Schema."""
    jsonschema.Draft202012Validator.check_schema(json.loads(repo.run("schema", which).stdout))


def test_status_tells_pauses_with_their_reason(applied: Repo) -> None:
    """A pause of a target or of a whole store is shown with its reason; one of the store does not end with the target's."""
    applied.run("pause", "local", "--reason", "moving house")
    applied.run("pause", "local/web")
    assert "moving house" in applied.run("status").stdout
    assert [pause["target"] for pause in applied.json("status")["paused"]] == ["local", "local/web"]
    assert "kvsync resume local" in applied.run("resume", "local/web", code=1).stderr
    applied.run("resume", "local")
    assert applied.json("status")["paused"] == []
    assert "was not paused" in applied.run("resume", "local").stdout


def contend(repo: Repo) -> None:
    """Have another writer change `greeting` back until kvsync heals it no more."""
    for _ in range(3):
        repo.drift()
        repo.run("apply", "--yes")
    repo.drift()
    done = repo.run("apply", "--yes", code=3)
    assert "contended" in done.stdout


def test_resume_with_a_key_retries_an_entry(applied: Repo) -> None:
    """The command that the plan names lets the next apply write a contended entry, and `status` counts it until then."""
    contend(applied)
    assert "deferred: local/web: 1 contended; retry: kvsync resume local/web --key '*'" in applied.run("status").stdout
    (refused,) = applied.json("plan")["targets"][0]["refused"]
    assert "to retry now: kvsync resume local/web --key greeting)" in refused["reason"]
    assert "no deferred entry matches" in applied.run("resume", "local/web", "--key", "time*").stdout
    done = applied.run("resume", "local/web", "--key", "greeting")
    assert done.stdout == "local/web: 1 entry to retry: greeting\n"
    assert done.stderr == ""
    assert applied.json("status")["deferred"] == []
    assert "deferred" not in applied.run("status").stdout
    applied.run("apply", "--yes")
    assert applied.held()["greeting"] == "Hello"


def test_contended_drift_is_drift(applied: Repo) -> None:
    """An entry that kvsync does not heal for now still differs: `drift` shows it, and exits with 2."""
    contend(applied)
    assert "~ greeting  drifted" in applied.run("drift", code=2).stdout
    (target,) = applied.json("drift", code=2)["targets"]
    assert [(change["key"], change["class"]) for change in target["changes"]] == [("greeting", "drifted")]


def test_resume_with_a_key_leaves_pauses_as_they_are(applied: Repo) -> None:
    """An entry is released in a paused target too; the answer says which pause still keeps it from being written."""
    contend(applied)
    applied.run("pause", "local")
    done = applied.run("resume", "local", "--key", "*")
    assert "1 entry to retry: greeting" in done.stdout
    assert done.stderr == "kvsync: local is paused, so nothing is retried; run kvsync resume local\n"
    assert [pause["target"] for pause in applied.json("status")["paused"]] == ["local"]
    applied.run("resume", "other", "--key", "*", code=64)


def test_resume_names_few_of_many(applied: Repo) -> None:
    """Ten entries are named, the others counted, and a pause of all of them is reported once."""
    applied.run("pause", "local")
    with StateDir.open(applied.root / ".kvsync", writable=True) as state:
        for number in range(12):
            place = state.places.enter(located(Target("local", f"n{number // 6}")), time.time()).key
            state.quarantine.put(place, Identity(f"k{number:02}"), b"", "413", time.time())
    done = applied.run("resume", "local", "--key", "k*")
    assert "12 entries to retry: k00, k01, " in done.stdout
    assert done.stdout.endswith("k09, 2 more\n")
    assert done.stderr.count("is paused") == 1


def test_apply_retry_writes_deferred_entries(applied: Repo) -> None:
    """`apply --retry` does not wait for contended entries, and is for plans that are made now."""
    contend(applied)
    applied.run("apply", "--yes", "--retry")
    assert applied.held()["greeting"] == "Hello"
    applied.run("plan", "--out", "plan.json")
    assert "--retry cannot be combined with a plan file" in applied.run("apply", "plan.json", "--retry", code=64).stderr


def test_a_running_daemon_retries_at_once(applied: Repo) -> None:
    """`resume TARGET --key` wakes a daemon, which writes the entry although nothing else is due."""
    contend(applied)
    with (applied.root / "kvsync.yaml").open("a") as file:
        file.write("run: {every: 1h, jitter: 0s}\n")
    daemon = applied.start("run")
    try:
        assert daemon.stderr is not None
        next(line for line in daemon.stderr if "daemon.ready" in line)
        assert applied.held()["greeting"] == "Hacked"
        applied.run("resume", "local/web", "--key", "greeting")
        next(line for line in daemon.stderr if "change.applied" in line)
        assert applied.held()["greeting"] == "Hello"
    finally:
        daemon.terminate()
        daemon.communicate(timeout=60)


def test_a_pause_of_a_misspelt_target_is_an_error(applied: Repo) -> None:
    """A target that no file names and that kvsync never saw is not paused, and the nearest name is suggested; a target may be
    paused before its first pass, and a store at any time."""
    assert "did you mean local/web?" in applied.run("pause", "local/wbe", code=64).stderr
    assert applied.json("status")["paused"] == []
    applied.write("state/new.yaml", "store: local\nnamespace: new\nkeys: {a: 1}\n")
    for target in ("local/new", "local/web", "local"):
        assert applied.run("pause", target).stderr == ""


def test_a_resume_of_a_misspelt_target_is_an_error(applied: Repo) -> None:
    """Neither a pause nor a deferral ends under a name that nothing has, also while its whole store is paused, and the nearest
    name is suggested; what is paused can be resumed, even if no file names it any more."""
    applied.run("pause", "local")
    for more in ((), ("--key", "*")):
        assert "did you mean local/web?" in applied.run("resume", "local/wbe", *more, code=64).stderr
    assert "unknown target 'locla'" in applied.run("resume", "locla", code=64).stderr
    applied.run("resume", "local")
    assert applied.run("resume", "local/web").stdout == "local/web was not paused\n"
    applied.write("state/new.yaml", "store: local\nnamespace: new\nkeys: {a: 1}\n")
    assert applied.run("resume", "local/new").stdout == "local/new was not paused\n"
    applied.run("pause", "local/new")
    (applied.root / "state/new.yaml").unlink()
    assert applied.run("resume", "local/new").stdout == "local/new is resumed\n"


def test_status_shows_what_is_asked_for(applied: Repo) -> None:
    """Targets that need a person come first, errors below them, and filters by state and target narrow the list."""
    applied.write(
        "state/more.yaml", "".join(f"---\nstore: local\nnamespace: n{one}\nkeys: {{a: 1}}\n" for one in range(30))
    )
    applied.run("run", "--once")
    applied.run("pause", "local/n7", "--reason", "moving")
    calm = applied.run("status").stdout
    assert "31 targets: 1 paused, 30 in sync" in calm
    assert re.search(r"^paused +local/n7 ", calm, re.MULTILINE)
    assert "30 in sync; kvsync status --state in-sync lists them" in calm
    assert "local/n8" not in calm
    assert "local/n8" in applied.run("status", "--state", "in-sync").stdout
    assert [one["namespace"] for one in applied.json("status", "--state", "paused")["targets"]] == ["n7"]
    assert [one["state"] for one in applied.json("status", "--target", "local/n3")["targets"]] == ["in-sync"]
    assert "did you mean paused?" in applied.run("status", "--state", "pausd", code=64).stderr
    assert "did you mean local/n3" in applied.run("status", "--target", "local/nn3", code=64).stderr


def test_show_tells_every_change_of_a_run(applied: Repo) -> None:
    """Old and new values as far as the journal has them, fingerprints for the rest, and no secret; a plan file shows the same
    without values."""
    applied.write("state/web.yaml", WEB.replace("Hello", "Hi") + "  pin: {value: hush-hush-4711, sensitive: true}\n")
    applied.run("plan", "--out", "plan.json")
    applied.run("apply", "--yes")
    run = last_run(applied)
    applied.write("state/web.yaml", WEB.replace("Hello", "Hey"))
    applied.run("apply", "--yes")
    shown = applied.run("show", run)
    assert '"Hello" -> "Hi"' in shown.stdout
    assert "(absent) -> (sensitive, fingerprint " in shown.stdout
    (greeting, pin) = applied.json("show", run)["changes"]
    assert (greeting["before"]["value"], greeting["after"]["value"]) == ("Hello", "Hi")
    assert "value" not in pin["after"]
    planned = applied.json("show", "plan.json")
    assert [change["key"] for change in planned["changes"]] == ["greeting", "pin"]
    assert "<code>greeting</code>" in applied.run("show", run, "-o", "markdown").stdout
    assert "hush" not in str(applied.json("show", run)) + shown.stdout + str(planned)
    assert "unknown run" in applied.run("show", "nothing", code=64).stderr


def test_history_is_narrowed(applied: Repo) -> None:
    """By target, time and trigger; each run names its targets, its triggers and the environment."""
    applied.write("state/more.yaml", "store: local\nnamespace: more\nkeys: {a: 1}\n")
    applied.run("run", "--once")
    (run,) = applied.json("history", "--target", "local/more")["runs"]
    assert run["targets"] == [{"store": "local", "namespace": "more", "changes": 1}]
    assert (run["triggers"], run["environment"]) == (["start"], None)
    assert len(applied.json("history", "--target", "local")["runs"]) == 2
    assert [one["run"] for one in applied.json("history", "--since", run["run"])["runs"]] == [run["run"]]
    assert applied.json("history", "--trigger", "start", "--since", "1h")["runs"] == [run]
    assert "no run matches" in applied.run("history", "--commit", "abcdef").stdout


def test_compare_says_what_differs(applied: Repo) -> None:
    """Two targets, and two environments, entry by entry; secrets are compared and never shown; 2 when something differs."""
    keys = "{same: 1, greeting: Hello, pin: {value: hush-hush-1, sensitive: true}, promo: {value: x, ttl: 2h}}"
    two = f"stores: [local, other]\nnamespace: shop\nkeys: {keys}\n"
    applied.write("state/shop.yaml", two)
    config = (applied.root / "kvsync.yaml").read_text()
    config = config.replace("stores:\n", "stores:\n  other: {type: sqlite, path: .kvsync/o.db}\n", 1)
    applied.write("kvsync.yaml", config + "environments: [dev, prod]\n")
    applied.run("apply", "--yes")
    assert "4 equal, 0 different" in applied.run("compare", "local/shop", "other/shop").stdout
    pin = "{value: hush-hush-2, sensitive: true}"
    prod = f"{{greeting: Welcome, pin: {pin}, more: x, promo: {{value: x, ttl: 3h}}}}"
    applied.write("state/shop.prod.yaml", f"keys: {prod}\n")
    found = applied.run("compare", "dev", "prod", "--files", code=2).stdout
    assert '~ greeting  value: "Hello" -> "Welcome"' in found
    assert "~ pin  value  (not shown)" in found
    assert "~ promo  lifetime" in found
    assert "+ more" in found
    entries = applied.json("compare", "dev", "prod", "--files", code=2)["targets"]
    assert "hush" not in found + str(entries)
    assert "unknown 'prd'" in applied.run("compare", "dev", "prd", code=64).stderr


def test_status_tells_the_last_passes(applied: Repo) -> None:
    """After a pass of the daemon `status` shows when it was and what it did, though no daemon runs."""
    assert "the daemon has not made a pass yet" in applied.run("status").stdout
    applied.drift()
    applied.run("run", "--once")
    (target,) = applied.json("status")["targets"]
    assert target["drift"] == {"drifted": 1}
    assert target["changes"]["applied"] == 1
    assert "local/web" in applied.run("status").stdout
