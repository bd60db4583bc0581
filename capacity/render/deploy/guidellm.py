"""guidellm: an open-loop load test at the plan's rate, with lengths like those of the plan."""

from capacity.answer.saved_plan import SavedPlan
from capacity.render.deploy.engines import model_of
from capacity.render.deploy.features import Coverage
from capacity.render.deploy.header import header_of
from capacity.render.deploy.streams import Tokens, streams_of

NAME = "guidellm"
FILE = "guidellm.sh"
PLANS = SavedPlan
COVERS = Coverage()
_PROFILES = ("poisson", "constant")


def render(saved: SavedPlan) -> str:
    """The command `guidellm benchmark run`.

    Raises:
        InputError: requests are turns of sessions, or of users without a rate.
    """
    load = streams_of(saved, NAME)
    pattern = load.pattern
    profile = pattern[0] if pattern is not None and pattern[0] in _PROFILES else _PROFILES[0]
    lines = [
        "guidellm benchmark run",
        '  --target "${URL:-http://localhost:8000}"',
        f"  --model {model_of(saved)}",
        f"  --profile {profile}",
        f"  --rate {load.engines.rate_rps:.10g}",
        f"  --max-seconds {load.duration_s}",
        f"  --data {_data('prompt', load.input)},{_data('output', load.output)}",
        "  --output-path guidellm.json",
    ]
    notes = (*load.engines.notes(), *load.notes(NAME, _PROFILES))
    return header_of(saved, NAME, notes) + " \\\n".join(lines) + "\n"


def _data(name: str, tokens: Tokens) -> str:
    spread = f",{name}_tokens_stdev={tokens.deviation}" if tokens.deviation else ""
    return f"{name}_tokens={tokens.mean}{spread},{name}_tokens_min={tokens.least},{name}_tokens_max={tokens.most}"
