"""Rules for options that exclude or need each other."""

from __future__ import annotations

import pytest

from kvsync.stores.option_rules import NotBoth, OneOf, OptionRule, RequiredTogether, Requires, check_rules

SIGN_IN = OneOf((("token",), ("email", "api_key")))
CERTIFICATE = RequiredTogether("tls.cert", "tls.key")


@pytest.mark.parametrize(
    ("rule", "given", "problem"),
    [
        (OneOf((("id",), ("name",))), set(), "set either id or name"),
        (OneOf((("id",), ("name",))), {"id", "name"}, "set either id or name"),
        (OneOf((("id",), ("name",))), {"id", "other"}, None),
        (OneOf((("address",), ("endpoint",)), "set address: a URL"), set(), "set address: a URL"),
        (OneOf((("address",), ("endpoint",)), "set address: a URL"), {"endpoint"}, None),
        (SIGN_IN, {"email", "api_key"}, None),
        (SIGN_IN, {"email"}, "set either token, or email and api_key"),
        (SIGN_IN, {"token", "api_key"}, "set either token, or email and api_key"),
        (CERTIFICATE, set(), None),
        (CERTIFICATE, {"tls.key"}, "set both tls.cert and tls.key, or neither"),
        (CERTIFICATE, {"tls.cert", "tls.key"}, None),
        (NotBoth("ca_file", "tls.ca"), {"ca_file"}, None),
        (NotBoth("ca_file", "tls.ca"), {"ca_file", "tls.ca"}, "set either ca_file or tls.ca"),
        (Requires("environment", "file"), {"environment"}, "set file, or remove environment"),
        (Requires("environment", "file"), {"file"}, None),
    ],
)
def test_rule_names_what_to_do(rule: OptionRule, given: set[str], problem: str | None) -> None:
    assert rule.problem(given) == problem


def test_first_broken_rule_is_reported() -> None:
    options = {"token": "t", "tls": {"cert": "c", "key": None}, "unset": None}
    with pytest.raises(ValueError, match="set both"):
        check_rules((SIGN_IN, CERTIFICATE, NotBoth("token", "tls.cert")), options, {})


def test_fields_of_all_stores_count() -> None:
    with pytest.raises(ValueError, match="set either ca_file"):
        check_rules((NotBoth("ca_file", "tls.ca"),), {"tls": {"ca": "a"}}, {"ca_file": "b"})
    check_rules((NotBoth("ca_file", "tls.ca"),), {"tls": {"ca": "a"}}, {"ca_file": None})
