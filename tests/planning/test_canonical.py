"""JSON is compared by value: one text for each value, and no digit is lost."""

from __future__ import annotations

import json
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kvsync.model import canonical
from kvsync.model.canonical import canonical_flag_text, canonical_json, canonical_json_text
from kvsync.model.exact_json import read_json
from tests.support.examples import examples


@pytest.mark.parametrize(
    ("written", "canonical"),
    [
        ("1.0", "1"), ("1e0", "1"), ("-0.0", "0"), ("-0", "0"), ("1E3", "1000"), ("10e-1", "1"),
        ("0.50", "0.5"), ("-12.50e1", "-125"),
        ("1e-7", "1e-7"), ("0.00000010", "1e-7"), ("0.10000000000000000001", "0.10000000000000000001"),
        ("123456789012345678901234567890", "123456789012345678901234567890"),
        ("12345678901234567890.50", "12345678901234567890.5"),
        ("1" * 5000, "1" * 5000), ("[1e400, 1e500]", f"[1{'0' * 400},1e500]"), ('{"b": 1.0, "a": [2.0e0]}', '{"a":[2],"b":1}'),
    ],
)  # fmt: skip
def test_numbers_have_one_text(written: str, canonical: str) -> None:
    """Every spelling of a number comes to the same text, which is exact."""
    assert canonical_json_text(written.encode()) == canonical.encode()
    assert canonical_json_text(canonical.encode()) == canonical.encode()


@pytest.mark.parametrize(
    ("one", "other", "is_same"),
    [
        ('{"id": "a", "enabled": true}', '{"enabled": true, "id": "a", "variants": null, "conditions": null}', True),
        ('{"id": "a", "description": ""}', '{"id": "a"}', True),
        ('{"id": "a", "owner": null}', '{"id": "a"}', False),
        ('{"a": null}', "{}", False),
        ("{}", '{"description": null}', False),
    ],
)
def test_flags_are_compared_by_what_they_mean(one: str, other: str, is_same: bool) -> None:
    """Optional members of a flag that are null or empty make no difference; whatever else is null in JSON does."""
    assert (canonical_flag_text(one.encode()) == canonical_flag_text(other.encode())) == is_same


@pytest.mark.parametrize(
    "text", [b"NaN", b"-Infinity", b"\xef\xbb\xbf1", '{"a":1}'.encode("utf-16"), b'"\\ud800"', b"[" * 10**6, b""]
)
def test_what_is_not_json_has_no_canonical_text(text: bytes) -> None:
    """Constants that JSON lacks, other encodings than UTF-8, half characters, and what is nested without end."""
    assert canonical_json_text(text) is None


@settings(max_examples=examples(60))
@given(st.integers(-(10**40), 10**40), st.integers(-50, 50))
def test_a_decimal_keeps_its_value(digits: int, power: int) -> None:
    """The canonical text of any decimal, however it is written, is the same number and the same text."""
    texts = {f"{digits}e{power}", f"{digits * 10}E{power - 1}", f"{digits}.00e{power:+d}"}
    exact = {canonical_json_text(text.encode()) for text in texts}
    assert len(exact) == 1
    assert Fraction((exact.pop() or b"").decode()) == Fraction(f"{digits}e{power}")


@settings(max_examples=examples(60))
@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats(allow_nan=False, allow_infinity=False)
        | st.text('ab.e1\\"é'),
        lambda inner: st.lists(inner) | st.dictionaries(st.text("ab.e1"), inner),
    )
)
def test_data_and_its_text_come_to_the_same(data: Any) -> None:
    """What a file says as data is equal to what a store says as text, whatever spaces and order that has."""
    canonical = canonical_json(data)
    assert canonical_json_text(json.dumps(data, indent=1).encode()) == canonical.encode()
    assert canonical_json(json.loads(canonical)) == canonical


def test_data_without_fractions_is_written_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only a number that Python may write in another way than JSON by value does is read again; names with an `e` or a dot are
    not."""
    read: list[str] = []

    def counted(text: str) -> Any:
        read.append(text)
        return read_json(text)

    monkeypatch.setattr(canonical, "read_json", counted)
    whole = {"zones.eu": ["eu", "E"], "rate": 12, "enabled": True}
    assert json.loads(canonical_json(whole)) == whole
    assert read == []
    assert canonical_json({"rate": 1.0, "burst": 1e22}) == '{"burst":10000000000000000000000,"rate":1}'
    assert len(read) == 1
