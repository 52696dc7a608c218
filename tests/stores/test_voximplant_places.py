"""Where a store leads: places by the configuration and by the service's ids, and applications that move."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from kvsync.config.model import Credential, CredentialKind, StoreConfig
from kvsync.errors import AuthError, PermanentError, StoreError, TransientError
from kvsync.model.entry import Content, Identity
from kvsync.model.place import Place
from kvsync.planning.marks import MarkSigner
from kvsync.stores.base import Precondition, Store, StoreContext, Write
from kvsync.stores.extensions import locate
from kvsync.stores.ledger_place import LedgerPlace
from kvsync.stores.registry import open_store
from kvsync.stores.voximplant.api import ENDPOINT
from kvsync.stores.voximplant.remote import Application
from kvsync.testing import FakeClock
from kvsync.testing.conformance.ledgers import lease_store_of
from kvsync.util.clock import Clock
from tests.http.script_server import says, serving
from tests.stores.emulated import SharedClock
from tests.stores.voximplant_service import (
    APPLICATIONS,
    CREDENTIALS,
    DELETE,
    GET,
    ITEMS,
    SET,
    Service,
)

SIGNER = MarkSigner("team-a", Place("voximplant", ()))
Open = Callable[..., Store]


def creation(key: str, value: str = "v") -> Write:
    return Write(Identity(key), Precondition.ABSENT, Content(value.encode()))


# -- offline ----------------------------------------------------------------------------------------------------------


def offline(**fields: Any) -> Place:
    """The place of `web` by the configuration alone; `reference` names another variable with credentials."""
    reference = fields.pop("reference", CREDENTIALS)
    namespace = fields.pop("namespace", "web")
    options = {"credentials": reference} | fields.pop("options", {"application_id": 1})

    def read(credential: Credential) -> str:
        raise AssertionError(f"{credential.name} was read")

    config = StoreConfig(fields.pop("name", "telephony"), "voximplant", options, **fields)
    return open_store(config, StoreContext(Path(), None, read, Clock())).place(namespace)


def test_the_place_offline() -> None:
    """It is known without the credentials, is not resolved, and names endpoint, reference, application and key prefix."""
    place = offline()
    assert not place.is_resolved
    assert place.scope.prefix == "web:"
    for words in (ENDPOINT, "VOXIMPLANT_CREDENTIALS", "application 1"):
        assert words in str(place)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({}, {"name": "another"}),
        ({}, {"endpoint": ENDPOINT}),
        ({}, {"endpoint": "HTTPS://API.Voximplant.com:443/"}),
        ({"endpoint": "http://127.0.0.1:8790/vox"}, {"endpoint": "http://127.0.0.1:8790/vox/"}),
        ({"timeout": 5}, {"timeout": 9, "concurrency": 3}),
    ],
)
def test_another_spelling_is_the_same_place(one: Mapping[str, Any], other: Mapping[str, Any]) -> None:
    """Names of stores, default ports, trailing slashes, upper case and limits change nothing."""
    assert offline(**one).key == offline(**other).key


@pytest.mark.parametrize(
    "other",
    [
        {"endpoint": "http://api.voximplant.com"},
        {"endpoint": f"{ENDPOINT}:8443"},
        {"endpoint": f"{ENDPOINT}/look-alike"},
        {"options": {"application_id": 2}},
        {"options": {"application": "1"}},
        {"reference": Credential(CredentialKind.ENV, "OTHER")},
        {"reference": Credential(CredentialKind.FILE, "VOXIMPLANT_CREDENTIALS")},
        {"namespace": "mail"},
        {"key_format": "v1-{namespace}:{key}"},
    ],
)
def test_another_place(other: Mapping[str, Any]) -> None:
    """Another endpoint, application, reference to credentials or key prefix is another place."""
    assert offline(**other).key != offline().key


# -- other ways to sign in ---------------------------------------------------------------------------------------------


def by_key(service: Service) -> dict[str, Any]:
    """Options that sign in with the API key of the account."""
    account = int(service.env["VOXIMPLANT_ACCOUNT_ID"])
    return {"credentials": None, "account_id": account, "api_key": Credential(CredentialKind.ENV, "KEY")}


async def test_an_api_key_leads_to_the_same_place(connect: Open, service: Service) -> None:
    """With the API key of the account, reads and writes work, by the id or the name of the application, and the place is that
    of the service account. A wrong key is refused as a credential."""
    options, key = by_key(service), service.env["VOXIMPLANT_API_KEY"]
    expected = await locate(connect(), "web")
    applications: list[dict[str, Any]] = [{"application_id": 1}, {"application": "first"}]
    for number, application in enumerate(applications):
        store = connect(options=options | application, credentials=key)
        assert await locate(store, "web") == expected
        await store.write("web", [creation(f"a{number}")])
        assert Identity(f"a{number}") in await store.read("web", [Identity(f"a{number}")])
        assert {one.check: one.ok for one in await store.check()} == dict.fromkeys(
            ("API key", "reading", "writing", "clock"), True
        )
    wrong = connect(options=options | {"application_id": 1}, credentials="not-the-key")
    with pytest.raises(AuthError, match="100"):
        await wrong.read("web", [Identity("a0")])


async def test_a_child_account_is_named_in_every_call(connect: Open, service: Service) -> None:
    """Each call names the child account, and the place is in that account, not in the one of the credentials."""
    page = json.dumps({"result": [{"application_id": 7, "application_name": "shop.child.voximplant.com"}]}).encode()
    async with serving(says(200, page)) as server:
        options = {"application": "shop", "child_account_id": 42}
        context = connect().context
        config = {"credentials": CREDENTIALS, **options}
        store = open_store(StoreConfig("telephony", "voximplant", config, endpoint=server.origin), context)
        found = await locate(store, "web")
        assert found.parts[1:] == (("account", "42"), ("application", "7"))
        with pytest.raises(StoreError):
            await store.namespaces()
        assert len(server.seen) > 1
        assert all(b"child_account_id=42" in one.body for one in server.seen)
        await store.aclose()
    assert offline(options={"application_id": 1, "child_account_id": 42}).key != offline().key


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"account_id": 1}, "set either credentials, or account_id and api_key"),
        ({"credentials": None, "account_id": 1}, "set either credentials, or account_id and api_key"),
        ({"application": "first"}, "set either application_id or application"),
    ],
)
def test_options_that_do_not_go_together_are_refused(options: Mapping[str, Any], message: str) -> None:
    """Account, credential and application are given in one way."""
    with pytest.raises(ValueError, match=message):
        offline(options={"application_id": 1, **options})


# -- by the service's ids ---------------------------------------------------------------------------------------------


async def test_an_id_costs_nothing(connect: Open, service: Service) -> None:
    """Locating an application that is configured by its id takes no call, whether to read or to write."""
    store = connect()
    place = await locate(store, "web")
    assert place == await locate(store, "web", writing=True)
    assert place.is_resolved
    assert dict(place.parts) == {"endpoint": service.url.removesuffix("/"), "account": "1234567", "application": "1"}
    await store.observe("web", SIGNER)
    await store.write("web", [creation("a")])
    assert service.requests() == {ITEMS: 1, SET: 1}


async def test_a_name_and_an_id_are_one_place(connect: Open, service: Service) -> None:
    """An application is the same place by its id, its short name and its full name; another one is not."""
    full = service.api(APPLICATIONS)[0]["application_name"]
    by_id = await locate(connect(options={"application_id": 1}), "web")
    for name in ("first", full):
        place = await locate(connect(options={"application": name}), "web")
        assert place.key == by_id.key
        assert full in str(place)
    assert (await locate(connect(options={"application": "second"}), "web")).key != by_id.key


async def test_a_name_costs_a_call_a_minute(connect: Open, service: Service) -> None:
    """All namespaces share one look-up a minute; each pass that writes costs one more."""
    clock = SharedClock(service)
    store = connect(service, clock, options={"application": "first"})
    for _ in range(3):
        for namespace in ("web", "mail"):
            await locate(store, namespace)
            await store.observe(namespace, SIGNER)
    assert service.requests() == {APPLICATIONS: 1, ITEMS: 6}
    clock.advance(59)
    await locate(store, "web")
    clock.advance(2)
    await asyncio.gather(*(locate(store, namespace) for namespace in ("web", "mail", "shop")))
    assert service.requests()[APPLICATIONS] == 2
    await locate(store, "web", writing=True)
    for number in range(3):
        await store.write("web", [creation(f"key-{number}")])
    assert service.requests()[APPLICATIONS] == 3


async def test_passes_that_write_at_once_share_a_look_up(connect: Open, service: Service) -> None:
    """A look-up serves all passes that asked for one before it began: those that wait for the first one share the second."""
    store = connect(service, Clock(), options={"application": "first"})
    await asyncio.gather(*(locate(store, f"web-{number}", writing=True) for number in range(6)))
    assert service.requests() == {APPLICATIONS: 2}


def test_what_an_application_is_called_does_not_matter() -> None:
    """The same account and id are the same application, whatever its full name is at the moment."""
    assert Application("1", "2", "first.old.com") == Application("1", "2", "first.new.com")


async def test_other_accounts_and_endpoints_are_other_places(connect: Open, service: Service) -> None:
    """Application 1 of another account, or of another service, is not application 1."""
    here = await locate(connect(), "web")
    other = json.dumps(service.key_file() | {"account_id": 7})
    assert (await locate(connect(credentials=other), "web")).key != here.key
    with Service.serve() as elsewhere:
        assert (await locate(connect(elsewhere), "web")).key != here.key


# -- applications that move -------------------------------------------------------------------------------------------


@pytest.fixture
def clock(service: Service) -> SharedClock:
    return SharedClock(service)


@pytest.fixture
def by_name(connect: Open, service: Service, clock: SharedClock) -> Store:
    """A store that is configured for the application `first` by its name."""
    return connect(service, clock, options={"application": "first"})


async def error_of(call: Any) -> StoreError:
    with pytest.raises(StoreError) as caught:
        await call
    return caught.value


async def test_a_swapped_application_is_noticed_before_the_first_write(by_name: Store, service: Service) -> None:
    """However fresh the look-up, the place to write to is as of now, and then written to and read from."""
    before = await locate(by_name, "web")
    new = service.replace_application(1, "first")
    assert (await locate(by_name, "web")).key == before.key
    there = await locate(by_name, "web", writing=True)
    assert dict(there.parts)["application"] == str(new)
    await by_name.write("web", [creation("a")])
    assert (service.values(), service.values(application=new)) == ({}, {"web:a": "v"})
    assert set(await by_name.read("web", [Identity("a")])) == {Identity("a")}
    snapshot = await by_name.observe("web", SIGNER)
    assert snapshot is not None
    assert set(snapshot.entries) == {Identity("a")}


async def test_a_swap_ends_writes_that_are_under_way(by_name: Store, service: Service, clock: SharedClock) -> None:
    """In a pass that takes longer than a minute nothing is written or deleted by the old id any more."""
    await locate(by_name, "web", writing=True)
    await by_name.write("web", [creation("a")])
    new = service.replace_application(1, "first")
    clock.advance(61)
    deletion = Write(Identity("a"), Precondition.UNCHANGED)
    for write in (creation("b"), deletion):
        error = await error_of(by_name.write("web", [write]))
        assert isinstance(error, PermanentError)
        assert f"now points to application {new}" in str(error)
    assert (service.values(), service.values(application=new)) == ({"web:a": "v"}, {})
    await locate(by_name, "web")
    await by_name.write("web", [creation("b")])
    assert service.values(application=new) == {"web:b": "v"}


async def test_one_namespace_does_not_move_another(by_name: Store, service: Service, clock: SharedClock) -> None:
    """What locating one namespace finds does not lead the pass over another one, which was planned before, elsewhere."""
    await locate(by_name, "web")
    await locate(by_name, "mail")
    service.put("web:a", "old")
    new = service.replace_application(1, "first")
    await locate(by_name, "mail", writing=True)
    assert set(await by_name.read("web", [Identity("a")])) == {Identity("a")}
    assert isinstance(await error_of(by_name.write("web", [creation("b")])), PermanentError)
    assert service.values(application=new) == {}


async def test_a_ledger_does_not_move_with_the_name(connect: Open, service: Service, clock: SharedClock) -> None:
    """What is known of the ledger in one application is not taken for what another one holds."""
    store = connect(service, clock, options={"application": "first", "ledger": LedgerPlace.STORE})
    ledger = b'["row"]\n' * 1000
    await locate(store, "web")
    await lease_store_of(store).write_ledger("web", ledger)
    new = service.replace_application(1, "first")
    await locate(store, "web", writing=True)
    assert await lease_store_of(store).read_ledger("web") is None
    await lease_store_of(store).write_ledger("web", ledger)
    assert set(service.everything(application=new)) == set(service.everything())
    assert (
        await lease_store_of(connect(options={"application_id": new, "ledger": LedgerPlace.STORE})).read_ledger("web")
        == ledger
    )


@pytest.mark.parametrize("change", ["deleted", "renamed"])
async def test_an_application_that_is_gone(by_name: Store, service: Service, change: str) -> None:
    """A name that leads nowhere is an error, and nothing is written to where it led before."""
    await locate(by_name, "web")
    if change == "deleted":
        service.delete_application(1)
    else:
        service.rename(1, "other")
    error = await error_of(locate(by_name, "web", writing=True))
    assert isinstance(error, PermanentError)
    assert 'no application "first"' in str(error)
    await error_of(by_name.write("web", [creation("a")]))
    assert SET not in service.requests()
    service.add_application("back") if change == "deleted" else service.rename(1, "back")
    service.rename(max(one["application_id"] for one in service.api(APPLICATIONS, application_id="")), "first")
    assert (await locate(by_name, "web")).is_resolved


async def test_a_key_file_of_another_account(service: Service) -> None:
    """When the credentials become those of another account, nothing planned for the first is sent in its name."""
    mine = json.dumps(service.key_file())
    given = {"text": mine}
    context = StoreContext(Path(), None, lambda _: given["text"], FakeClock())
    options = {"credentials": CREDENTIALS, "application_id": 1}
    store = open_store(StoreConfig("telephony", "voximplant", options, endpoint=service.url), context)
    try:
        before = await locate(store, "web")
        given["text"] = json.dumps(service.key_file() | {"account_id": 7})
        for call in (
            store.observe("web", SIGNER),
            store.read("web", [Identity("a")]),
            store.write("web", [creation("a")]),
        ):
            error = await error_of(call)
            assert isinstance(error, PermanentError)
            assert "account 7" in str(error)
        assert service.requests() == {}
        assert (await locate(store, "web")).key != before.key
        given["text"] = mine
        assert (await locate(store, "web")).key == before.key
    finally:
        await store.aclose()


async def test_a_name_is_looked_up_again_for_another_account(service: Service, clock: SharedClock) -> None:
    """An id that was found with the credentials of one account is not used with those of another, however fresh it is."""
    given = {"text": json.dumps(service.key_file())}
    context = StoreContext(Path(), None, lambda _: given["text"], clock)
    options = {"credentials": CREDENTIALS, "application": "first"}
    store = open_store(StoreConfig("telephony", "voximplant", options, endpoint=service.url), context)
    try:
        await locate(store, "web")
        given["text"] = json.dumps(service.key_file() | {"account_id": 7})
        assert isinstance(await error_of(locate(store, "web")), AuthError)  # which the service says of account 7
    finally:
        await store.aclose()


# -- what else looking an application up may come to ------------------------------------------------------------------


def listing(*names: str, **more: Any) -> bytes:
    """An answer of `GetApplications` with these full names."""
    result = [{"application_id": number + 1, "application_name": name} for number, name in enumerate(names)]
    return json.dumps({"result": result, **more}).encode()


async def looked_up(service: Service, *answers: bytes) -> Place | StoreError:
    """What looking up `first` comes to on a server with these answers."""
    async with serving(*(says(200, answer) for answer in answers)) as server:
        options = {"credentials": CREDENTIALS, "application": "first", "requests_per_second": 1000}
        context = StoreContext(Path(), None, lambda _: json.dumps(service.key_file()), FakeClock())
        config = StoreConfig("telephony", "voximplant", options, endpoint=server.origin, timeout=60)
        store = open_store(config, context)
        try:
            return await locate(store, "web")
        except StoreError as error:
            return error
        finally:
            await store.aclose()


async def test_an_application_on_a_later_page(service: Service) -> None:
    """A name that is a part of many names is looked for on all pages, as far as the service says that there are more."""
    many = [f"first-{number}.x" for number in range(20)]
    found = await looked_up(service, listing(*many, total_count=21), listing("first.x", total_count=21))
    assert isinstance(found, Place)
    assert dict(found.parts)["application"] == "1"
    assert isinstance(await looked_up(service, listing(*many)), PermanentError)


@pytest.mark.parametrize(
    ("answer", "kind", "said"),
    [
        (listing("first.x", "first.y"), PermanentError, "several applications"),
        (listing("first-1.x", total_count=10**9), PermanentError, "too many applications"),
        (b'{"result": [{"application_name": "first.x"}, 7]}', PermanentError, "no application"),
        (b'{"result": 7}', TransientError, "not a list of applications"),
        (b'{"error": {"code": 104, "msg": "Forbidden command"}}', AuthError, "use application_id"),
        (b'{"error": {"code": 103, "msg": "Unknown command"}}', PermanentError, "Unknown command"),
    ],
)
async def test_a_name_that_cannot_be_resolved(service: Service, answer: bytes, kind: type, said: str) -> None:
    """When it is not certain which application a name means, the pass ends with what to do about it."""
    error = await looked_up(service, answer)
    assert isinstance(error, kind), error
    assert said in str(error)


async def test_an_id_needs_no_other_methods(service: Service, connect: Open) -> None:
    """With an id, a service need know no method but those that list, read, write and delete keys."""
    store = connect()
    await locate(store, "web", writing=True)
    await store.write("web", [creation("a")])
    await store.read("web", [Identity("a")])
    await store.write("web", [Write(Identity("a"), Precondition.UNCHANGED)])
    assert set(service.requests()) == {SET, GET, DELETE}
