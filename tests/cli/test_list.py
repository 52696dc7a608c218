"""What kvsync owns: `list`, and entries that no file names any more."""

from __future__ import annotations

from tests.cli.conftest import WEB, Repo


def test_entries_are_listed_with_their_file_and_run(applied: Repo) -> None:
    """Each entry that kvsync wrote has its place in the files and its last run; entries of others are not listed."""
    applied.insert("foreign", "x")
    [target] = applied.json("list")["targets"]
    run = applied.json("history")["runs"][0]["run"]
    assert [(one["key"], one["origin"], one["orphan"], one["last_run"]) for one in target["entries"]] == [
        ("greeting", "state/web.yaml:4:3", False, run),
        ("limits", "state/web.yaml:6:3", False, run),
        ("timeout", "state/web.yaml:5:3", False, run),
    ]
    assert "greeting  state/web.yaml:4:3" in applied.run("list", "local/web").stdout
    assert applied.run("list", "--orphans").stdout == "no orphans\n"
    assert "unknown target local/wbe" in applied.run("list", "local/wbe", code=64).stderr


def test_what_no_file_names_is_an_orphan(applied: Repo) -> None:
    """A key that left the files while nothing is pruned, and every entry of a target whose file was deleted."""
    applied.write("state/shop.yaml", WEB.replace("web", "shop"))
    applied.configure(**{"prune: owned": "prune: off"})
    applied.run("apply", "--yes")
    (applied.root / "state/shop.yaml").unlink()
    applied.write("state/web.yaml", WEB.replace("  timeout: 30\n", ""))
    shop, web = applied.json("list", "--orphans")["targets"]
    assert (shop["managed"], [one["key"] for one in shop["entries"]]) == (False, ["greeting", "limits", "timeout"])
    assert (web["managed"], [one["key"] for one in web["entries"]]) == (True, ["timeout"])
    plan = applied.json("plan")
    assert plan["unmanaged"] == [{"store": "local", "namespace": "shop", "orphans": 3, "configured": True}]
    assert [(one["orphans"], one["unchanged"], one["changes"]) for one in plan["targets"]] == [(1, 3, [])]
    for _ in range(2):  # the second plan asks the store only whether anything changed
        assert applied.run("plan").stdout == (
            "1 orphan in local/web: no file names them, and policy.prune is off\n"
            "3 orphans in local/shop: no file names the target; delete them with keys: {}, or give them up with"
            " kvsync release local/shop\n"
            "Nothing to do: 3 unchanged, 0 foreign.\n"
        )
        applied.run("run", "--once")
    said = "3 orphans in local/shop: no file names the target; delete them with keys: {}, or give them up with"
    assert said in applied.run("plan", "-o", "markdown").stdout.replace("\\", "")
    status = applied.run("status").stdout
    assert f"{said} kvsync release local/shop\n1 orphan in local/web: no file names them" in status
    assert [(one["namespace"], one["managed"], one["orphans"]) for one in applied.json("status")["orphans"]] == [
        ("shop", False, 3),
        ("web", True, 1),
    ]
    text = applied.run("list").stdout
    assert "3 orphans in local/shop: no file names the target; delete them with keys: {}, or give them up" in text
    assert "1 orphan in local/web: no file names them" in text


def test_a_broken_file_makes_no_orphans(applied: Repo) -> None:
    """While a file has problems nobody knows what it names."""
    applied.write("state/web.yaml", WEB.replace("timeout: 30", "timeout: null"))
    [target] = applied.json("list")["targets"]
    assert (target["managed"], target["orphans"]) == (True, 0)
    assert "not known" in applied.run("list").stdout


def test_an_orphan_is_explained(applied: Repo) -> None:
    """What no file names any more is explained with what can be done, and a key that nobody knows with the nearest names."""
    (applied.root / "state/web.yaml").unlink()
    applied.write("state/other.yaml", "store: local\nnamespace: other\nkeys: {limits2: x}\n")
    found = applied.json("explain", "greeting")["entries"][0]
    assert found["namespace"] == "web"
    assert "write keys: {} for the target to delete it, or run kvsync release" in found["why"][0]
    assert "did you mean 'limits2'?" in applied.run("explain", "limits3", code=1).stderr
    assert "no such error code: 'kv4199'; see the list" in applied.run("explain", "kv4199", code=1).stderr
    (applied.root / "kvsync.yaml").rename(applied.root / "other.yaml")
    assert "no such error code: 'KV9999'; see the list" in applied.run("explain", "KV9999", code=64).stderr
    (applied.root / "other.yaml").rename(applied.root / "kvsync.yaml")
    assert "3 orphans in local/web: no file names the target; delete them with keys: {}" in applied.run("plan").stdout


def test_a_former_name_of_a_store_comes_with_advice_that_works(applied: Repo) -> None:
    """After a store was renamed, what no file names is reported with the command that gives it its new name."""
    applied.write("state/shop.yaml", WEB.replace("web", "shop"))
    applied.run("apply", "--yes")
    applied.run("pause", "local/web")
    (applied.root / "state/shop.yaml").unlink()
    applied.configure(**{"  local:": "  main:"})
    applied.write("state/web.yaml", WEB.replace("store: local", "store: main"))
    advice = "kvsync.yaml has no store 'local'; if you renamed it, run kvsync transfer --from-store local"
    for command in ("plan", "list", "status"):
        assert f"3 entries owned in local/shop: {advice}" in applied.run(command).stdout
    assert f", but {advice}; otherwise, run kvsync resume local/web\n" in applied.run("status").stdout
    run = applied.json("history")["runs"][-1]["run"]
    applied.run("transfer", "--from-store", "local", "--yes")
    assert [one["run"] for one in applied.json("history", "--target", "main/web")["runs"]] == [run]
    assert {one["last_run"] for one in applied.json("list", "main/web")["targets"][0]["entries"]} == {run}
    for command in ("plan", "list", "status"):
        said = applied.run(command).stdout
        assert "give them up with kvsync release main/shop" in said
        assert "local/" not in said
    assert "3 to release" in applied.run("release", "main/shop", "--dry-run").stdout


def test_entries_of_a_previous_owner_are_not_orphans(applied: Repo) -> None:
    """After a change of the owner, what no file defines stays with the previous one: `list`, `plan` and `status` do not count
    it as ours or as orphans, and `list` says whose it is."""
    applied.write("state/web.yaml", WEB.replace("  timeout: 30\n", ""))
    applied.configure(**{"owner: tester": "owner: team", "prune: owned": "prune: off"})
    [before] = applied.json("list")["targets"]
    assert (before["entries"], before["orphans"], before["previous_owners"]) == ([], 0, {"tester": 3})
    applied.run("transfer", "--from-owner", "tester", "--yes")
    [target] = applied.json("list")["targets"]
    assert [one["key"] for one in target["entries"]] == ["greeting", "limits"]
    assert (target["orphans"], target["previous_owners"]) == (0, {"tester": 1})
    said = "1 entry of the previous owner 'tester'; kvsync transfer --from-owner tester takes over those that the files define"
    assert said in applied.run("list").stdout
    (applied.root / "state/web.yaml").unlink()
    applied.write("state/other.yaml", WEB.replace("web", "other"))
    assert applied.json("plan")["unmanaged"][0]["orphans"] == 2
    assert [one["orphans"] for one in applied.json("status")["orphans"]] == [2]
