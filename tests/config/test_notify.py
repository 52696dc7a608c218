"""`run.notify`: who is notified."""

from __future__ import annotations

from pathlib import Path

import pytest

from kvsync.app.configuration import read_config
from kvsync.config.model import ChannelConfig, CredentialKind, NoticeFormat, NoticeKind
from kvsync.errors import InvalidInput
from tests.support.command import CONFIG, Repository


def channels(folder: Path, lines: str) -> tuple[ChannelConfig, ...]:
    (folder / "kvsync.yaml").write_text(f"{CONFIG}run:\n  notify:\n{lines}")
    return read_config(folder / "kvsync.yaml", environ={}).run.notify


def test_the_least_and_everything(tmp_path: Path) -> None:
    """A receiver needs an address alone; each line has a default."""
    least, most = channels(
        tmp_path,
        "    - url: {env: A}\n"
        "    - {url: {file: b}, secret: {env: S}, on: [parked], attempts: 1, min_interval: 5m, timeout: 1s,"
        " allow_insecure: true}\n",
    )
    assert (least.format, least.on, least.attempts) == (NoticeFormat.WEBHOOK, tuple(NoticeKind), 3)
    assert (least.min_interval, least.timeout, least.secret, least.allow_insecure) == (30, 10, None, False)
    assert (most.on, most.attempts, most.min_interval, most.timeout) == ((NoticeKind.PARKED,), 1, 300, 1)
    assert most.secret is not None
    assert most.secret.kind is CredentialKind.ENV


def test_without_any(tmp_path: Path) -> None:
    """Nobody is notified unless someone is named."""
    (tmp_path / "kvsync.yaml").write_text(CONFIG)
    assert read_config(tmp_path / "kvsync.yaml", environ={}).run.notify == ()


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{url: https://hooks.example.com/T0/secret-part}", "run.notify[0].url: secrets are not allowed in this file"),
        ("{format: slack}", 'run.notify[0]: missing field "url"'),
        ("{url: {env: A}, on: [drifted]}", 'did you mean "drift"?'),
        ("{url: {env: A}, on: []}", "run.notify[0].on: expected at least 1"),
        ("{url: {env: A}, format: slak}", 'did you mean "slack"?'),
        (
            "{url: {env: A}, format: slack, secret: {env: B}}",
            "run.notify[0]: secret: only the webhook format signs messages",
        ),
        (
            "{url: {env: A}}\n    - {url: {env: A}, attempts: 9}",
            'run.notify: env: "A" is used by two channels for the same events',
        ),
    ],
)
def test_mistakes(tmp_path: Path, line: str, said: str) -> None:
    """A mistake is reported with its place, and an address that was pasted is not repeated."""
    with pytest.raises(InvalidInput) as raised:
        channels(tmp_path, f"    - {line}\n")
    assert said in str(raised.value)
    assert "kvsync.yaml:" in str(raised.value)
    assert "secret-part" not in str(raised.value)


def test_doctor_looks_at_the_form_of_addresses_and_tells_nobody(tmp_path: Path) -> None:
    """`kvsync doctor` says of each receiver whether its address can be read and used, without a word of it."""
    repository = Repository(
        tmp_path, f"{CONFIG}run: {{notify: [{{url: {{env: A}}}}, {{url: {{env: B}}, format: slack}}]}}\n"
    )
    repository.want("  a: 1\n")
    said = repository.run("doctor", env={"A": "http://example.com/secret-part", "B": "https://127.0.0.1:1/x"}, code=1)
    assert "FAIL  notify: run.notify[0]: url: plain http://" in said.stdout
    assert "ok    notify: run.notify[1]: slack at the environment variable B for drift, parked" in said.stdout
    assert "secret-part" not in said.stdout + said.stderr
