"""Text that tries to be something else wherever it is shown, and what a harmless text is."""

from __future__ import annotations

import re
import unicodedata

MARK = "FORGED"
"""What a hostile text tries to put at the start of a line, into a column, or into markup."""

HOSTILE = (
    f"a\n{MARK} line",
    f"a\r{MARK} line",
    f"a\r\n{MARK} line",
    f"a\x0b{MARK}",
    f"a\x0c{MARK}",
    f"a\x1c{MARK}",
    f"a\x85{MARK}",
    f"a\u2028{MARK}",
    f"a\u2029{MARK}",
    f"\x1b[31m{MARK}\x1b[0m",
    f"\x1b]0;{MARK}\x07",
    f"\x1b]8;;https://evil.example\x1b\\{MARK}\x1b]8;;\x1b\\",
    f"\x9b31m{MARK}",
    f"\x90{MARK}\x9c",
    f"a\x00{MARK}",
    f"a\x08\x08{MARK}",
    f"a\x7f{MARK}",
    f"\u202e{MARK}\u202c",
    f"\u2066{MARK}\u2069",
    f"a\u200b\u200d\u2060\ufeff{MARK}",
    f"a\ufe0f\u034f\u115f\u3164\U000e0041\U000e0100{MARK}",
    f"\u0301{MARK}",
    f"\ud800{MARK}",
    f"{MARK}\udcff",
    f"::error file=x::{MARK}",
    f"  ::set-output name=x::{MARK}",
    f"##[error]{MARK}",
    f"##vso[task.setvariable variable=x]{MARK}",
    f"##teamcity[message text='{MARK}']",
    f"%0A::error::{MARK}",
    f"a%0D%0A{MARK}",
    f"section_start:1:x\r\x1b[0K{MARK}",
    f"a | {MARK} | b",
    f"`{MARK}`",
    f"```\n{MARK}\n```",
    f"<b>{MARK}</b>",
    f"<script>{MARK}</script>",
    f"<img src=x onerror={MARK}>",
    f"</code></details><h1>{MARK}",
    f"<!-- {MARK} -->",
    f"--> {MARK}",
    f"[{MARK}](https://evil.example)",
    f"![{MARK}](https://evil.example/x.png)",
    f"<https://evil.example/{MARK}>",
    f"https://evil.example/{MARK}",
    f"www.evil.example/{MARK}",
    f"mail@evil.example {MARK}",
    f"@everyone {MARK}",
    f"#1 GH-1 !1 &1 %1 ~1 {MARK}",
    f"0123456789abcdef0123456789abcdef01234567 {MARK}",
    f":tada: **{MARK}** _{MARK}_ ~~{MARK}~~ $x$",
    f"# {MARK}",
    f"- {MARK}",
    f"/close {MARK}",
    f"<!channel> @here <@U1> *{MARK}*",
    f"{{{{ {MARK} }}}} {{% x %}} ${{{{ x }}}}",
    f'"}}, "{MARK}": {{"a": "',
    f"{MARK}\\",
    f"a  {MARK}  b",
    f"  {MARK}",
    f"a [{MARK}]",
    f'a"  "{MARK}',
    f"{MARK}: 1 -> 2",
    f"=cmd|'/c {MARK}'!A0",
    f"שלום \u05d0 1:2:3 {MARK}",
    "مرحبا 3:4",
    "",
    " ",
    ".",
    "..",
    "a" * 5000,
)

_COMMAND = re.compile(r"^\s*::|##\w*\[")


def is_harmless(text: str) -> bool:
    """True for one line in which everything is visible, and that no CI system takes for a command."""
    return all(map(is_visible, text)) and not _COMMAND.search(text)


def is_visible(char: str) -> bool:
    """True for a character that takes its place and changes nothing around it."""
    if unicodedata.category(char) in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"):
        return False
    is_selector = "\ufe00" <= char <= "\ufe0f" or "\U000e0100" <= char <= "\U000e01ef"
    return not is_selector and char not in "\u034f\u115f\u1160\u17b4\u17b5\u3164\uffa0\u2800"
