"""llama-server: the command of llama.cpp's server of a plan for a language model, one for each replica."""

from collections.abc import Iterator

from capacity.answer.saved_plan import SavedPlan
from capacity.profile.llm import Scheduler
from capacity.render.deploy.engines import command, model_of, require_scheduler
from capacity.render.deploy.features import Coverage, Feature

NAME = "llama-server"
FILE = "llama-server.sh"
PLANS = SavedPlan
SCHEDULERS = (Scheduler.LLAMA_CPP,)
COVERS = Coverage(sets={Feature.ENGINE}, says={Feature.REPLICAS, Feature.ROUTING})


def render(saved: SavedPlan) -> str:
    """The `llama-server` command with the settings that were evaluated, one for each replica.

    Raises:
        InputError: the plan is for an engine with other rules.
    """
    require_scheduler(saved, NAME, SCHEDULERS)
    slot = saved.profile.kv.slot_tokens(saved.plan.sequences_max)
    notes = (
        "Replace model.gguf by the file of the model.",
        f"Each slot has {slot} tokens of the context, which longer requests do not fit.",
    )
    return command(saved, NAME, "llama-server --model model.gguf", notes, _flags(saved))


def _flags(saved: SavedPlan) -> Iterator[str]:
    plan = saved.plan
    yield f"--alias {model_of(saved)}"
    yield f"--parallel {plan.sequences_max}"
    yield f"--batch-size {plan.batched_tokens_max}"
    yield f"--ctx-size {saved.profile.kv.tokens}"
