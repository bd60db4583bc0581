"""KEDA, for engines: a ScaledObject that reads the rate of answers and the waiting requests from Prometheus."""

from collections.abc import Iterator

from capacity.answer.saved_plan import SavedPlan
from capacity.render.deploy.controller import controller_notes
from capacity.render.deploy.engine_servers import SERVERS
from capacity.render.deploy.engines import Engines, read_engines, require_scheduler, require_seen
from capacity.render.deploy.features import Coverage, Feature
from capacity.render.deploy.header import header_of
from capacity.render.deploy.keda import scaled_object, trigger
from capacity.render.deploy.kubernetes_engines import near_by_server, waiting_note, waiting_target
from capacity.render.deploy.scaling import Scaling, rounded_down, scaling_of

NAME = "keda"
FILE = "keda.yaml"
PLANS = SavedPlan
SCHEDULERS = tuple(SERVERS)
COVERS = Coverage(sets={Feature.REPLICAS, Feature.GROWTH, Feature.AUTOSCALER})


def render(saved: SavedPlan) -> str:
    """A ScaledObject for the Deployment of `--target kubernetes`, replacing that target's autoscaler.

    Raises:
        InputError: the plan is for an engine with other rules, or its autoscaler is on what no metric tells.
    """
    require_scheduler(saved, NAME, SCHEDULERS)
    engines = read_engines(saved)
    require_seen(engines, NAME)
    scaling = scaling_of(engines)
    head = header_of(saved, NAME, _notes(engines, scaling))
    return head + scaled_object(engines, scaling, _triggers(engines, scaling))


def _triggers(engines: Engines, scaling: Scaling) -> str:
    scaler = engines.autoscaler
    if scaler is not None:
        return trigger(engines.in_progress_query, f"{scaler.target.level:g}", f"{scaler.target}, on each pod")
    rate = trigger(
        engines.answers_query, rounded_down(scaling.hpa_target_rps), "requests per second on each pod"
    )
    target = waiting_target(engines)
    if target is None:
        return rate
    return rate + trigger(engines.waiting_query, str(target), "waiting requests on each pod")


def _notes(engines: Engines, scaling: Scaling) -> Iterator[str]:
    yield from engines.notes()
    yield from _scaling_notes(engines, scaling)
    yield "Use this object or the HorizontalPodAutoscaler of --target kubernetes, not both."


def _scaling_notes(engines: Engines, scaling: Scaling) -> Iterator[str]:
    """Where the triggers come from."""
    if engines.autoscaler is not None:
        yield from controller_notes(engines.autoscaler, near_by_server(engines))
        return
    yield from scaling.notes()
    yield (
        "The first query is the rate of answers, which is that of arrivals until engines fall behind; then requests "
        "wait."
    )
    yield from waiting_note(engines)
