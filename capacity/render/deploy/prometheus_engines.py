"""Prometheus, for engines: alerts on their server's metrics for a fleet that is no longer as planned."""

from collections.abc import Iterator

from capacity.answer.saved_plan import SavedPlan
from capacity.question.objective import Limit, Measure
from capacity.render.deploy.engine_servers import SERVERS
from capacity.render.deploy.engines import Engines, read_engines, require_scheduler
from capacity.render.deploy.features import Coverage
from capacity.render.deploy.header import header_of
from capacity.render.deploy.scaling import Scaling, rounded_down, scaling_of
from capacity.units import format_rate

NAME = "prometheus"
FILE = "prometheus-rules.yml"
PLANS = SavedPlan
SCHEDULERS = tuple(SERVERS)
COVERS = Coverage()
# The histogram of each duration that a limit may be on, which vLLM and SGLang call the same.
_HISTOGRAMS = {
    Measure.TTFT: "time_to_first_token_seconds",
    Measure.TPOT: "request_time_per_output_token_seconds",
    Measure.ITL: "inter_token_latency_seconds",
    Measure.RESPONSE: "e2e_request_latency_seconds",
}
# Allowed ratio of mean lengths to the plan's, and the use of a KV cache above which requests are soon preempted.
_LENGTHS_RATIO, _KV_USE_MAX = 1.25, 0.9


def render(saved: SavedPlan) -> str:
    """Recording rules for rates, and an alert for each limit of the plan and for what it depends on.

    Raises:
        InputError: the plan is for an engine with other rules.
    """
    require_scheduler(saved, NAME, SCHEDULERS)
    engines = read_engines(saved)
    scaling = scaling_of(engines)
    limits = "".join(f"\n{_limit_alert(engines, one)}" for one in _watched(engines))
    return f"""\
{header_of(saved, NAME, _notes(engines))}\
groups:
  - name: {engines.name}
    rules:
      - record: capacity:answer_rate_rps
        labels: {{model: {engines.name}}}
        expr: {engines.answers_query}
      - record: capacity:engines
        labels: {{model: {engines.name}}}
        expr: count({engines.series(engines.server.running)})
{limits}
{_load_alert(engines, scaling)}
{_queue_alert(engines)}{_lengths_alert(engines, "prompt", "input")}
{_lengths_alert(engines, "generation", "output")}
{_cache_alert(engines)}"""


def _watched(engines: Engines) -> list[Limit]:
    """The limits that a histogram of the server tells of."""
    return [
        one for one in engines.saved.question.objective.limits if one.measure.is_duration and _histogram(one)
    ]


def _histogram(limit: Limit) -> str | None:
    return _HISTOGRAMS.get(limit.measure.durations)


def _notes(engines: Engines) -> Iterator[str]:
    yield "Check with: promtool check rules FILE"
    yield from engines.notes()
    if _watched(engines):
        yield (
            f"Quantiles are interpolated between the bounds of {engines.server.name}'s histograms, which are far "
            "apart; TTFT and the response begin when a request reaches the engine, and the plan's when it is sent."
        )
    others = [str(one) for one in engines.saved.question.objective.limits if one not in _watched(engines)]
    if others:
        yield f"No metric of {engines.server.name} tells of {' and '.join(others)}."


def _limit_alert(engines: Engines, limit: Limit) -> str:
    name = _alert_name(limit)
    return f"""\
      - alert: {name}
        expr: |-
          {_found(engines, limit)}
          > {limit.allowed:.6g}
        for: 5m
        labels: {{severity: page}}
        annotations:
          summary: "{{{{ $value | humanizeDuration }}}}; the plan keeps {limit}."
          action: Compare rate and lengths with the plan's; add engines, or plan again.
"""


def _alert_name(limit: Limit) -> str:
    """Name of the alert on a limit: `TtftP99AboveLimit`."""
    return "".join(word.capitalize() for word in limit.name.split("_")) + "AboveLimit"


def _found(engines: Engines, limit: Limit) -> str:
    """The limited duration as it is now, in PromQL. [s]"""
    total, count, bucket = (
        engines.series(f"{_histogram(limit)}_{one}") for one in ("sum", "count", "bucket")
    )
    if limit.quantile is None:
        return f"sum(rate({total}[5m])) / sum(rate({count}[5m]))"
    return f"histogram_quantile({limit.quantile:g}, sum by (le) (rate({bucket}[5m])))"


def _series(engines: Engines, name: str) -> str:
    return f'capacity:{name}{{model="{engines.name}"}}'


def _load_alert(engines: Engines, scaling: Scaling) -> str:
    each_rps = scaling.headroom_rps / scaling.servers
    return f"""\
      - alert: LoadAboveHeadroom
        expr: {_series(engines, "answer_rate_rps")} / {_series(engines, "engines")} > {rounded_down(each_rps)}
        for: 2m
        labels: {{severity: page}}
        annotations:
          summary: >-
            {{{{ $value | humanize }}}} requests per second on each engine; the plan meets its objective up to
            {format_rate(each_rps)}.
          action: Add engines, or plan again with the new rate.
"""


def _queue_alert(engines: Engines) -> str:
    late = engines.waiting_late
    if late is None:
        return ""
    return f"""\
      - alert: WaitingTooLong
        expr: min_over_time((max({engines.series(engines.server.waiting)}))[2m:30s]) >= {late}
        for: 1m
        labels: {{severity: page}}
        annotations:
          summary: "{{{{ $value | humanize }}}} requests wait at one engine; behind {late} a first token is late."
          action: Requests come faster than they are served; add engines.

"""


def _lengths_alert(engines: Engines, counter: str, which: str) -> str:
    moments = engines.saved.question.space.lengths.moments
    mean = float(getattr(moments, which))
    tokens, answers = (engines.series(one) for one in (f"{counter}_tokens_total", engines.server.answers))
    ratio = f"sum(rate({tokens}[15m])) / sum(rate({answers}[15m]))"
    return f"""\
      - alert: {which.capitalize()}TokensOffPlan
        expr: |-
          {ratio} < {mean / _LENGTHS_RATIO:.6g}
          or {ratio} > {mean * _LENGTHS_RATIO:.6g}
        for: 15m
        labels: {{severity: ticket}}
        annotations:
          summary: Requests have {{{{ $value | humanize }}}} {which} tokens on average; the plan has {mean:.4g}.
          action: Plan again with the lengths of today.
"""


def _cache_alert(engines: Engines) -> str:
    full = f"of a KV cache is in use; beyond, requests are {engines.server.makes_way}."
    return f"""\
      - alert: KvCacheNearlyFull
        expr: max({engines.series(engines.server.cache_use)}) > {_KV_USE_MAX:g}
        for: 5m
        labels: {{severity: ticket}}
        annotations:
          summary: "{{{{ $value | humanizePercentage }}}} {full}"
          action: Compare lengths and sequences with the plan's; add engines.
"""
