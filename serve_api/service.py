"""Service: a request to predict from its headers to its answer."""

import hmac
import re
import secrets
import time
from itertools import count
from typing import Any, NamedTuple

from starlette.types import Receive, Scope

from serve_api.batch import Served
from serve_api.batcher import Batcher
from serve_api.body import parse_rows, read_body
from serve_api.deployment import Deployment
from serve_api.log import place_of, say
from serve_api.metrics import Metrics
from serve_api.refusal import Refused
from serve_api.rollout import Rollout
from serve_api.settings import Settings

Headers = list[tuple[bytes, bytes]]
_REQUEST_ID = re.compile(rb"[A-Za-z0-9._~-]{1,128}")
_TIMEOUT_MS = re.compile(rb"[0-9]{1,9}")
_JSON = (b"content-type", b"application/json")


class Reply(NamedTuple):
    """An answer that is ready to be sent."""

    status: int
    headers: Headers
    body: bytes


class Service:
    """What all requests share: the settings, the versions, the queue, the counts."""

    def __init__(self, settings: Settings, rollout: Rollout, metrics: Metrics) -> None:
        self.settings = settings
        self.rollout = rollout
        self.metrics = metrics
        self.batcher = Batcher(settings, rollout, metrics)
        self.draining = False
        self.closed = False
        self.in_flight = 0
        self._run_name = secrets.token_hex(6)
        self._numbers = count(1)
        token = settings.access.token
        self._authorization = None if token is None else f"Bearer {token}".encode()
        metrics.in_flight.set_function(lambda: self.in_flight)

    @property
    def ready(self) -> bool:
        """Whether new requests shall be sent here."""
        return not (self.draining or self.batcher.hung)

    def authorized(self, given: bytes | None) -> bool:
        """Whether the token is right; compared in a time that tells nothing of it."""
        return self._authorization is None or hmac.compare_digest(given or b"", self._authorization)

    def summary(self) -> dict[str, Any]:
        """What `/health` tells."""
        now_s = time.monotonic()
        return {
            "ready": self.ready,
            "draining": self.draining,
            "model_hung": self.batcher.hung,
            "in_flight": self.in_flight,
            "versions": {
                role: {"version": d.version, "circuit": d.breaker.state(now_s).name.lower()}
                for role, d in self.rollout.loaded()
            },
        }

    async def predict(self, scope: Scope, receive: Receive) -> Reply:
        """Answer a request; whatever goes wrong is an answer too."""
        began_s = time.monotonic()
        headers = dict(scope["headers"])
        self.in_flight += 1
        try:
            served = await self._served(headers, receive, began_s)
        except Refused as refused:
            return self._refusal(refused, headers, began_s)
        except Exception as error:  # a bug of ours: the client gets no traceback, and the log no data
            say("internal_error", failure=place_of(error))
            internal = Refused(500, "internal", "internal error; please report it")
            return self._refusal(internal, headers, began_s)
        finally:
            self.in_flight -= 1
        return self._prediction(served, headers, began_s)

    async def _served(self, headers: dict[bytes, bytes], receive: Receive, began_s: float) -> Served:
        self._admit(headers, began_s)
        limits = self.settings.limits
        body = await read_body(receive, headers.get(b"content-length"), limits)
        rows = parse_rows(body, self.rollout.serving.features, self.settings.rows_max)
        return await self.batcher.submit(rows, began_s + self._patience_s(headers))

    def _admit(self, headers: dict[bytes, bytes], now_s: float) -> None:
        """Refuse what can be refused before the body is read."""
        if not self.authorized(headers.get(b"authorization")):
            raise Refused(401, "unauthorized", "a bearer token is needed; send Authorization: Bearer")
        if self.closed:
            raise Refused(503, "draining", "the server shuts down", retry_after_s=1.0, closes=True)
        if self.in_flight > self.settings.limits.in_flight_max:
            raise Refused(503, "in_flight", "too many requests are open", retry_after_s=1.0)
        self.batcher.check_room(now_s)

    def _patience_s(self, headers: dict[bytes, bytes]) -> float:
        """How long the request may wait: its own word, if it is shorter than ours."""
        given = headers.get(b"x-request-timeout-ms")
        if given is None:
            return self.settings.limits.deadline_s
        if _TIMEOUT_MS.fullmatch(given) is None:
            raise Refused(400, "wrong_timeout", "X-Request-Timeout-Ms must be a whole number of milliseconds")
        return min(int(given) / 1e3, self.settings.limits.deadline_s)

    def _prediction(self, served: Served, headers: dict[bytes, bytes], began_s: float) -> Reply:
        deployment = served.deployment
        # Finite floats and whole numbers read the same in Python and in JSON.
        body = (
            f'{{"predictions":{served.labels},"probabilities":{served.probabilities},'
            f'"model_version":"{deployment.version}"}}'
        ).encode()
        timing = f"queue;dur={served.queue_s * 1e3:.3f}, batch;dur={served.batch_s * 1e3:.3f}"
        own = [(b"server-timing", timing.encode()), (b"x-batch-size", b"%d" % served.batch_size)]
        return self._reply(200, own, body, headers, began_s, deployment)

    def _refusal(self, refused: Refused, headers: dict[bytes, bytes], began_s: float) -> Reply:
        self.metrics.rejected.labels(refused.reason).inc()
        serving = self.rollout.serving
        return self._reply(refused.status, refused.headers(), refused.body(), headers, began_s, serving)

    def _reply(
        self,
        status: int,
        own: Headers,
        body: bytes,
        headers: dict[bytes, bytes],
        began_s: float,
        deployment: Deployment,
    ) -> Reply:
        if self.draining:
            own.append((b"connection", b"close"))  # so that clients go elsewhere before the socket closes
        request_id = headers.get(b"x-request-id", b"")
        if _REQUEST_ID.fullmatch(request_id) is None:
            request_id = f"{self._run_name}-{next(self._numbers):x}".encode()
        took_s = time.monotonic() - began_s
        deployment.requests(status).inc()
        deployment.request_seconds.observe(took_s)
        own += [
            _JSON,
            (b"content-length", b"%d" % len(body)),
            (b"x-request-id", request_id),
            (b"x-process-time", b"%.6f" % took_s),
        ]
        return Reply(status, own, body)
