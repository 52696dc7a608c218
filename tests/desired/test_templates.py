"""Templates: variables in values that are marked as templates, and nowhere else."""

from __future__ import annotations

import pytest

from tests.desired.conftest import CONFIG, Repo

VARS = "vars: {domain: shop.example, region: eu}\n"


@pytest.fixture(autouse=True)
def variables(repo: Repo) -> None:
    repo.write("kvsync.yaml", CONFIG + VARS)


def test_variables_of_configuration_and_document(repo: Repo) -> None:
    """The variables of a document are laid over those of the configuration, and those of its overlay over them."""
    repo.web("""
        vars: {region: us, path: a}
        keys:
          url: {template: "https://${domain}/${region}/${path}"}
          both: {template: "${path}${path}", labels: [x]}
    """)
    assert repo.values() == {"url": "https://shop.example/us/a", "both [x]": "aa"}
    repo.write("state/web.prod.yaml", "vars: {path: b}\n")
    assert repo.values(environment="prod")["url"] == "https://shop.example/us/b"


def test_variables_of_the_overlay_of_the_configuration(repo: Repo) -> None:
    """An environment has its own variables, and a change of one reaches files that did not change."""
    repo.cache = repo.root / "cache.db"
    repo.web('keys: {url: {template: "${domain}"}}\n')
    assert repo.values() == {"url": "shop.example"}
    repo.write("kvsync.yaml", CONFIG + VARS.replace("shop.example", "other.example"))
    assert repo.values() == {"url": "other.example"}


def test_only_templates_are_expanded(repo: Repo) -> None:
    """A dollar sign in any other value, key or variable is text; `$${` in a template is a literal."""
    repo.write("state/file.txt", "${domain}")
    repo.web("""
        vars: {dollars: "$$ ${domain}"}
        keys:
          "${domain}": "${domain}"
          json: {json: {a: "${domain}"}}
          file: {file: file.txt}
          template: {template: "$${domain} $x ${dollars}"}
    """)
    assert repo.values() == {
        "${domain}": "${domain}",
        "json": '{"a":"${domain}"}',
        "file": "${domain}",
        "template": "${domain} $x $$ ${domain}",
    }


def test_template_is_sensitive_when_a_part_is(repo: Repo) -> None:
    """A secret variable makes every entry that uses it sensitive, and no other; the redactor learns the part itself."""
    repo.environ["PASSWORD"] = "hunter2-hunter2"
    repo.web("""
        vars: {password: {env: PASSWORD}}
        keys:
          dsn: {template: "postgres://shop:${password}@${domain}"}
          url: {template: "https://${domain}"}
    """)
    loaded = repo.load()
    found = {str(identity): entry for identity, entry in loaded.targets[next(iter(loaded.targets))].entries.items()}
    assert found["dsn"].content.value == b"postgres://shop:hunter2-hunter2@shop.example"
    assert (found["dsn"].sensitive, found["url"].sensitive) == (True, False)
    assert "hunter2-hunter2" in loaded.secrets
    repo.web('vars: {password: {env: PASSWORD}}\nkeys: {a: {template: "${password}", sensitive: false}}\n')
    assert "is always sensitive" in repo.problems()[0]


WRONG = [
    ('{template: "${domian}"}', '4:17: keys.a.template: unknown variable "domian" (define it under vars; did'),
    ('{template: "${domain"}', "4:17: keys.a.template: ${ without the name of a variable and }"),
    ('{template: "${}"}', "4:17: keys.a.template: ${ without the name of a variable and }"),
    ('{template: "$$domain"}', "4:17: keys.a.template: unused escape $$"),
    ("{template: [a]}", "4:17: keys.a.template: expected text, found a list"),
    ("{template: null}", "4:17: keys.a.template: expected text, found null"),
    ("{template: a, value: b}", "4:20: keys.a: template and value cannot be combined"),
]  # fmt: skip


@pytest.mark.parametrize(("entry", "expected"), WRONG)
def test_wrong_templates_are_reported_with_their_place(repo: Repo, entry: str, expected: str) -> None:
    """A template that cannot be expanded is never written."""
    repo.web(f"keys:\n  a: {entry}\n")
    [found] = repo.problems()
    assert found.startswith(f"state/web.yaml:{expected}")


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ("{a-: [x]}", "vars.a-: expected text or {env: …}, {sops: …}, found a list"),
        ("{1a: x}", "vars.1a: not a valid name for a variable"),
        ("{a: {file: x}}", "vars.a: expected text or {env: …}, {sops: …}, found a mapping"),
        ("{a: {env: UNSET}}", "vars.a.env: the environment variable UNSET is not set"),
        ("{a: null}", "vars.a: expected text or {env: …}, {sops: …}, found null"),
        ("[a]", "vars: expected a mapping of variables to texts, found a list"),
    ],
)
def test_wrong_variables_are_reported_with_their_place(repo: Repo, variables: str, expected: str) -> None:
    """A variable is a text, or the name of an environment variable."""
    repo.web(f"vars: {variables}\nkeys: {{}}\n")
    [found] = repo.problems()
    assert found.startswith("state/web.yaml:3:")
    assert expected in found


def test_what_templates_come_to_is_limited(repo: Repo) -> None:
    """A template that repeats a long variable is refused before it is built."""
    repo.write("kvsync.yaml", f"{CONFIG}limits: {{expansion: 64KiB}}\nvars: {{long: '{'x' * 10_000}'}}\n")
    repo.web('keys: {a: {template: "${long}${long}${long}${long}${long}${long}${long}"}}\n')
    [found] = repo.problems()
    assert "raise limits.expansion" in found


def test_a_variable_that_cannot_be_read_is_one_problem(repo: Repo) -> None:
    """The templates that use it are not wrong themselves, but what uses another unknown variable is."""
    repo.web("""
        vars: {password: {env: UNSET}, path: a}
        keys: {url: {template: "https://x:${password}@${path}"}, other: {template: "${nothing}"}}
    """)
    first, second = repo.problems()
    assert "vars.password.env: " in first
    assert 'keys.other.template: unknown variable "nothing"' in second
