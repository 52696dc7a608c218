"""Taking ownership: of entries without an owner (`adopt`), and of those of a former owner (`transfer`)."""

from __future__ import annotations

from tests.cli.conftest import WEB, Repo


def marks(repo: Repo) -> dict[str, str | None]:
    """Whose the entries are."""
    return dict(repo.sql("SELECT key, owner FROM entries"))


def rename_owner(repo: Repo) -> None:
    """Give the configuration another owner."""
    repo.configure(**{"owner: tester": "owner: other"})


def test_a_transfer_takes_over_the_entries_of_a_former_owner(applied: Repo) -> None:
    """After a change of owner everything is taken; a transfer marks the desired entries and changes no value, also of those
    that differ from the files by then. The next apply updates those."""
    rename_owner(applied)
    applied.write("state/web.yaml", WEB.replace("Hello", "Hi").replace("  timeout: 30\n", ""))
    before = applied.held()
    reasons = {one["key"]: one["reason"] for one in applied.json("plan")["targets"][0]["refused"]}
    assert reasons == {
        "greeting": "it belongs to owner 'tester' (different value); to take it over, run kvsync transfer --from-owner tester",
        "limits": "it belongs to owner 'tester' (equal content); to take it over, run kvsync transfer --from-owner tester",
    }
    seen = applied.json("transfer", "--from-owner", "tester", "--dry-run")["targets"][0]["changes"]
    assert [(one["action"], one["class"], one["key"]) for one in seen] == [
        ("adopt", "taken", "greeting"), ("adopt", "taken", "limits"),
    ]  # fmt: skip
    assert set(marks(applied).values()) == {"tester"}
    applied.run("transfer", "--from-owner", "tester", code=4)
    done = applied.run("transfer", "--from-owner", "tester", "--yes")
    assert "= greeting  taken" in done.stdout
    assert applied.held() == before
    assert marks(applied) == {"greeting": "other", "limits": "other", "timeout": "tester"}
    changes = applied.json("plan")["targets"][0]["changes"]
    assert [(one["action"], one["class"], one["key"]) for one in changes] == [("update", "changed", "greeting")]
    applied.run("apply", "--yes")
    assert applied.held()["greeting"] == "Hi"


def test_only_the_named_owner_is_taken_over(applied: Repo) -> None:
    """Entries of a third owner stay, and so does a copy of an entry: its mark was made for another key."""
    rename_owner(applied)
    applied.sql("UPDATE entries SET owner = 'third' WHERE key = 'limits'")
    applied.sql(
        "INSERT INTO entries (namespace, key, value, owner, mark_fingerprint)"
        " SELECT namespace, 'copy', value, owner, mark_fingerprint FROM entries WHERE key = 'greeting'"
    )
    applied.write("state/web.yaml", WEB + "  copy: Hello\n")
    done = applied.run("transfer", "--from-owner", "tester", "--yes")
    assert "local/web: copy: its mark of owner 'tester' was made for another place or key (a copy)" in done.stderr
    assert marks(applied) == {"greeting": "other", "timeout": "other", "limits": "third", "copy": "tester"}


def test_adopt_tells_what_it_leaves(repo: Repo) -> None:
    """The plan comes first; what differs, is locked or belongs to others is listed with what differs."""
    repo.run("apply", "--yes", "--key", "limits")
    repo.insert("greeting", "Hello")
    repo.insert("timeout", "31")
    rename_owner(repo)
    seen = repo.run("adopt", "--dry-run")
    assert "= greeting  unowned" in seen.stdout
    assert marks(repo) == {"limits": "tester", "greeting": None, "timeout": None}
    done = repo.run("adopt", "--yes")
    assert done.stderr.splitlines()[:4] == [
        "left unchanged: 1 entry without an owner, different from the files",
        "  local/web: timeout: it exists, and kvsync did not write it (different value); policy.adopt is if-equal",
        "left unchanged: 1 entry of another owner",
        "  local/web: limits: it belongs to owner 'tester' (equal content); "
        "to take it over, run kvsync transfer --from-owner tester",
    ]
    assert marks(repo) == {"limits": "tester", "greeting": "other", "timeout": None}
