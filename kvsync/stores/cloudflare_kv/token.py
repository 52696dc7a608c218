"""API token, and the messages for its rejection."""

from __future__ import annotations

from kvsync.http.bearer import BearerToken
from kvsync.http.failures import server_message
from kvsync.http.model import ErrorText, Request, Response

_PAGE = "My Profile > API Tokens"
_PERMISSION = f'give the token the account permission "Workers KV Storage: Edit" ({_PAGE}), and this account'


class ApiToken(BearerToken):
    """Bears the token, and tells why it is refused."""

    def explain(self, call: Request, answer: Response) -> ErrorText:
        """Tell a token that is not valid from one that may not do this."""
        codes = error_codes(answer)
        said = server_message(call, answer) or f"status {answer.status}"
        if answer.status == 401 or codes & {1000, 6003, 6111, 9103, 9106, 9107}:
            return ErrorText("credential", f"the API token is not valid ({said})", f"create a new one ({_PAGE})")
        if answer.status == 405 or call.writes:
            return ErrorText("permission", f"the API token may not write here ({said})", _PERMISSION)
        return ErrorText("permission", f"the API token is not valid, or may not do this here ({said})", _PERMISSION)


def error_codes(answer: Response) -> set[int]:
    """The codes in the envelope of a failure; none where the body is not an envelope."""
    errors = answer.problem().get("errors")
    found = [error.get("code") for error in errors if isinstance(error, dict)] if isinstance(errors, list) else []
    return {code for code in found if isinstance(code, int)}


def is_envelope(answer: Response) -> bool:
    """True when the API itself answers, and not something before it."""
    return isinstance(answer.problem().get("errors"), list)
