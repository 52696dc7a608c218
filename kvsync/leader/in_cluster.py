"""In-cluster access to the Kubernetes API: the address from the environment, the service account from three files."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from kvsync.errors import PermanentError
from kvsync.http.client import Client
from kvsync.http.client_options import ClientLimits, ClientOptions
from kvsync.http.failures import cleaned
from kvsync.http.model import ErrorText, Request, Response
from kvsync.http.route import Route
from kvsync.model.health import Traffic
from kvsync.util.clock import Clock

SERVICE_ACCOUNT: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")
"""Where the kubelet puts token, ca.crt and namespace, and replaces them before they end."""

_CONCURRENCY: Final = 2
_NOT_INSIDE: Final = "run.lease.kubernetes works inside a pod with a service account"

ReadToken = Callable[[Path], str]
"""Reads a token and makes it known as a secret. Raises AuthError."""


class ServiceAccount:
    """Bears the token, read again for each request: it is replaced every hour or so."""

    def __init__(self, file: Path, read: ReadToken) -> None:
        self._file, self._read = file, read
        self._sent: str | None = None

    async def sign(self, _call: Request, _host: str) -> Mapping[str, str]:
        """The header that every request needs. Raises AuthError."""
        self._sent = self._read(self._file)
        return {"Authorization": f"Bearer {self._sent}"}

    async def renew(self, refused: Mapping[str, str] | None = None) -> bool:
        """True when the token was replaced since it was sent. Raises AuthError."""
        sent = {"Authorization": f"Bearer {self._sent}"} if refused is None else refused
        return {"Authorization": f"Bearer {self._read(self._file)}"} != sent

    def explain(self, _call: Request, answer: Response) -> ErrorText:
        """Distinguish an invalid token from a service account without the permission."""
        said = cleaned(str(answer.problem().get("message") or "no reason given"))
        if answer.status == 401:
            return ErrorText("credential", f"the token of the service account is not valid ({said})", "restart the pod")
        hint = "bind a Role with get, list, create and update on leases.coordination.k8s.io to the service account"
        return ErrorText("permission", f"the service account is not allowed to do this ({said})", hint)


def in_cluster(
    where: str,
    clock: Clock,
    timeout: float,
    environ: Mapping[str, str],
    read: ReadToken,
    folder: Path = SERVICE_ACCOUNT,
) -> Client:
    """A client of the API of the cluster that this process runs in; `timeout` is in seconds. Raises PermanentError when it does
    not run in one."""
    host, port = environ.get("KUBERNETES_SERVICE_HOST"), environ.get("KUBERNETES_SERVICE_PORT_HTTPS", "")
    port = port or environ.get("KUBERNETES_SERVICE_PORT", "443")
    if not host:
        raise PermanentError(f"{where}: {_NOT_INSIDE}; KUBERNETES_SERVICE_HOST is not set")
    if not (folder / "ca.crt").is_file():
        raise PermanentError(f"{where}: {_NOT_INSIDE}; missing {folder / 'ca.crt'}")
    origin = f"https://{f'[{host}]' if ':' in host else host}:{port}"
    account = ServiceAccount(folder / "token", read)
    limits = ClientLimits(timeout, _CONCURRENCY)
    return Client(
        where,
        origin,
        clock,
        Traffic(),
        ClientOptions(limits=limits, credentials=account, route=Route(ca_file=folder / "ca.crt")),
    )


def own_namespace(where: str, folder: Path = SERVICE_ACCOUNT) -> str:
    """The namespace that the pod runs in. Raises PermanentError."""
    try:
        return (folder / "namespace").read_text(encoding="utf-8").strip()
    except OSError as error:
        hint = "set run.lease.kubernetes.namespace"
        raise PermanentError(
            f"{where}: {_NOT_INSIDE}; its namespace cannot be read: {error.strerror}; {hint}"
        ) from None
