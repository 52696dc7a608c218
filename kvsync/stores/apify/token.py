"""API token, and the messages for its rejection."""

from __future__ import annotations

from typing import Final

from kvsync.http.bearer import BearerToken
from kvsync.http.failures import server_message
from kvsync.http.model import ErrorText, Request, Response

NOT_VALID: Final = frozenset({"token-not-valid", "invalid-token", "token-not-provided", "user-or-token-not-found"})
"""What the API calls it, over time, when it is the token itself that is wrong."""

_PAGE: Final = "Console > Settings > API & Integrations"


class ApiToken(BearerToken):
    """Bears the token, and tells why it is refused."""

    def explain(self, call: Request, answer: Response) -> ErrorText:
        """Tell a token that is not valid from one that may not do this."""
        said = server_message(call, answer) or f"status {answer.status}"
        if answer.status == 401 or error_type(answer) in NOT_VALID:
            return ErrorText("credential", f"the API token is not valid ({said})", f"copy it again ({_PAGE})")
        verb = "write" if call.writes else "do this"
        hint = f"give the token read and write permission for this key-value store ({_PAGE})"
        return ErrorText("permission", f"the API token may not {verb} here ({said})", hint)


def error_type(answer: Response) -> str:
    """The name that the API gives an error; empty where the body is none."""
    error = answer.problem().get("error")
    found = error.get("type") if isinstance(error, dict) else None
    return found if isinstance(found, str) else ""
