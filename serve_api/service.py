"""Service: a request to predict from its headers to its answer."""

import asyncio
import time
from typing import Any, NamedTuple

from starlette.types import Receive, Scope

from serve_api.asked import Asked
from serve_api.batch import ModelRefused, Served
from serve_api.batcher import Batcher
from serve_api.body import BodyReader
from serve_api.deployment import Deployment
from serve_api.http_protocol import departure_of
from serve_api.log import place_of, say
from serve_api.metrics import Metrics
from serve_api.refusal import Reason, Refused
from serve_api.rollout import Rollout
from serve_api.rows import parse_rows
from serve_api.settings import Settings

Headers = list[tuple[bytes, bytes]]
_JSON = (b"content-type", b"application/json")
_CLOSE = (b"connection", b"close")
_OK = 200


class Reply(NamedTuple):
    """An answer that is ready to be sent."""

    status: int
    headers: Headers
    body: bytes


class Service:
    """What all requests share: the settings, the versions, the queue, the counts.

    Attributes:
        draining: whether the server is about to end and clients should go elsewhere.
        closed: whether new requests are refused.
        in_flight: requests to predict that are open.
        answered: requests to predict that were, one way or the other.
    """

    def __init__(self, settings: Settings, rollout: Rollout, metrics: Metrics) -> None:
        self.settings = settings
        self.rollout = rollout
        self.metrics = metrics
        self.batcher = Batcher(settings, rollout, metrics)
        self._bodies = BodyReader(settings.limits)
        self.draining = False
        self.closed = False
        self.in_flight = 0
        self.answered = 0
        metrics.in_flight.set_function(lambda: self.in_flight)
        metrics.ready.set_function(lambda: self.ready)

    @property
    def ready(self) -> bool:
        """Whether new requests shall be sent here; what is not loaded and warm has no service."""
        return not (self.draining or self.batcher.hung)

    def authorized(self, asked: Asked) -> bool:
        """Whether it may ask."""
        token = self.settings.access.token
        return token is None or asked.bears(token)

    def summary(self) -> dict[str, Any]:
        """What `/health` tells."""
        now_s = time.monotonic()
        versions = {
            role: {"version": deployment.version, "circuit": deployment.breaker.state(now_s).name.lower()}
            for role, deployment in self.rollout.loaded()
        }
        return {
            "ready": self.ready,
            "draining": self.draining,
            "model_hung": self.batcher.hung,
            "in_flight": self.in_flight,
            "queue_length": len(self.batcher),
            "versions": versions,
        }

    async def predict(self, scope: Scope, receive: Receive) -> Reply:
        """Answer a request; whatever goes wrong is an answer too."""
        asked = Asked(scope)
        self.in_flight += 1
        try:
            return self._prediction(asked, await self._served(asked, scope, receive))
        except ModelRefused as refused:
            return self._refusal(asked, refused, refused.deployment)
        except Refused as refused:
            return self._refusal(asked, refused, self.rollout.serving)
        except Exception as error:  # a bug of ours: the client gets no traceback, and the log no data
            say("internal_error", failure=place_of(error), request_id=asked.request_id().decode())
            internal = Refused(Reason.INTERNAL, "internal error; please report it")
            return self._refusal(asked, internal, self.rollout.serving)
        finally:
            self.in_flight -= 1

    async def _served(self, asked: Asked, scope: Scope, receive: Receive) -> Served:
        self._admit(asked)
        deadline_s = asked.deadline_s(self.settings.limits.deadline_s)
        # No name for the body: it is not kept while the request waits.
        rows = parse_rows(
            await self._bodies.read(receive, asked.body_bytes),
            self.rollout.serving.features,
            self.settings.rows_max,
        )
        answer = self.batcher.submit(rows, deadline_s)
        departure = departure_of(scope)
        if departure is not None:
            departure.then = answer.cancel
        try:
            return await answer
        except asyncio.CancelledError:
            if _is_told_to_end():
                raise
            self.batcher.left()
            raise Refused(Reason.DISCONNECTED, "the client left") from None

    def _admit(self, asked: Asked) -> None:
        """Refuse what can be refused before the body is read."""
        if not self.authorized(asked):
            raise Refused(Reason.UNAUTHORIZED, "send Authorization: Bearer with the token")
        if self.closed:
            raise Refused(Reason.DRAINING, "the server is about to end", retry_after_s=1.0)
        if self.in_flight > self.settings.limits.in_flight_max:
            raise Refused(Reason.IN_FLIGHT, "too many requests are open", retry_after_s=1.0)
        self.batcher.check_room(asked.began_s)

    def _prediction(self, asked: Asked, served: Served) -> Reply:
        # Whole numbers and finite floats read the same in Python and in JSON.
        body = (
            f'{{"predictions":{served.labels},"probabilities":{served.probabilities},'
            f'"model_version":"{served.deployment.version}"}}'
        )
        timing = f"queue;dur={served.queue_s * 1e3:.3f}, batch;dur={served.batch_s * 1e3:.3f}"
        own = [(b"server-timing", timing.encode()), (b"x-batch-size", b"%d" % served.batch_size)]
        return self._reply(asked, served.deployment, Reply(_OK, own, body.encode()))

    def _refusal(self, asked: Asked, refused: Refused, deployment: Deployment) -> Reply:
        self.metrics.reject(refused.reason)
        reply = Reply(refused.status, refused.headers(), refused.body())
        return self._reply(asked, deployment, reply)

    def _reply(self, asked: Asked, deployment: Deployment, reply: Reply) -> Reply:
        """Count it, and add what every answer carries."""
        took_s = time.monotonic() - asked.began_s
        self.answered += 1
        deployment.requests(reply.status).inc()
        if reply.status == _OK:  # refusals take microseconds, and would hide how long answers take
            deployment.request_seconds.observe(took_s)
        of_every_answer = (
            _JSON,
            (b"content-length", b"%d" % len(reply.body)),
            (b"x-request-id", asked.request_id()),
            (b"x-process-time", b"%.6f" % took_s),
        )
        reply.headers.extend(of_every_answer)
        if self.draining:
            reply.headers.append(_CLOSE)  # so that clients go elsewhere before the socket closes
        return reply


def _is_told_to_end() -> bool:
    """Whether the task itself was cancelled, at the end of the server, and not just what it waits for."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
