"""Azure App Configuration: feature flags as resources of their own, in the shapes of the preview client."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.emulators.conftest import Http

PREVIEW = "2026-05-01-preview"
FLAG = {
    "enabled": True,
    "description": "New checkout",
    "conditions": {
        "requirement_type": "All",
        "filters": [{"name": "Microsoft.Percentage", "parameters": {"Value": "5"}}],
    },
    "variants": [{"name": "On", "value": "true", "status_override": "Enabled"}],
    "tags": {"team": "web"},
}


def ask(http: Http, method: str, path: str, **options: Any) -> httpx.Response:
    """A request in the preview version."""
    params = {"api-version": PREVIEW} | options.pop("params", {})
    return http.request(method, path, params=params, **options)


def test_a_flag_is_a_resource_with_conditions(http: Http) -> None:
    """What was put comes back in full, under its own media type; a stale etag is refused; a deleted flag is gone."""
    made = ask(http, "PUT", "/ff/checkout", json=FLAG, headers={"If-None-Match": "*"})
    assert made.status_code == 200, made.text
    assert (
        made.headers["Content-Type"]
        == 'application/json; profile="https://azconfig.io/mime-profiles/ff"; charset=utf-8'
    )
    etag = made.json()["etag"]
    assert made.json() == FLAG | {"name": "checkout", "etag": etag, "last_modified": made.json()["last_modified"]}
    assert ask(http, "PUT", "/ff/checkout", json=FLAG, headers={"If-None-Match": "*"}).status_code == 412
    changed = ask(http, "PUT", "/ff/checkout", json={"enabled": False}, headers={"If-Match": f'"{etag}"'})
    assert (changed.status_code, changed.json().get("variants")) == (200, None)
    assert ask(http, "PUT", "/ff/checkout", json=FLAG, headers={"If-Match": f'"{etag}"'}).status_code == 412
    assert [one["enabled"] for one in ask(http, "GET", "/ff-revisions").json()["items"]] == [False, True]
    assert ask(http, "DELETE", "/ff/checkout").status_code == 200
    assert ask(http, "GET", "/ff/checkout").status_code == 404


def test_flags_and_key_values_do_not_meet(http: Http) -> None:
    """Lists, labels and names of one type know nothing of the other, and pages of flags have etags."""
    http.set("checkout", label="kv-label")
    ask(http, "PUT", "/ff/checkout", params={"label": "ff-label"}, json={"enabled": True})
    ask(http, "PUT", "/ff/other", json={"enabled": True})
    page = ask(http, "GET", "/ff", params={"name": "check*"})
    assert [one["name"] for one in page.json()["items"]] == ["checkout"]
    again = ask(http, "GET", "/ff", params={"name": "check*"}, headers={"If-None-Match": page.headers["ETag"]})
    assert again.status_code == 304
    assert http.keys() == ["checkout"]
    labels = [ask(http, "GET", "/labels", params={"resourceType": kind}).json()["items"] for kind in ("kv", "ff")]
    assert labels == [[{"name": "kv-label"}], [{"name": None}, {"name": "ff-label"}]]


@pytest.mark.parametrize(
    ("body", "name"),
    [
        ({}, "enabled"),
        ({"enabled": "yes"}, "enabled"),
        ({"enabled": True, "variants": [{}]}, "variants[0].name"),
        ({"enabled": True, "conditions": {"requirement_type": "Some"}}, "conditions.requirement_type"),
    ],
)
def test_what_is_not_a_flag_is_refused(http: Http, body: dict[str, Any], name: str) -> None:
    """The service validates flags, and names the member."""
    refused = ask(http, "PUT", "/ff/checkout", json=body)
    assert (refused.status_code, refused.json()["name"]) == (400, name)


def test_earlier_versions_have_no_flags(http: Http) -> None:
    """The version that brought them is required."""
    refused = http.get("/ff")
    assert (refused.status_code, refused.json()["name"]) == (400, "api-version")
