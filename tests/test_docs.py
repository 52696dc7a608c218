"""The documentation is right: generated parts are current, commands work as shown, links lead somewhere."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.program import shared_program

ROOT = Path(__file__).resolve().parent.parent
DOCUMENTS = [
    ROOT / "README.md",
    ROOT / "CHANGELOG.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "SECURITY.md",
    ROOT / "tests/README.md",
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted((ROOT / ".github").rglob("*.md")),
    *ROOT.glob("examples/*/*.md"),
]

sys.path.insert(0, str(ROOT / "scripts"))
import generate_docs  # noqa: E402  the scripts are not part of the package
import man_pages  # noqa: E402
import site_links  # noqa: E402


def name(document: Path) -> str:
    return document.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("document", generate_docs.documents(), ids=name)
def test_generated_parts_are_current(document: Path) -> None:
    """What the code knows stands in the documentation as the code says it (`make docs` writes it again)."""
    text = document.read_text(encoding="utf-8")
    assert generate_docs.render(text) == text


def test_manual_pages_and_completions_are_current() -> None:
    """Each file under share/ is what the command line makes of it now, and there is no other (`make docs` writes them)."""
    wanted = man_pages.shared_files(generate_docs.commands())
    found = {file: file.read_text(encoding="utf-8") for file in man_pages.SHARE.rglob("*") if file.is_file()}
    assert found == wanted


@pytest.mark.parametrize("command", generate_docs.commands())
def test_every_command_is_documented(command: str) -> None:
    """Each command of the command line has a section with its options in docs/commands.md, and a help text."""
    text = (ROOT / "docs/commands.md").read_text(encoding="utf-8")
    assert f"\n## {command}\n" in text
    assert f"<!-- generated: command {command} -->" in text
    assert generate_docs.commands()[command].help


def test_no_command_is_made_up() -> None:
    """docs/commands.md has no section about a command that does not exist."""
    sections = re.findall(r"^## (.+)$", (ROOT / "docs/commands.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert set(sections) == set(generate_docs.commands())


@pytest.mark.parametrize("document", DOCUMENTS, ids=name)
def test_links_lead_somewhere(document: Path) -> None:
    """Every relative link names a file that exists, and a heading in it."""
    for link in re.findall(r"\]\(([^)#\s]*)(?:#([^)]*))?\)", document.read_text(encoding="utf-8")):
        path, heading = link
        if path.startswith("https://"):
            continue
        there = document.parent / path if path else document
        assert there.exists(), path
        assert not heading or heading in headings(there), f"{path}#{heading}"


@pytest.mark.parametrize("document", [document for document in DOCUMENTS if document.name != "CHANGELOG.md"], ids=name)
def test_paths_exist(document: Path) -> None:
    """Every path of this repository that a page names in backquotes exists."""
    paths = re.findall(r"`((?:kvsync|tests|scripts|docs)/[\w./-]+)`", document.read_text(encoding="utf-8"))
    assert [path for path in paths if not (ROOT / path).exists()] == []


def test_named_commands_exist() -> None:
    """Every command of kvsync that a page names in backquotes, alone or with options and arguments, exists."""
    commands = re.compile(r"`kvsync ([a-z]+)(?=`| [-A-Z])")
    named = {(command, name(document)) for document in DOCUMENTS for command in commands.findall(document.read_text())}
    assert {use for use in named if use[0] not in generate_docs.commands()} == set()


def test_troubleshooting_quotes_the_code() -> None:
    """Every message on the troubleshooting page is in the code, or in the recorded output of the commands."""
    recorded = (file.read_text(encoding="utf-8") for file in (ROOT / "tests/cli/golden").iterdir())
    said = "\n".join([*texts_of_the_code(), *recorded])
    page = (ROOT / "docs/troubleshooting.md").read_text(encoding="utf-8")
    messages = re.findall(r"^\| `([^`]+)` \| ", page, re.MULTILINE)
    assert len(messages) > 50
    assert [message for message in messages if not all(part in said for part in fixed_parts(message))] == []


def texts_of_the_code() -> Iterator[str]:
    """The strings in the code of kvsync, those with placeholders in pieces."""
    for file in (ROOT / "kvsync").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield node.value


def fixed_parts(message: str) -> list[str]:
    """What a message always says: the text between the places marked with an ellipsis."""
    return [part for part in (part.strip(' "():;') for part in message.split("…")) if part]


def test_navigation_has_every_page_once() -> None:
    """The navigation of the site lists each page of docs/, and each page from elsewhere that the site includes, once."""
    navigation = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))["nav"]
    pages = [page.relative_to(ROOT / "docs").as_posix() for page in (ROOT / "docs").rglob("*.md")]
    assert sorted(leaves(navigation)) == sorted([*pages, *site_links.outside_pages().values()])


def leaves(node: Any) -> Iterator[str]:
    """The pages of a part of the navigation."""
    if isinstance(node, str):
        yield node
    else:
        for part in node.values() if isinstance(node, dict) else node:
            yield from leaves(part)


def test_site_links_stay_in_the_site() -> None:
    """Links to pages lead to them in the site, a file that is not a page is named, and a missing file stays a broken link."""
    pages = {"docs/a.md": "a.md", "docs/decisions/b.md": "decisions/b.md", "README.md": "tour.md"}
    text = (
        "[b](decisions/b.md#x) [tour](../README.md) [pins](../requirements.txt) [gone](gone.md)\n```\n[b](b.md)\n```\n"
    )
    assert site_links.site_text(text, "docs/a.md", pages) == (
        "[b](decisions/b.md#x) [tour](tour.md) pins (`requirements.txt`) [gone](gone.md)\n```\n[b](b.md)\n```\n"
    )
    assert site_links.site_text("[a](../a.md)", "docs/decisions/b.md", pages) == "[a](../a.md)"
    assert site_links.site_text('<img src="docs/images/a.png">', "README.md", pages) == '<img src="images/a.png">'
    assert site_links.site_text('<img src="images/a.png">', "docs/a.md", pages) == '<img src="images/a.png">'


def headings(document: Path) -> set[str]:
    """The anchors that a page of Markdown has."""
    titles = re.findall(r"^#+ (.+)$", document.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^a-z0-9 _-]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize(
    "document", [document for document in DOCUMENTS if "```console" in document.read_text()], ids=name
)
def test_commands_work_as_shown(document: Path, tmp_path: Path) -> None:
    """Every command in a console block runs, in order, with the exit code and the lines of output that are shown."""
    programs = tmp_path / "bin"
    programs.mkdir()
    shared_program().write(programs)
    workplace = tmp_path / "repository"
    if document == ROOT / "README.md":
        workplace.mkdir()  # the tour begins with nothing
    else:
        example = document.parent if document.is_relative_to(ROOT / "examples") else ROOT / "examples/quickstart"
        shutil.copytree(example, workplace, ignore=shutil.ignore_patterns(".kvsync"))
    for step in steps(document.read_text(encoding="utf-8")):
        workplace = step.run(workplace, programs)


@pytest.mark.system
@pytest.mark.skipif(shutil.which("jq") is None, reason="NO JQ: install jq (make tools)")
def test_the_runbook_approves_every_plan_that_waits(tmp_path: Path) -> None:
    """The line of the runbook for going back to older files releases all parked plans, and nothing else is needed."""
    (line,) = re.findall(
        r"`(kvsync status [^`]+ kvsync approve)`", (ROOT / "docs/fleet.md").read_text(encoding="utf-8")
    )
    programs, workplace = tmp_path / "bin", tmp_path / "repository"
    programs.mkdir()
    shared_program().write(programs)
    shutil.copytree(ROOT / "examples/quickstart", workplace, ignore=shutil.ignore_patterns(".kvsync"))
    for namespace in ("one", "two"):
        file = workplace / f"state/{namespace}.yaml"
        file.write_text(f"store: local\nnamespace: {namespace}\nkeys: {{a: 1}}\n")
    Step("kvsync apply --yes", []).run(workplace, programs)
    for namespace in ("one", "two"):
        file = workplace / f"state/{namespace}.yaml"
        file.write_text(f"store: local\nnamespace: {namespace}\nkeys: {{}}\n")
    Step("kvsync apply --yes  # exits with 4", []).run(workplace, programs)
    Step(line.replace("\\|", "|"), ["approved local/one…", "approved local/two…"]).run(workplace, programs)
    Step("kvsync apply --yes", []).run(workplace, programs)


class Step:
    """One command of a console block, with what is shown of its output."""

    def __init__(self, command: str, shown: list[str]) -> None:
        self.command, self.shown = command, shown
        code = re.search(r"# exits with (\d+)", command)
        self.code = int(code[1]) if code else 0

    def run(self, folder: Path, programs: Path) -> Path:
        """Run it in `folder` and give the folder in which it ends."""
        environment = {key: value for key, value in os.environ.items() if not key.startswith("KVSYNC_")}
        environment["PATH"] = f"{programs}:{Path(sys.executable).parent}:{environment['PATH']}"
        ends_in = programs / "ends-in"
        script = f"{self.command}\ncode=$?\npwd > '{ends_in}'\nexit $code"
        done = subprocess.run(
            ["bash", "-c", script], cwd=folder, env=environment, capture_output=True, text=True, timeout=60, check=False
        )
        output = done.stdout + done.stderr
        assert done.returncode == self.code, f"$ {self.command}\n{output}"
        for line in self.shown:
            pattern = ".*".join(re.escape(part) for part in line.split("…"))
            assert re.search(f"^{pattern}$", output, re.MULTILINE), f"$ {self.command}\nno line {line!r} in\n{output}"
        return Path(ends_in.read_text().strip())


def steps(text: str) -> list[Step]:
    """The commands of all console blocks of a page: `$` begins one, `>` goes on, everything else is output."""
    found: list[Step] = []
    for block in re.findall(r"^```console\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        command: list[str] = []
        shown: list[str] = []
        for line in [*block.splitlines(), "$ "]:
            if line.startswith("$ "):
                if command:
                    found.append(Step("\n".join(command), shown))
                command, shown = [line[2:]], []
            elif line.startswith("> "):
                command.append(line[2:])
            elif line:
                shown.append(line)
    return found
