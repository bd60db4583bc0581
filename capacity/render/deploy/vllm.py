"""vLLM: the `vllm serve` command of a plan for a language model, one for each replica."""

from capacity.answer.saved_plan import SavedPlan
from capacity.profile.llm import Scheduler
from capacity.render.deploy.engines import model_of, require_scheduler, server_command
from capacity.render.deploy.features import Coverage, Feature

NAME = "vllm"
FILE = "vllm-serve.sh"
PLANS = SavedPlan
SCHEDULERS = (Scheduler.VLLM_V1,)
COVERS = Coverage(sets={Feature.ENGINE, Feature.QUEUE_LIMIT}, says={Feature.REPLICAS, Feature.ROUTING})


def render(saved: SavedPlan) -> str:
    """The `vllm serve` command with the settings that were evaluated, one for each replica.

    Raises:
        InputError: the plan is for an engine with other rules.
    """
    require_scheduler(saved, NAME, SCHEDULERS)
    return server_command(saved, NAME, f"vllm serve {model_of(saved)}")
