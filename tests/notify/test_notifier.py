"""Messages on their way: a real server, a real state directory, a clock that does not wait."""

from __future__ import annotations

import asyncio
import io
import json
import re
from base64 import b64encode
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from kvsync.app.json_schema import notice_schema
from kvsync.config.model import ChannelConfig, Credential, CredentialKind, NoticeFormat, RunConfig
from kvsync.daemon.ports import LoadedTargets
from kvsync.errors import AuthError, ErrorCode, StoreError
from kvsync.logs import configure, get_logger
from kvsync.model.entry import Target
from kvsync.model.result import PassResult
from kvsync.notify.channel import MOST
from kvsync.notify.message import Sender
from kvsync.notify.notifier import Notifier, NotifierContext
from kvsync.notify.webhook import WebhookSender
from kvsync.state import StateDir
from kvsync.state.passes import DaemonRecord, LeaseRecord
from kvsync.status.http.hooks import Hook, is_genuine
from kvsync.status.http.shared_secret import Secret
from kvsync.testing import FakeClock
from kvsync.util.redaction import Redactor
from tests.daemon.support import A, B, turns, until
from tests.notify.receiver import Receiver, receiving
from tests.notify.test_delivery_state import DOWN, GOOD, HEALED, PARKED, STILL, URL, WRONG

SIGNING = Credential(CredentialKind.ENV, "SIGNING")
KEY = "whsec_" + b64encode(b"0123456789abcdef").decode()


@pytest.fixture(autouse=True)
def log() -> Iterator[io.StringIO]:
    """What is logged, in JSON."""
    stream = io.StringIO()
    configure("json", "info", Redactor(), stream)
    yield stream
    get_logger.cache_clear()


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as one:
        yield one


class NotifierSetup:
    """A notifier in a state directory. `secrets` are what references give."""

    def __init__(self, folder: Path, receiver: Receiver) -> None:
        self.clock, self.redactor = FakeClock(), Redactor()
        self.secrets = {"HOOK_URL": receiver.url, "SIGNING": KEY}
        self.folder = folder
        self.notifier: Notifier

    def resolve(self, credential: Credential) -> str:
        if credential.name not in self.secrets:
            raise AuthError(f"the environment variable {credential.name} is not set")
        self.redactor.register(self.secrets[credential.name])
        return self.secrets[credential.name]

    @asynccontextmanager
    async def sending(self, *channels: ChannelConfig) -> AsyncIterator[None]:
        """One life of a daemon."""
        with StateDir.open(self.folder, writable=True, clock=self.clock) as state:
            means = NotifierContext(Sender("team-a", "prod"), state, self.resolve, self.redactor, self.clock)
            self.notifier = Notifier(means)
            async with self.notifier.sending(RunConfig(notify=channels)):
                yield

    def passes(self, *results: PassResult) -> None:
        for result in results:
            self.notifier.pass_done(replace(result, at=self.clock.now()))


@pytest.fixture
def setup(tmp_path: Path, receiver: Receiver) -> NotifierSetup:
    return NotifierSetup(tmp_path / "state", receiver)


def of(result: PassResult, target: Target) -> PassResult:
    return replace(result, target=target)


async def test_a_message_is_as_its_schema_says(setup: NotifierSetup, receiver: Receiver) -> None:
    """What is posted is JSON that the published schema describes, whole: kinds, targets, reasons, and what to do."""
    async with setup.sending(ChannelConfig(URL)):
        digest = "sha256:" + "0123456789abcdef" * 4
        setup.passes(
            replace(PARKED, digest=digest),
            of(replace(DOWN, code=ErrorCode.STORE_UNAVAILABLE), B),
            of(HEALED, Target("core", "c")),
        )
        first = (await receiver.has(1)).json
        setup.passes(GOOD)
        second = (await receiver.has(2)).json
    for message in (first, second):
        jsonschema.validate(message, notice_schema())
    assert first["schema"] == "kvsync.notice/1"
    assert (first["owner"], first["environment"]) == ("team-a", "prod")
    assert first["summary"] == {"drift": 1, "parked": 1, "failed": 1, "healed": 0}
    parked = next(one for one in first["notices"] if one["kind"] == "parked")
    assert parked["command"] == "kvsync approve 0123456789ab"
    assert parked["code"] == "KV5101"
    failed = next(one for one in first["notices"] if one["kind"] == "failed")
    assert (failed["error"], failed["code"]) == ("edge: no connection [KV3101]", "KV3101")
    assert parked["reasons"] == ["40 of 50 entries would be deleted"]
    assert second["notices"] == [{"kind": "healed", "store": "edge", "namespace": "a", "ended": ["parked"]}]


async def test_hundreds_of_targets_are_one_message(setup: NotifierSetup, receiver: Receiver) -> None:
    """What happens to many targets at once is one message, and in a text for people one line when they fail alike."""
    targets = [Target("edge", f"n{number}") for number in range(300)]
    slack = ChannelConfig(URL, NoticeFormat.SLACK)
    async with setup.sending(ChannelConfig(URL), slack):
        setup.passes(*(of(DOWN, target) for target in targets), *(of(STILL, Target("late", f"{n}")) for n in range(50)))
        await receiver.has(2)
    webhook, text = sorted(receiver.got, key=lambda got: "text" in got.json)
    assert len(webhook.json["notices"]) == 350
    lines = text.json["text"].splitlines()
    assert lines[0] == "*kvsync* `team-a` (`prod`): 50 drift, 300 failed"
    assert lines[1] == "• `edge` (300 targets) fails: `edge: no connection`"
    assert len(lines) == 22
    assert lines[-1].startswith("… and 31 more")


async def test_more_than_a_message_takes_goes_into_the_next(setup: NotifierSetup, receiver: Receiver) -> None:
    """No message is about more than a thousand targets, and none of the rest is lost."""
    async with setup.sending(ChannelConfig(URL)):
        setup.passes(*(of(DOWN, Target("edge", f"{number}")) for number in range(MOST + 5)))
        await receiver.has(2)
    assert [len(got.json["notices"]) for got in receiver.got] == [MOST, 5]


async def test_a_restart_tells_nothing_again(setup: NotifierSetup, receiver: Receiver) -> None:
    """What was reported is kept in the state directory: another process tells only what is new."""
    async with setup.sending(ChannelConfig(URL)):
        setup.passes(PARKED, of(DOWN, B))
        await receiver.has(1)
        await until(lambda: setup.notifier._context.state.notices.sent(_id(ChannelConfig(URL))))
    async with setup.sending(ChannelConfig(URL)):
        setup.passes(PARKED, of(GOOD, B), of(WRONG, A))
        await receiver.has(2)
    assert receiver.kinds() == [["parked edge/a", "failed edge/b"], ["failed edge/a", "healed edge/b"]]


def _id(config: ChannelConfig) -> str:
    from kvsync.notify.channel import channel_id

    return channel_id(config)


async def test_what_could_not_be_reported_is_reported_as_it_is_by_then(
    setup: NotifierSetup, receiver: Receiver, log: io.StringIO
) -> None:
    """A receiver that fails is tried again, no sooner than it asks, with the state at that moment; the log says it once."""
    receiver.answers.extend([(503, {"Retry-After": "40"}), (500, {}), (404, {})])
    began = setup.clock.now()
    receiver.gate.clear()
    async with setup.sending(ChannelConfig(URL)):
        setup.passes(PARKED)
        await receiver.has(1)
        setup.passes(of(DOWN, B))
        receiver.gate.set()
        await receiver.has(4)
        await until(lambda: "notice.sent" in log.getvalue())
    assert receiver.kinds() == [["parked edge/a"], *[["parked edge/a", "failed edge/b"]] * 3]
    assert setup.clock.now() - began >= 40
    events = [json.loads(line) for line in log.getvalue().splitlines()]
    assert [one["event"] for one in events] == ["notice.failed", "notice.sent"]
    assert events[1]["attempts"] == 4


async def test_no_pass_waits_for_a_receiver(setup: NotifierSetup, receiver: Receiver) -> None:
    """While a receiver does not answer, whatever passes find out is taken in at once, and the end is not held up."""
    receiver.gate.clear()
    async with setup.sending(ChannelConfig(URL)):
        setup.passes(PARKED)
        await receiver.has(1)
        setup.passes(*(of(STILL, Target("edge", f"{number}")) for number in range(500)))
        await turns()
    receiver.gate.set()
    assert len(receiver.got) == 1


async def test_messages_are_signed(setup: NotifierSetup, receiver: Receiver) -> None:
    """A message with a secret carries the signature of Standard Webhooks, which kvsync's own hook takes for genuine; a changed
    body is not."""
    async with setup.sending(ChannelConfig(URL, secret=SIGNING)):
        setup.passes(PARKED)
        got = await receiver.has(1)
    headers = {name.lower(): value for name, value in got.headers.items()}
    secret = Secret(SIGNING, lambda _: KEY, "x")
    assert is_genuine(Hook(headers, got.body), secret, None, setup.clock.now())
    assert not is_genuine(Hook(headers, got.body + b" "), secret, None, setup.clock.now())
    assert headers["webhook-id"] == got.json["id"]


async def test_the_address_stays_secret(setup: NotifierSetup, receiver: Receiver, log: io.StringIO) -> None:
    """Where messages go is a credential: neither the log nor an error shows it, and texts of others are redacted."""
    configure("json", "debug", setup.redactor, log)
    receiver.answers.append((403, {}))
    async with setup.sending(ChannelConfig(URL)):
        setup.passes(replace(WRONG, error=f"cannot reach {receiver.url}"))
        await receiver.has(2)
        await until(lambda: "notice.sent" in log.getvalue())
    assert "notice.failed" in log.getvalue()
    assert "a-very-secret-path" not in log.getvalue()
    assert b"a-very-secret-path" not in b"".join(got.body for got in receiver.got)


async def test_a_text_for_people_calls_nobody(setup: NotifierSetup, receiver: Receiver) -> None:
    """What others worded neither formats a text nor calls a channel: <!channel>, @here, line ends."""
    async with setup.sending(ChannelConfig(URL, NoticeFormat.SLACK)):
        setup.passes(replace(WRONG, error="<!channel> @here\n*x* `y` & more"))
        text = (await receiver.has(1)).json["text"]
    assert len(text.splitlines()) == 2
    assert "<" not in text
    assert re.sub("`[^`]*`", "", text.splitlines()[1]) == "•  fails: "


async def test_changed_settings(setup: NotifierSetup, receiver: Receiver, log: io.StringIO) -> None:
    """A reload keeps what was reported to a channel, tells a new one how things stand, and ends one that is gone."""
    one, other = ChannelConfig(URL), ChannelConfig(URL, NoticeFormat.SLACK)
    async with setup.sending(one):
        setup.notifier.files_loaded(frozenset({A, B}), LoadedTargets({}))
        setup.passes(PARKED)
        await receiver.has(1)
        await until(lambda: "notice.sent" in log.getvalue())  # a lost response would be a message that is sent again
        await setup.notifier.reload(RunConfig(notify=(replace(one, min_interval=60), other)))
        assert "text" in (await receiver.has(2)).json
        await setup.notifier.reload(RunConfig())
        setup.passes(GOOD)
        await turns()
    assert len(receiver.got) == 2


async def test_only_the_leader_tells(setup: NotifierSetup, receiver: Receiver) -> None:
    """Of several replicas one tells: the others are silent, and tell what lasts when they take over."""
    standby = DaemonRecord(1, 0, 0, "apply", "1", lease=LeaseRecord("kvsync", "b", "a", leads=False))
    async with setup.sending(ChannelConfig(URL)):
        setup.notifier.daemon_changed(standby, None)
        setup.passes(PARKED)
        await turns(500)
        assert not receiver.got
        setup.notifier.daemon_changed(replace(standby, lease=None), None)
        await receiver.has(1)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("not an address", "not contain a URL such as"),
        ("ftp://host/x-secret", "not contain a URL such as"),
        ("https://", "not contain a URL such as"),
        ("https://host:x-secret/", "not contain a URL such as"),
        ("https://me:x-secret@host/", "contains a user or password"),
        ("http://example.com/x-secret", "can be read by others"),
    ],
)
def test_a_bad_address_is_said_without_it(tmp_path: Path, url: str, said: str) -> None:
    """An address that cannot be used is an error that says what is wrong and does not repeat it."""

    def resolve(_credential: Credential) -> Any:
        return url

    with pytest.raises(StoreError, match=said) as raised:
        WebhookSender("run.notify[0]", ChannelConfig(URL), resolve, Redactor(), FakeClock()).check()
    assert "secret" not in str(raised.value)
    assert "run.notify[0].url" in str(raised.value)


async def test_a_signing_token_that_is_none(setup: NotifierSetup) -> None:
    """A secret that begins as a signing token and is none is an error that names the field."""
    setup.secrets["SIGNING"] = "whsec_ß-not-base64"
    post = WebhookSender(
        "run.notify[0]", ChannelConfig(URL, secret=SIGNING), setup.resolve, setup.redactor, setup.clock
    )
    with pytest.raises(StoreError, match=r"run\.notify\[0\]\.secret"):
        post.check()
    await asyncio.sleep(0)
