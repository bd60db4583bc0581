"""aiperf: an open-loop load test at the plan's rate, with the plan's limits as its goodput."""

from collections.abc import Iterator

from capacity.answer.saved_plan import SavedPlan
from capacity.question.objective import Measure
from capacity.render.deploy.engines import model_of
from capacity.render.deploy.features import Coverage
from capacity.render.deploy.header import header_of
from capacity.render.deploy.streams import streams_of

NAME = "aiperf"
FILE = "aiperf.sh"
PLANS = SavedPlan
COVERS = Coverage()
_PATTERNS = ("poisson", "constant", "gamma")
# aiperf's names of what limits are on; its inter-token latency is the mean of a request, which is TPOT here.
_TAGS = {
    Measure.TTFT: "time_to_first_token",
    Measure.TPOT: "inter_token_latency",
    Measure.ITL: "inter_token_latency",
    Measure.RESPONSE: "request_latency",
}


def render(saved: SavedPlan) -> str:
    """The command `aiperf profile`.

    Raises:
        InputError: requests are turns of sessions, or of users without a rate.
    """
    load = streams_of(saved, NAME)
    kind, shape = load.pattern or ("poisson", None)
    lines = [
        "aiperf profile",
        '  --url "${URL:-http://localhost:8000}"',
        f"  --model {model_of(saved)}",
        "  --endpoint-type completions",
        "  --streaming",
        f"  --request-rate {load.engines.rate_rps:.10g}",
        f"  --arrival-pattern {kind}",
        *([] if shape is None else [f"  --arrival-smoothness {shape:.6g}"]),
        f"  --benchmark-duration {load.duration_s}",
        f"  --synthetic-input-tokens-mean {load.input.mean}",
        f"  --synthetic-input-tokens-stddev {load.input.deviation}",
        f"  --output-tokens-mean {load.output.mean}",
        f"  --output-tokens-stddev {load.output.deviation}",
        "  --extra-inputs ignore_eos:true",
        *_goodput(saved),
    ]
    notes = (*load.engines.notes(), *load.notes(NAME, _PATTERNS))
    return header_of(saved, NAME, notes) + " \\\n".join(lines) + "\n"


def _goodput(saved: SavedPlan) -> Iterator[str]:
    """The limits that a good request keeps, in milliseconds."""
    limits: dict[str, float] = {}
    for measure, allowed_s in saved.question.objective.together.items():
        tag = _TAGS[measure]
        limits[tag] = min(allowed_s, limits.get(tag, allowed_s))
    if limits:
        listed = " ".join(f"{tag}:{1e3 * allowed_s:.6g}" for tag, allowed_s in limits.items())
        yield f'  --goodput "{listed}"'
