r"""Replaces characters that YAML 1.2 allows and libyaml misreads with placeholders while libyaml reads.

- JSON writes 😀 as the two escapes `\ud83d\ude00`, which libyaml refuses.
- In `{?utm: /x}` the key is `?utm`; libyaml takes the `?` for an indicator, and reads `utm`.

Each character in question is replaced by one from a private block of Unicode that the file does not use, so that lines and
columns stay as they are. Where libyaml gives the text of a scalar, the characters come back.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final

from yaml.events import ScalarEvent

_PAIR: Final = r"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"
_WANTED: Final = re.compile(rf"(?<!\\)(?:\\\\)*({_PAIR})|(?<=[\[{{,:\s])(\?)(?=[^\s,\[\]{{}}])")
_MAY_NEED: Final = re.compile(rb"\\u[dD][89abAB]|[\[{,:\s]\?[^\s,\[\]{}]")
_BLOCKS: Final = (0xF0000, 0x100000)
_BLOCK_SIZE: Final = 0x80


def substituted(data: bytes, read: Callable[[bytes], Callable[[], Any]]) -> Callable[[], Any]:
    """The function that gives the next event of `data`, which is UTF-8. `read` makes one for bytes that libyaml understands."""
    if not _MAY_NEED.search(data):
        return read(data)
    text = data.decode()
    block = next((one for one in _BLOCKS if not _uses(text, one)), None)
    if block is None:
        return read(data)
    following, restore = read(_WANTED.sub(lambda match: _hidden(match, block), text).encode()), _restorer(block)

    def next_event() -> Any:
        event = following()
        if event.__class__ is ScalarEvent:
            event.value = restore(event.value, event.style == '"')
        return event

    return next_event


def _uses(text: str, block: int) -> bool:
    return re.search(_members(block), text) is not None


def _hidden(match: re.Match[str], block: int) -> str:
    group = 1 if match[1] else 2
    before = match[0][: match.start(group) - match.start()]
    return before + "".join(chr(block + ord(character)) for character in match[group])


def _restorer(block: int) -> Callable[[str, bool], str]:
    plain = {block + code: chr(code) for code in range(_BLOCK_SIZE)}
    backslash = chr(block + ord("\\"))
    hidden = re.compile(f"{backslash}.{{5}}{backslash}.{{5}}|{_members(block)}")

    def shown(match: re.Match[str]) -> str:
        found = match[0].translate(plain)
        if len(found) == 1:
            return found
        high, low = int(found[2:6], 16), int(found[8:], 16)
        return chr(0x10000 + ((high - 0xD800) << 10) + low - 0xDC00)

    def restore(text: str, has_escapes: bool) -> str:
        return hidden.sub(shown, text) if has_escapes else text.translate(plain)

    return restore


def _members(block: int) -> str:
    return f"[{chr(block)}-{chr(block + _BLOCK_SIZE - 1)}]"
