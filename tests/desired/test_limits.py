"""What reading may cost: each limit is an error of the file that exceeds it, all others go on."""

from __future__ import annotations

import shutil
import tracemalloc
from dataclasses import replace
from pathlib import Path

import pytest

from kvsync.desired import DesiredState
from kvsync.desired.jail import Jail
from kvsync.model.entry import Identity, Target
from kvsync.stores.memory.store import MemoryStore
from tests.desired.conftest import CONFIG, WEB, Repo

OTHER = Target("core", "other")


@pytest.fixture
def two(repo: Repo) -> Repo:
    """A repository with two targets in two files."""
    repo.web("keys: {a: 1}\n")
    repo.write("state/other.yaml", "store: core\nnamespace: other\nkeys: {a: 1}\n")
    return repo


def limit(repo: Repo, **limits: object) -> None:
    """Configure limits."""
    lines = ", ".join(f"{name}: {value}" for name, value in limits.items())
    repo.write("kvsync.yaml", f"{CONFIG}limits: {{{lines}}}\n")


def held(loaded: DesiredState) -> str:
    """The one problem that holds edge/web, and nothing else."""
    assert (loaded.hold_all, list(loaded.held)) == ((), [WEB])
    assert [OTHER, *loaded.held] == sorted({*loaded.targets, *loaded.held})
    (problem,) = loaded.held[WEB]
    return str(problem)


def sparse(repo: Repo, path: str, size: int) -> Path:
    """A large file that takes no room."""
    file = repo.write(path, b"")
    with file.open("r+b") as stream:
        stream.truncate(size)
    return file


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The files that are read, as opposed to looked at."""
    found: list[str] = []
    read = Jail.read

    def reading(jail: Jail, physical: str, most: int) -> bytes:
        found.append(physical)
        return read(jail, physical, most)

    monkeypatch.setattr(Jail, "read", reading)
    return found


@pytest.mark.parametrize("kind", ["file", "files"])
def test_a_file_that_no_store_could_hold_is_not_read(two: Repo, reads: list[str], kind: str) -> None:
    """Its size is looked at, so that fifteen large ones need no gigabyte."""
    two.capabilities = replace(MemoryStore.capabilities, max_value=10 * 1024)
    for number in range(15):
        sparse(two, f"assets/{number}.bin", 64 * 2**20)
    refer = "keys: {a: {file: ../assets/0.bin}}\n" if kind == "file" else "keys: {}\nfiles: [{path: ../assets}]\n"
    two.web(refer)
    said = held(two.load())
    assert "it is too large: 64 MiB; the configured stores allow at most 10,240 bytes" in said
    assert not any("assets" in path for path in reads)


def test_the_largest_file_and_the_stores(two: Repo, reads: list[str]) -> None:
    """Where one store takes anything, the limit of the configuration holds; a whole entry's size counts as a value's."""
    two.capabilities = replace(MemoryStore.capabilities, max_value=None)
    sparse(two, "big.bin", 65 * 2**20)
    two.web("keys: {a: {file: ../big.bin}}\n")
    assert "it is too large: 65 MiB; the limit is 64 MiB; raise limits.value_file" in held(two.load())
    sparse(two, "big.bin", 64 * 2**20 + 1)
    assert "it is too large: 67,108,865 bytes; the limit is 67,108,864 bytes; raise" in held(two.load())
    limit(two, value_file="1kB")
    two.write("big.bin", b"x" * 1001)
    assert "it is too large: 1,001 bytes; the limit is 1,000 bytes" in held(two.load())
    assert "big.bin" not in reads
    two.write("big.bin", b"x" * 1000)
    assert two.load().problems == ()
    two.capabilities = replace(MemoryStore.capabilities, max_value=None, max_entry=999)
    assert "the configured stores allow at most 999 bytes" in held(two.load())


def test_how_many_files_and_how_large_together(two: Repo, reads: list[str]) -> None:
    """Counted for each state file, before any of the files is read, those that are named twice too."""
    for number in range(4):
        two.write(f"assets/{number}", b"x" * 100)
    two.web("keys: {a: {file: ../assets/0}}\nfiles: [{path: ../assets, prefix: x/}]\n")
    assert two.load().problems == ()
    for limits, said in (
        ({"value_files": 4}, "reads values from more than 4 files; split it, or raise limits.value_files"),
        (
            {"value_bytes": 499},
            "reads more than 499 bytes of values from other files; split it, or raise limits.value_bytes",
        ),
    ):
        limit(two, **limits)
        reads.clear()
        assert said in held(two.load())
        assert reads.count("assets/3") == 0
    limit(two, value_files=5, value_bytes=500)
    assert two.load().problems == ()
    source = two.source()
    source.load()
    limit(two, value_files=5, value_bytes=500)
    two.write("assets/4", b"")
    assert "more than 5 files" in held(source.load())


HEAD = "store: edge\nnamespace: web\nkeys:\n"
LONG = "".join(f"  key{number}: {'x' * 100}\n" for number in range(2_000))


def test_a_state_file_that_is_too_large_holds_its_own_targets(two: Repo) -> None:
    """They keep their last good state; its first lines say which they are."""
    limit(two, state_file="100kB")
    source = two.source()
    source.load()
    two.write("state/web.yaml", HEAD + LONG)
    two.write("state/other.yaml", "store: core\nnamespace: other\nkeys: {a: 2}\n")
    loaded = source.load()
    assert "cannot read the file: it is too large: 0." in held(loaded)
    assert "MiB; the limit is 100,000 bytes (split it into several files, or raise limits.state_file)" in held(loaded)
    assert {str(one) for one in loaded.kept} == {"edge/web"}
    assert [entry.content.value for entry in loaded.targets[OTHER].entries.values()] == [b"2"]


@pytest.mark.parametrize(
    "text",
    [
        HEAD + LONG + "---\nstore: core\nnamespace: more\nkeys: {}\n",
        "keys:\n" + LONG + "store: edge\nnamespace: web\n",
        "# " + "x" * 200_000 + "\n" + HEAD,
        HEAD + LONG + "\n---\r\n{}\n",
        HEAD + "  a: 1\n---\nstore: core\nkeys:\n" + LONG,
    ],
)
def test_a_large_file_whose_targets_are_not_known_holds_all(two: Repo, text: str) -> None:
    """Where its first lines do not name them all, anything may be in it."""
    limit(two, state_file="100kB")
    two.write("state/web.yaml", text)
    assert two.load().hold_all


def test_the_mark_of_a_document_is_found_wherever_it_lies(two: Repo) -> None:
    """Also where one piece ends and the next begins, and not in the middle of a line."""
    limit(two, state_file="100kB")
    mebibyte = 2**20
    for place in range(-6, 2):
        filler = "x" * (mebibyte + place - len(HEAD) - len("  a: ") - 1)
        two.write("state/web.yaml", f"{HEAD}  a: {filler}\n---\nstore: core\nnamespace: more\n{LONG}")
        assert two.load().hold_all, place
        two.write("state/web.yaml", f"{HEAD}  a: {filler} ---\n  b: x\n{LONG}")
        held(two.load())


def test_a_file_beyond_all_that_is_looked_through_holds_all(two: Repo) -> None:
    """Nobody reads gigabytes to find out whom they concern."""
    limit(two, state_file="100kB", value_file="1MiB")
    file = two.write("state/web.yaml", HEAD + LONG)
    held(two.load())
    with file.open("r+b") as stream:
        stream.truncate(2**40)
    assert two.load().hold_all


def test_an_overlay_that_is_too_large(two: Repo) -> None:
    """It need not name the targets of the file that it lies over."""
    limit(two, state_file="100kB")
    two.write("state/web.prod.yaml", "keys:\n" + LONG)
    held(two.load("prod"))
    two.write("state/web.prod.yaml", "store: core\nnamespace: third\nkeys:\n" + LONG)
    assert {str(target) for target in two.load("prod").held} == {"edge/web", "core/third"}


def test_what_all_together_take_is_taken_from_the_largest(two: Repo) -> None:
    """No small file pays for a large one; and once the large one has shrunk, it is back."""
    limit(two, total="10kB", value_bytes="20kB")
    two.write("assets/large", b"x" * 9_000)
    two.write("state/aaa.yaml", "store: core\nnamespace: aaa\nkeys: {a: {file: ../assets/small}}\n")
    two.write("state/zzz.yaml", "store: core\nnamespace: zzz\nkeys: {a: {file: ../assets/small}}\n")
    two.write("assets/small", b"x" * 500)
    two.web("keys: {a: {file: ../assets/large}}\n")
    source = two.source()
    for _ in range(2):
        loaded = source.load()
        (problem,) = loaded.held[WEB]
        assert (loaded.hold_all, list(loaded.held)) == ((), [WEB])
        said = (
            "the state files and the files that they read values from have more than 10,000 bytes in total; "
            "this one is the largest, with 9,062 bytes (split it, or raise limits.total)"
        )
        assert said in str(problem)
    two.write("assets/large", b"x" * 8_000)
    assert source.load().problems == ()


TEAMS = """\
authors:
  targets: [{path: "state/web/**", stores: [edge]}, {path: "state/core/**", stores: [core]}]
limits: {%s}
"""


@pytest.fixture
def teams(repo: Repo) -> Repo:
    """A repository of two teams; each has a folder of its own, and a store of its own."""
    repo.write("state/core/other.yaml", "store: core\nnamespace: other\nkeys: {a: 1}\n")
    repo.web("keys: {a: 1}\n", "state/web/web.yaml")
    return repo


def of_teams(repo: Repo, limits: str) -> None:
    """Configure limits for the teams."""
    repo.write("kvsync.yaml", CONFIG.replace('authors: {env: ["*"]}\n', TEAMS % limits))


def test_middling_files_of_one_team_are_not_paid_for_by_another(teams: Repo) -> None:
    """Beyond the total, the team that takes the most gives up its files, though the other's file is the largest of all."""
    of_teams(teams, "total: 10kB")
    filler = "x" * 3_900
    teams.write("state/core/other.yaml", f"store: core\nnamespace: other\nkeys: {{a: {filler}}}\n")
    for number in range(20):
        text = f"store: edge\nnamespace: w{number:02}\nkeys: {{a: {filler[:1900]}}}\n"
        teams.write(f"state/web/{number:02}.yaml", text)
    loaded = teams.load()
    assert loaded.hold_all == ()
    assert loaded.held
    assert {target.store for target in loaded.held} == {"edge"}
    assert len(loaded.targets[OTHER].entries) == 1


def test_a_file_that_names_too_many_targets(two: Repo) -> None:
    """It is refused whole: targets known without it are held, those that only it names are not managed at all."""
    limit(two, targets=2)
    source = two.source()
    assert source.load().problems == ()
    crowd = "".join(f"---\nstore: core\nnamespace: n{number}\nkeys: {{}}\n" for number in range(3))
    two.web(f"keys: {{b: 1}}\n{crowd}")
    loaded = source.load()
    assert "state/web.yaml:1:1: the state file names 4 targets; at most 2 are allowed" in held(loaded)
    assert loaded.managed == {WEB, OTHER}
    assert dict(loaded.kept[WEB].entries).keys() == {Identity("a")}  # the last good state
    fresh = two.load()  # another process does not know that the target was good once
    assert fresh.managed == {OTHER}
    assert not fresh.held
    assert "state/web.yaml:1:1: the state file names 4 targets" in str(fresh.problems[0])


def test_all_files_together_name_too_many_targets(teams: Repo) -> None:
    """The team that names the most gives up files, and their targets are not managed; the other's go on."""
    of_teams(teams, "total_targets: 4")
    for number in range(6):
        teams.write(f"state/web/{number}.yaml", f"store: edge\nnamespace: w{number}\nkeys: {{}}\n")
    loaded = teams.load()
    assert loaded.hold_all == ()
    assert [str(target) for target in loaded.managed if target.store == "core"] == ["core/other"]
    assert OTHER not in loaded.held
    assert len(loaded.managed) == 4
    assert all("more than 4 targets" in str(problem) for problem in loaded.problems)


def test_a_folder_that_cannot_be_searched_holds_its_team(teams: Repo) -> None:
    """A flood of names, or of folders in folders, holds the targets that files there may name, and no others."""
    of_teams(teams, "folder_names: 10, folder_depth: 6")
    source = teams.source()
    assert source.load().problems == ()
    for flood in ([f"state/web/flood/{number}" for number in range(20)], ["state/web/a/b/c/d/e/f"]):
        for path in flood:
            teams.write(path, "")
        loaded = source.load()
        assert (loaded.hold_all, list(loaded.held)) == ((), [WEB])
        assert "state: cannot read the folder" in str(loaded.problems[0])
        for path in flood:
            (teams.root / path).unlink()
        shutil.rmtree(teams.root / "state/web/a", ignore_errors=True)


def test_comparisons_are_counted_for_each_team(teams: Repo) -> None:
    """Names in the folder of one team do not use up what another may take."""
    of_teams(teams, "pattern_steps: 50")
    assert teams.problems() == []
    for number in range(60):
        teams.write(f"state/web/{number}.txt", "")
    loaded = teams.load()
    assert (loaded.hold_all, OTHER in loaded.held) == ((), False)
    assert "matching the patterns takes more than 50 comparisons" in str(loaded.problems[0])


def test_patterns_that_take_long_are_an_error_of_their_file(two: Repo) -> None:
    """All patterns of a file count together, and again when nothing has changed."""
    for number in range(20):
        two.write(f"assets/{number}/x", b"x")
    two.web("keys: {}\nfiles: [{path: ../assets, glob: '*/x'}, {path: ../assets, glob: '*/[x]', prefix: y/}]\n")
    assert two.load().problems == ()
    limit(two, pattern_steps=79)
    assert "takes more than 79 comparisons; use narrower patterns, or raise limits.pattern_steps" in held(two.load())
    limit(two, pattern_steps=80)
    source = two.source()
    for _ in range(3):
        assert source.load().problems == ()


def test_depth_and_names_of_folders(two: Repo) -> None:
    """Both are limits of what a pattern looks into."""
    two.write("assets/a/b/c/x", b"x")
    two.web("keys: {}\nfiles: [{path: ../assets}]\n")
    limit(two, folder_depth=3)
    assert "the folders are nested deeper than 3 levels; raise limits.folder_depth" in held(two.load())
    limit(two, folder_names=1)
    assert any("a folder contains more than 1 names; raise limits.folder_names" in one for one in two.problems())


def test_nesting_and_aliases(two: Repo) -> None:
    """As the configuration says."""
    two.web("keys: {a: {json: [[[[1]]]]}}\n")
    limit(two, nesting=5)
    assert "nested deeper than 5 levels" in held(two.load())
    two.web("x-a: &a {b: [1, 2, 3]}\nkeys: {a: {json: *a}}\n")
    limit(two, aliases=3)
    assert any("aliases expand to more than 3 values" in one for one in two.problems())


def test_patterns_of_keys(two: Repo) -> None:
    """Every key is compared with each of them in every pass, so there are not too many, nor too long ones."""
    two.web("policy: {ignore: [a, b, c]}\nkeys: {}\n")
    limit(two, patterns=2)
    said = "state/web.yaml:3:1: policy.ignore: more than 2 patterns (remove patterns, or raise limits.patterns)"
    assert said in held(two.load())
    limit(two, patterns=3)
    assert two.load().problems == ()
    two.web(f"policy: {{ignore: ['{'*a' * 501}']}}\nkeys: {{}}\n")
    assert "at most 1,000 characters are allowed" in held(two.load())


def test_problems_end_the_reading_of_a_file(two: Repo) -> None:
    """A file with a hundred thousand mistakes is not read to its end, and its targets are known all the same."""
    limit(two, problems=10)
    two.web("keys:\n" + "".join(f"  k{number}: {{valeu: 1}}\n" for number in range(1_000)))
    loaded = two.load()
    assert (loaded.hold_all, list(loaded.held)) == ((), [WEB])
    assert len(loaded.held[WEB]) == 11
    assert "the rest of the file was not checked; fix these problems first" in str(loaded.held[WEB][-1])
    two.web("keys:\n" + "".join(f"  k{number}: null\n  k{number}: 1\n" for number in range(1_000)))
    assert len(two.load().held[WEB]) <= 22
    two.capabilities = replace(MemoryStore.capabilities, max_value=1)
    two.web("keys:\n" + "".join(f"  k{number}: long\n" for number in range(1_000)))
    assert len(two.load().held[WEB]) == 10


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("nesting: 129", "expected a whole number from 1 to 128"),
        ("value_file: many", "expected a size such as 512, 64KiB or 10MB"),
        ("value_fils: 1", 'unknown field "value_fils" (did you mean "value_files"?)'),
    ],
)
def test_limits_are_checked(two: Repo, line: str, said: str) -> None:
    """As all of the configuration is."""
    two.write("kvsync.yaml", f"{CONFIG}limits: {{{line}}}\n")
    with pytest.raises(Exception, match=r"kvsync\.yaml:\d+:") as raised:
        two.load()
    assert said in str(raised.value)


LARGE = "x" * 20_000
MANY = ", ".join(f"l{number}" for number in range(60))
BOMBS = {
    "labels": f"keys:\n  ? {LARGE}\n  : {{value: y, labels: [{MANY}]}}\n",
    "values": f"keys:\n  a: {{value: {LARGE}, labels: [{MANY}]}}\n",
    "inherited": f"keys:\n  a: {{value: {LARGE}, labels: {{{', '.join(f'l{n}: {{ttl: {n + 1}d}}' for n in range(60))}}}}}\n",
    "aliases": f"keys:\n  a: &a {LARGE}\n" + "".join(f"  k{number}: *a\n" for number in range(60)),
    "aliases in JSON": f"keys:\n  a: &a {LARGE}\n" + "".join(f"  k{number}: {{json: [*a]}}\n" for number in range(60)),
    "tags": f"defaults: {{tags: {{a: {LARGE}}}}}\nkeys: {{{', '.join(f'k{number}: x' for number in range(60))}}}\n",
    "metadata": f"defaults: {{metadata: {{a: {LARGE}}}}}\nkeys:\n"
    + "".join(f"  k{number}: {{value: x, ttl: {number + 1}d}}\n" for number in range(60)),
    "metadata behind aliases": f"keys:\n  a: &a {LARGE}\n"
    + "".join(f"  k{number}: {{value: x, metadata: {{n: {number}, a: *a}}}}\n" for number in range(60)),
    "order": f"keys:\n  ? {LARGE}\n  : x\n"
    + f"  k0: {{value: x, after: &a [{LARGE}]}}\n"
    + "".join(f"  k{number}: {{value: x, after: *a}}\n" for number in range(1, 60)),
    "prefix": f"keys: {{}}\nfiles: [{{path: ../assets, prefix: {LARGE}}}]\n",
    "file": f"keys:\n  a: {{file: ../large, labels: [{MANY}]}}\n",
}


@pytest.mark.parametrize("text", BOMBS.values(), ids=list(BOMBS))
def test_what_a_file_comes_to_is_counted_before_it_is_made(two: Repo, text: str) -> None:
    """Whatever repeats a text: the place is named, the messages are short, and other targets go on."""
    limit(two, expansion="1MiB")
    two.capabilities = replace(MemoryStore.capabilities, max_key=None, max_metadata=None)
    for number in range(60):
        two.write(f"assets/{number}", "")
    two.write("large", LARGE)
    tracemalloc.start()
    try:
        two.web("keys: {a: 1}\n")
        source = two.source()
        source.load()
        two.web(text)
        tracemalloc.reset_peak()
        before = tracemalloc.get_traced_memory()[0]
        loaded = source.load()
        peak = tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()
    said = held(loaded)
    assert "the state file expands to more than 1 MiB" in said
    assert "raise limits.expansion" in said
    assert str(loaded.problems[0]).startswith("state/web.yaml:")
    assert all(len(str(problem)) < 500 for problem in loaded.problems)
    assert peak < 3_000_000
    assert len(loaded.targets[OTHER].entries) == 1
    limit(two, expansion="10MB")
    assert two.load().problems == ()


def test_the_stores_count_in_what_a_file_comes_to(two: Repo) -> None:
    """Each store of a document has its own entries, and its own remote keys."""
    text = f"namespace: web\nkeys: {{{', '.join(f'{number:0100}: x' for number in range(60))}}}\n"
    limit(two, expansion=60 * 101, entries=60)
    two.write("state/web.yaml", f"store: edge\n{text}")
    assert two.load().problems == ()
    two.write("state/web.yaml", f"stores: [edge, core]\n{text}")
    limit(two, expansion=60 * 101)
    assert "raise limits.expansion" in str(two.load().problems)
    limit(two, entries=60)
    assert "has more than 60 entries; split it, or raise limits.entries" in str(two.load().problems)


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("keys:\n  a: 1\n  b: 2\n  c: 3\n", "4:3"),
        ("keys:\n  a: 1\n  b: {value: 2}\n  c: {value: 3}\n", "6:3"),
        ("keys:\n  a: {value: 1, labels: {x: 2, y: 3}}\n", "4:32"),
        ("keys:\n  a: 1\nfiles:\n  - path: ../assets\n", "6:5"),
    ],
)
def test_how_many_entries_a_file_has(two: Repo, text: str, place: str) -> None:
    """Labels and files count; the problem is at its place, and the targets are held."""
    for number in range(2):
        two.write(f"assets/{number}", "")
    limit(two, entries=2)
    two.web(text)
    (problem,) = two.load().problems
    assert str(problem).startswith(f"state/web.yaml:{place}: the state file has more than 2 entries")
    limit(two, entries=3)
    assert two.load().problems == ()


def test_how_many_documents_a_file_has(two: Repo) -> None:
    """Empty ones count, too; what is after them may name any target."""
    limit(two, documents=3)
    two.web("keys: {a: 1}\n---\n---\n")
    assert two.load().problems == ()
    two.web("keys: {a: 1}\n---\n---\n---\n")
    (problem,) = two.load().problems
    assert str(problem) == ("state/web.yaml:6:1: more than 3 documents (split the file, or raise limits.documents)")


def test_messages_cut_the_names_in_them(two: Repo) -> None:
    """A key of any length with many things wrong costs a line for each."""
    two.capabilities = replace(MemoryStore.capabilities, max_key=None)
    bad = ", ".join(f"{'y' * 200}{number}: {{ttl: never}}" for number in range(50))
    two.web(f"keys:\n  ? {LARGE}\n  : {{value: x, labels: {{{bad}}}, metadata: {{? {LARGE} : 0x{'f' * 5000}}}}}\n")
    problems = two.problems()
    assert len(problems) == 51
    assert all(len(problem) < 700 for problem in problems)
    two.capabilities = replace(MemoryStore.capabilities, max_key=10)
    two.web(f"keys:\n  ? {LARGE}\n  : {{value: x, labels: [{'z' * 300}]}}\n")
    assert all("at most 10" in problem and len(problem) < 400 for problem in two.problems())
