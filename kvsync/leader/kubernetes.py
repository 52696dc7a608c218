"""Lease in Kubernetes: a Lease object (`coordination.k8s.io/v1`), used as by the Kubernetes components.

claim     there is none             -> it is made; whoever comes second hears 409
          it names us, or nobody    -> it is renewed, or taken
          it names another          -> theirs, until it was seen to stay the same for as long as it is good for; then taken

Every PUT carries the resourceVersion that was read, so that of two who take it at the same moment one hears 409. Moments in the
object are for people to read; they are compared with no clock.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from math import ceil
from typing import Any, Final

from kvsync.errors import AuthError, PermanentError, StoreError, TransientError
from kvsync.http.client import Client
from kvsync.http.failures import sender, understood
from kvsync.http.model import Request, Response
from kvsync.leader.division import DivisionRecord, decoded_division, encoded_division
from kvsync.leader.election import Renewal, RenewalWatch
from kvsync.leader.model import LeaseClaim
from kvsync.leader.revisions import decoded_revisions, encoded_revisions
from kvsync.model.health import DoctorCheck
from kvsync.model.revision import AppliedRevision
from kvsync.util.clock import Clock

_JSON: Final = {"Content-Type": "application/json", "Accept": "application/json"}
_REVIEWS: Final = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
_VERBS: Final = ("get", "update")
_ANNOTATION: Final = "kvsync/revisions"
_DIVISION: Final = "kvsync/division"
_LISTED: Final = 500
"""How many leases of the namespace are looked at."""

_EPOCH: Final = datetime.fromtimestamp(0, UTC)

_TRIES: Final = 2
"""How often one claim looks again after someone changed the object meanwhile."""


@dataclass(frozen=True, slots=True)
class LeaseName:
    """Which Lease."""

    namespace: str
    name: str

    @property
    def collection(self) -> str:
        """The path of all Leases of the namespace."""
        return f"/apis/coordination.k8s.io/v1/namespaces/{self.namespace}/leases"

    @property
    def path(self) -> str:
        """Its own path."""
        return f"{self.collection}/{self.name}"


class KubernetesLeaseStore:
    """Keeps the lease in the cluster's API. `client` speaks to it."""

    def __init__(self, lease: LeaseName, identity: str, duration: float, client: Client, clock: Clock) -> None:
        self.name = f"{lease.namespace}/{lease.name} in Kubernetes"
        self._lease, self._identity, self._duration = lease, identity, duration
        self._client, self._clock = client, clock
        self._watch = RenewalWatch(duration)
        self._watches: dict[str, RenewalWatch] = {}
        self._moment_at = 0  # microseconds since 1970

    async def claim(self) -> LeaseClaim:
        """See the module. Raises StoreError."""
        for _ in range(_TRIES):
            with self._understood("claiming it"):
                found = await self._read()
                claim = await (self._make() if found is None else self._take(found))
            if claim is not None:
                return claim
        raise TransientError(f"lease {self.name}: it kept changing while kvsync tried to take it; kvsync tries again")

    async def release(self) -> None:
        """Take our name out of it. Raises StoreError."""
        with self._understood("releasing it"):
            found = await self._read()
            if found is None or _leader(found) != self._identity:
                return
            moment = self._moment()
            await self._put(found, {"holderIdentity": "", "leaseDurationSeconds": 1, "renewTime": moment})

    async def check(self) -> Sequence[DoctorCheck]:
        """Reached, who leads, and what the service account may do."""
        try:
            with self._understood("reading the leader"):
                found = await self._read()
                leader = _leader(found) if found is not None else None
                wanted = _VERBS if found is not None else (*_VERBS, "create")
                denied = [verb for verb in wanted if not await self._may(verb)]
        except AuthError as error:
            return [DoctorCheck.of_error("permission", error)]
        except StoreError as error:
            return [DoctorCheck.of_error("reached", error)]
        return [
            DoctorCheck("reached", True, f"{leader} leads" if leader else "no replica is the leader"),
            DoctorCheck(
                "permission",
                not denied,
                f"leases: {', '.join(wanted)}"
                if not denied
                else f"the service account is not allowed to {', '.join(denied)} leases",
                f"bind a Role in {self._lease.namespace} with {', '.join(wanted)} on leases.coordination.k8s.io to it",
            ),
        ]

    async def revisions(self) -> Sequence[AppliedRevision]:
        """What leaders applied: in an annotation of the object. Raises StoreError."""
        with self._understood("reading the revisions"):
            return _revisions(await self._read() or {})

    async def add_revision(self, applied: AppliedRevision) -> None:
        """Add to that annotation, as long as the object names us. Raises StoreError."""
        if not await self._annotate(_ANNOTATION, lambda found: encoded_revisions((*_revisions(found), applied))):
            raise TransientError(f"lease {self.name}: this replica does not lead, so it records no revision")

    async def divisions(self) -> Sequence[DivisionRecord]:
        """The annotations of all leases in the namespace whose leaders are alive. Raises StoreError."""
        call = Request("GET", f"{self._lease.collection}?limit={_LISTED}", "listing the leases", _JSON)
        with self._understood("listing the leases"):
            items: list[Mapping[str, Any]] = self._object(await self._client.send(call)).get("items") or []
            found = {str(one["metadata"]["name"]): one for one in items if _annotations(one).get(_DIVISION)}
        self._watches = {name: self._watches.get(name, RenewalWatch(self._duration)) for name in found}
        now = self._clock.monotonic()
        alive = [one for name, one in found.items() if _is_alive(one, self._watches[name], now)]
        records = (decoded_division(_annotations(one)[_DIVISION]) for one in alive)
        return [one for one in records if one is not None]

    async def record_division(self, mine: DivisionRecord) -> None:
        """Write it into an annotation of the object, as long as that names us. Raises StoreError."""
        await self._annotate(_DIVISION, lambda _found: encoded_division(mine))

    async def _annotate(self, name: str, text: Callable[[Mapping[str, Any]], str]) -> bool:
        """Set an annotation of the object; False when it does not name us, or keeps changing. Raises StoreError."""
        for _ in range(_TRIES):
            with self._understood("annotating it"):
                found = await self._read()
                if found is None or _leader(found) != self._identity:
                    return False
                annotations = {**_annotations(found), name: text(found)}
                metadata = {**(found.get("metadata") or {}), "annotations": annotations}
                if await self._put({**found, "metadata": metadata}, {}):
                    return True
        return False

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def _take(self, found: Mapping[str, Any]) -> LeaseClaim | None:
        """Renew or take over what is there, unless someone has it; None when it changed meanwhile."""
        leader, spec = _leader(found), found.get("spec") or {}
        if leader and leader != self._identity:
            left = self._watch.left(_renewal(spec), self._clock.monotonic())
            if left > 0:
                return LeaseClaim(leader, again_in=left)
        moment = self._moment()
        fields = {"renewTime": moment, "leaseDurationSeconds": ceil(self._duration)}
        if leader != self._identity:
            transitions = spec.get("leaseTransitions") or 0
            fields |= {"holderIdentity": self._identity, "acquireTime": moment, "leaseTransitions": transitions + 1}
        return self._ours() if await self._put(found, fields) else None

    async def _make(self) -> LeaseClaim | None:
        """Make the object; None when someone else was faster."""
        moment = self._moment()
        spec = {
            "holderIdentity": self._identity,
            "leaseDurationSeconds": ceil(self._duration),
            "acquireTime": moment,
            "renewTime": moment,
            "leaseTransitions": 0,
        }
        metadata = {"name": self._lease.name, "namespace": self._lease.namespace}
        body = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata, "spec": spec}
        answer = await self._send("POST", self._lease.collection, "making it", body, (200, 201, 409))
        return None if answer.status == 409 else self._ours()

    async def _read(self) -> Mapping[str, Any] | None:
        """The object, None when there is none."""
        call = Request("GET", self._lease.path, "reading it", _JSON, expects=(200, 404))
        answer = await self._client.send(call)
        return None if answer.status == 404 else self._object(answer)

    async def _put(self, found: Mapping[str, Any], fields: Mapping[str, Any]) -> bool:
        """Write these fields over what was read, and leave all else in it; False when it changed meanwhile."""
        body = {**found, "spec": {**(found.get("spec") or {}), **fields}}
        answer = await self._send("PUT", self._lease.path, "renewing it", body, (200, 201, 404, 409))
        return answer.status not in (404, 409)

    async def _may(self, verb: str) -> bool:
        attributes = {
            "namespace": self._lease.namespace,
            "verb": verb,
            "group": "coordination.k8s.io",
            "resource": "leases",
            **({"name": self._lease.name} if verb != "create" else {}),
        }
        review = {"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview"}
        body = {**review, "spec": {"resourceAttributes": attributes}}
        answer = await self._send("POST", _REVIEWS, "checking the permissions of the service account", body, (200, 201))
        return bool((self._object(answer).get("status") or {}).get("allowed"))

    async def _send(
        self, method: str, path: str, what: str, body: Mapping[str, Any], expects: Sequence[int]
    ) -> Response:
        return await self._client.send(Request(method, path, what, _JSON, json.dumps(body).encode(), expects))

    def _object(self, answer: Response) -> Mapping[str, Any]:
        found = answer.problem()
        if found.get("kind") not in ("Lease", "LeaseList", "SelfSubjectAccessReview"):
            raise PermanentError(
                f"lease {self.name}: the response is not from the Kubernetes API ({sender(answer)});"
                " check KUBERNETES_SERVICE_HOST"
            )
        return found

    def _understood(self, what: str) -> AbstractContextManager[None]:
        return understood(f"lease {self.name}", what)

    def _ours(self) -> LeaseClaim:
        return LeaseClaim(self._identity, is_ours=True, duration=self._duration)

    def _moment(self) -> str:
        """Now, as the API writes it: to the microsecond, and later than the last one. Others take a record that stays the same
        for a leader that is gone, and a wall clock may stand still or be set back."""
        self._moment_at = max(int(self._clock.now() * 1e6), self._moment_at + 1)
        return (_EPOCH + timedelta(microseconds=self._moment_at)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _revisions(found: Mapping[str, Any]) -> tuple[AppliedRevision, ...]:
    text = _annotations(found).get(_ANNOTATION)
    return decoded_revisions(text) if text else ()


def _annotations(found: Mapping[str, Any]) -> Mapping[str, str]:
    return (found.get("metadata") or {}).get("annotations") or {}


def _is_alive(found: Mapping[str, Any], watch: RenewalWatch, now: float) -> bool:
    """True for a lease whose leader was seen to renew it, or is seen for the first time."""
    division = decoded_division(_annotations(found)[_DIVISION])
    renews = watch.left(_renewal(found.get("spec") or {}), now) > 0
    return division is not None and renews and _leader(found) == division.leader


def _leader(found: Mapping[str, Any]) -> str:
    return str((found.get("spec") or {}).get("holderIdentity") or "")


def _renewal(spec: Mapping[str, Any]) -> Renewal:
    duration = spec.get("leaseDurationSeconds")
    return Renewal(dict(spec), float(duration) if isinstance(duration, int) else 0)
