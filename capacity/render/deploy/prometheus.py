"""Prometheus: alerts for a fleet that is no longer as planned."""

from collections.abc import Iterator

from capacity.render.deploy.features import Coverage
from capacity.render.deploy.fleet import Fleet
from capacity.render.deploy.header import header
from capacity.render.deploy.kubernetes import arrivals_query
from capacity.render.deploy.scaling import Scaling, in_progress, rounded_down, scaling_of
from capacity.units import format_rate

NAME = "prometheus"
FILE = "prometheus-rules.yml"
PLANS = Fleet
COVERS = Coverage()
# Allowed distance of the mean batch from the plan's, and of the rate from the planned one, to compare them.
BATCH_RATIO = 1.25
_NEAR = 0.1


def render(plan: Fleet) -> str:
    """Recording rules that name the server's metrics once, and alerts on them."""
    scaling = scaling_of(plan)
    return f"""\
{header(plan, NAME, _notes(plan))}\
groups:
  - name: {plan.name}
    rules:
      # Triton's metrics; with another server replace these four.
      - record: capacity:arrival_rate_rps
        labels: {{model: {plan.name}}}
        expr: {arrivals_query(plan.name)}
      - record: capacity:batch_size_mean
        labels: {{model: {plan.name}}}
        expr: |-
          sum(rate(nv_inference_count{{model="{plan.name}"}}[5m]))
          / sum(rate(nv_inference_exec_count{{model="{plan.name}"}}[5m]))
      - record: capacity:queue_length_max
        labels: {{model: {plan.name}}}
        expr: max(nv_inference_pending_request_count{{model="{plan.name}"}})
      - record: capacity:servers
        labels: {{model: {plan.name}}}
        expr: count(count by (instance) (nv_inference_count{{model="{plan.name}"}}))

{_load_alert(plan, scaling)}
{_batch_alert(plan, scaling)}
{_queue_alert(plan, scaling)}"""


def queue_length_max(fleet: Fleet, scaling: Scaling) -> int:
    """Length of a server's queue at which something is wrong: its limit, or one with which no objective is met.

    Without a limit it follows from Little's law for a queue: at the planned rate of a server, a request behind that
    many others waits as long as the whole response may take.
    """
    if fleet.server_queue_limit is not None:
        return max(fleet.server_queue_limit, 1)
    late_s = fleet.response_limit_s or fleet.response_s
    return max(1, round(in_progress(scaling.planned_rps / scaling.servers, late_s)))


def _notes(fleet: Fleet) -> Iterator[str]:
    yield "Check with: promtool check rules FILE"
    yield (
        "Rates are those on each server that is up, so that the alerts go with the autoscaler. Arrivals include "
        "rejected requests, which Triton counts as failures."
    )
    yield (
        f"The mean batch is compared while the rate on a server is within {100 * _NEAR:.0f} % of the planned one: "
        "at other rates batches have other sizes by right. Off by more than a quarter, something else is not as "
        "planned: service times, routing, the batch wait."
    )
    if fleet.server_queue_limit is None:
        yield (
            "The plan has no queue limit; the queue's threshold is Little's law at the planned rate: with that many "
            "waiting, a request waits as long as its whole response may take."
        )


def _load_alert(fleet: Fleet, scaling: Scaling) -> str:
    return f"""\
      - alert: LoadAboveHeadroom
        expr: {_each_rps(fleet)} > {rounded_down(scaling.headroom_rps / scaling.servers)}
        for: 2m
        labels: {{severity: page}}
        annotations:
          summary: >-
            {{{{ $value | humanize }}}} requests per second on each server; the plan meets its objective up to
            {format_rate(scaling.headroom_rps / scaling.servers)}.
          action: Add servers, or plan again with the new rate.
"""


def _each_rps(fleet: Fleet) -> str:
    """Rate on each server, in PromQL."""
    return " / ".join(_series(fleet, name) for name in ("arrival_rate_rps", "servers"))


def _series(fleet: Fleet, name: str) -> str:
    return f'capacity:{name}{{model="{fleet.name}"}}'


def _batch_alert(fleet: Fleet, scaling: Scaling) -> str:
    size, batch = fleet.performance.batch_size_mean, _series(fleet, "batch_size_mean")
    if size is None:
        return "      # No alert on the mean batch: the evaluation does not have it.\n"
    low, high = max(1.0, size / BATCH_RATIO), size * BATCH_RATIO
    each_rps = scaling.planned_rps / scaling.servers
    return f"""\
      - alert: BatchSizeOffPlan
        expr: |-
          ({batch} < {low:.4g} or {batch} > {high:.4g})
          and {_each_rps(fleet)} > {each_rps * (1.0 - _NEAR):.6g}
          and {_each_rps(fleet)} < {each_rps * (1.0 + _NEAR):.6g}
        for: 15m
        labels: {{severity: ticket}}
        annotations:
          summary: The mean batch is {{{{ $value | humanize }}}}; at this rate the plan has {size:.3g}.
          action: Compare the server's batching with the plan's; measure the profile again.
"""


def _queue_alert(fleet: Fleet, scaling: Scaling) -> str:
    length = queue_length_max(fleet, scaling)
    return f"""\
      - alert: QueueAboveLimit
        expr: min_over_time({_series(fleet, "queue_length_max")}[1m]) >= {length}
        for: 1m
        labels: {{severity: page}}
        annotations:
          summary: "{{{{ $value | humanize }}}} requests wait at one server; the limit is {length}."
          action: Requests come faster than they are served; add servers.
"""
