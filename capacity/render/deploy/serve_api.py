"""Reference server: its settings as environment variables."""

from collections.abc import Iterator

from capacity.question.plan import Routing
from capacity.render.deploy.features import Coverage, Feature, counted
from capacity.render.deploy.fleet import Fleet
from capacity.render.deploy.header import batching_note, header, routing_note, shed_note
from capacity.server.batch.batching import Batching

NAME = "serve-api"
FILE = "serve-api.env"
PLANS = Fleet
COVERS = Coverage(
    sets={Feature.BATCH_SIZE, Feature.BATCH_WAIT, Feature.QUEUE_LIMIT, Feature.SHED_LATE},
    says={Feature.REPLICAS, Feature.ROUTING, Feature.BATCHING, Feature.PREFERRED_SIZES},
    refuses={Feature.SHED_CODEL, Feature.SHED_LIFO},
)
_DEADLINE_MIN_S = 0.001  # of the server


def render(plan: Fleet) -> str:
    """A file for `docker run --env-file`, `env_file:` or `set -a; . FILE`; one server for each replica."""
    return header(plan, NAME, _notes(plan)) + "".join(
        f"{name}={value}\n" for name, value in settings(plan).items()
    )


def settings(fleet: Fleet) -> dict[str, str]:
    """Variables by name."""
    plan, wait_s = fleet.plan, fleet.wait_limit_s
    found = {
        "SERVE_BATCH_SIZE_MAX": str(plan.batch_size_max),
        "SERVE_BATCH_WAIT_MAX": f"{1000.0 * plan.batch_wait_max_s:.10g}ms",
    }
    if plan.queue_limit is not None:
        found["SERVE_QUEUE_MAX"] = str(max(plan.queue_limit, 1))
    if wait_s is not None:
        found["SERVE_DEADLINE"] = f"{1000.0 * max(wait_s, _DEADLINE_MIN_S):.10g}ms"
    return found


def _notes(fleet: Fleet) -> Iterator[str]:
    yield f"The plan is {counted(fleet.plan.replicas, 'server')} with these settings, one for each replica."
    yield batching_note(fleet, "The server", Batching.TRITON)
    yield from routing_note(fleet, Routing.RANDOM, "a Kubernetes Service in front")
    if fleet.plan.queue_limit is None:
        yield "The plan has no queue limit; the server's default, SERVE_QUEUE_MAX=1024, applies."
    elif fleet.plan.queue_limit == 0:
        yield "The plan lets no request wait; the server lets one."
    yield from shed_note(fleet, "by SERVE_DEADLINE the server refuses")
    if "SERVE_DEADLINE" not in settings(fleet):
        yield "The plan lets requests wait for ever; the server's default, SERVE_DEADLINE=10s, applies."
    elif fleet.recovery is None:
        yield "SERVE_DEADLINE is the limit on the response: a request that has waited as long is late in any case."
