"""Options: where they may stand, the environment they may come from, and the help that explains them."""

from __future__ import annotations

import json
import os
from pathlib import Path

import click
import pytest

from kvsync.cli import cli
from kvsync.cli.exit_codes import Exit
from kvsync.cli.main import PURPOSES
from tests.cli.conftest import Repo

COMMANDS = {name: cli.get_command(click.Context(cli), name) for names in PURPOSES.values() for name in names}


def found(name: str) -> click.Command:
    command = COMMANDS[name]
    assert command is not None
    return command


def options(command: click.Command) -> list[click.Option]:
    """The options of a command that have a value for it."""
    return [one for one in command.params if isinstance(one, click.Option) and one.expose_value]


def test_there_are_the_commands_of_the_contract() -> None:
    """Every command there should be is there, and has a module of its name."""
    assert set(COMMANDS) == {
        "adopt", "apply", "approve", "compare", "completion", "doctor", "drift", "dump", "emulate", "explain", "fmt", "history",
        "import", "init", "list", "pause", "plan", "release", "resume", "run", "schema", "set", "show", "state", "status",
        "stores", "transfer", "undo", "validate",
    }  # fmt: skip
    assert {name: found(name).name for name in COMMANDS} == {name: name for name in COMMANDS}


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_has_its_environment_variables(name: str) -> None:
    """Each option of a command reads KVSYNC_<COMMAND>_<OPTION>, and before that fails KVSYNC_<OPTION>; the global ones too."""
    for option in options(found(name)):
        word = max(option.opts, key=len).removeprefix("--").replace("-", "_").upper()
        own = f"KVSYNC_{name.upper()}_{word}"
        assert option.envvar == ([own] if option.hidden else [own, f"KVSYNC_{word}"])
    shared = {option.name for option in options(found(name)) if option.hidden}
    assert shared == {option.name for option in options(cli)}
    assert all(option.envvar == [f"KVSYNC_{str(option.name).upper()}"] for option in options(cli))


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_that_teaches(name: str) -> None:
    """Help has a paragraph, examples, exit codes, the variables, and a meaning for every option."""
    command = found(name)
    text = command.get_help(click.Context(command, info_name=f"kvsync {name}"))
    assert f"kvsync {name}" in text.split("Examples:")[1]
    for code in (Exit.USAGE, Exit.INVALID):
        assert str(code.value) in text.split("Exit codes:")[1]
    assert f"KVSYNC_{name.upper()}_" in text
    assert len(command.help or "") > 60
    assert 10 < len(command.short_help or "") < 80
    assert all(option.help for option in options(command))


def test_help_groups_commands_by_purpose(repo: Repo) -> None:
    """`kvsync --help` and `-h` show every command under what it is for; with nothing at all the same comes with 64."""
    text = repo.run("--help").stdout
    assert all(f"\n{purpose}:\n" in text for purpose in PURPOSES)
    assert all(f"\n  {name} " in text for name in COMMANDS)
    assert repo.run("-h").stdout == text
    assert repo.run(code=64).stderr.strip() == text.strip()
    assert "Usage: kvsync plan" in repo.run("plan", "-h").stdout


def test_a_near_miss_is_corrected(repo: Repo) -> None:
    """A command or option that does not exist is met with the nearest one."""
    assert "'plan'" in repo.run("plann", code=64).stderr
    assert "--target" in repo.run("plan", "--targett", "x", code=64).stderr


def test_version_is_reported_with_and_without_others(repo: Repo) -> None:
    """`--version` alone, and among other options."""
    assert repo.run("--version").stdout == repo.run("--color", "never", "--version").stdout
    assert repo.run("--version").stdout.startswith("kvsync ")


def environment_in_force(repo: Repo, *arguments: str, env: dict[str, str] | None = None) -> str:
    """What `greeting` would be: it is the name of the environment in force."""
    arguments = (*arguments, "--out", "plan.json") if "plan" in arguments else arguments
    repo.run(*arguments, env=env)
    return str(json.loads((repo.root / "plan.json").read_text())["environment"])


@pytest.fixture
def two(repo: Repo) -> Repo:
    """A repository with two environments."""
    repo.configure(**{"owner: tester": "owner: tester\nenvironments: [dev, prod]\nenvironment: dev"})
    return repo


def test_global_options_stand_before_or_after_the_command(two: Repo) -> None:
    """A global option after the command wins over the same one before it."""
    assert environment_in_force(two, "plan") == "dev"
    assert environment_in_force(two, "--env", "prod", "plan") == "prod"
    assert environment_in_force(two, "plan", "--env", "prod") == "prod"
    assert environment_in_force(two, "--env", "dev", "plan", "--env", "prod") == "prod"


def test_the_environment_gives_way_to_the_command_line(two: Repo) -> None:
    """KVSYNC_PLAN_ENV wins over KVSYNC_ENV, and an option given anywhere over both."""
    both = {"KVSYNC_ENV": "dev", "KVSYNC_PLAN_ENV": "prod"}
    assert environment_in_force(two, "plan", env={"KVSYNC_ENV": "prod"}) == "prod"
    assert environment_in_force(two, "plan", env=both) == "prod"
    assert environment_in_force(two, "--env", "dev", "plan", env=both) == "dev"
    assert environment_in_force(two, "plan", "--env", "dev", env=both) == "dev"


def test_options_of_commands_come_from_the_environment(applied: Repo) -> None:
    """Choices, flags, repeatable options and the configuration itself may all come from variables; an empty one is none."""
    applied.drift()
    plan = applied.run("plan", env={"KVSYNC_OUTPUT": "json", "KVSYNC_EXIT_CODE": "1"}, code=2).stdout
    assert json.loads(plan)["summary"]["update"] == 1
    assert "Plan: " in applied.run("plan", env={"KVSYNC_OUTPUT": "json", "KVSYNC_PLAN_OUTPUT": "text"}).stdout
    assert "Plan: " in applied.run("plan", env={"KVSYNC_OUTPUT": ""}).stdout
    assert "Nothing to do" in applied.run("plan", env={"KVSYNC_PLAN_KEY": "timeout limits"}).stdout
    elsewhere = applied.root / "elsewhere"
    elsewhere.mkdir()
    os.link(applied.root / "kvsync.yaml", elsewhere / "kvsync.yaml")
    assert 'folder "state"' in applied.run("plan", env={"KVSYNC_CONFIG": "elsewhere/kvsync.yaml"}, code=78).stderr
    applied.run("apply", env={"KVSYNC_APPLY_YES": "true"})
    assert applied.held()["greeting"] == "Hello"


def test_a_variable_that_makes_no_sense_is_a_usage_error(repo: Repo) -> None:
    """A wrong value in a variable is refused like one on the command line."""
    repo.run("plan", env={"KVSYNC_OUTPUT": "xml"}, code=64)
    repo.run("plan", env={"KVSYNC_LOG_LEVEL": "loud"}, code=64)


def test_the_configuration_may_lie_anywhere(repo: Repo, tmp_path: Path) -> None:
    """With -c everything is relative to that file, wherever kvsync is called."""
    repo.root = tmp_path / "elsewhere"
    repo.root.mkdir()
    repo.run("-c", str(tmp_path / "kvsync.yaml"), "apply", "--yes")
    assert (tmp_path / ".kvsync/store.db").exists()
    assert not (repo.root / ".kvsync").exists()


@pytest.mark.parametrize(
    ("arguments", "env", "colored"),
    [
        ([], {}, False),
        (["--color", "always"], {}, True),
        ([], {"FORCE_COLOR": "1"}, True),
        ([], {"FORCE_COLOR": "1", "NO_COLOR": "1"}, False),
        (["--color", "always"], {"NO_COLOR": "1"}, True),
        (["--color", "never"], {"FORCE_COLOR": "1"}, False),
    ],
)
def test_colours_are_used_where_they_are_wanted(
    repo: Repo, arguments: list[str], env: dict[str, str], colored: bool
) -> None:
    """A pipe gets none, unless --color or FORCE_COLOR asks; NO_COLOR wins over FORCE_COLOR, --color over both."""
    assert ("\x1b[" in repo.run(*arguments, "plan", env=env).stdout) is colored


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts_complete_commands(repo: Repo, shell: str) -> None:
    """`completion` prints a script for the shell, and what it calls answers with commands and options."""
    assert "_KVSYNC_COMPLETE" in repo.run("completion", shell).stdout
    env = {"_KVSYNC_COMPLETE": "bash_complete", "COMP_WORDS": "kvsync va", "COMP_CWORD": "1"}
    assert repo.run(env=env).stdout == "plain,validate\n"
    env = {"_KVSYNC_COMPLETE": "bash_complete", "COMP_WORDS": "kvsync plan --exit", "COMP_CWORD": "2"}
    assert repo.run(env=env).stdout == "plain,--exit-code\n"
