"""SGLang: the `sglang.launch_server` command of a plan for a language model, one for each replica."""

from capacity.answer.saved_plan import SavedPlan
from capacity.profile.llm import Scheduler
from capacity.render.deploy.engine_servers import PORT
from capacity.render.deploy.engines import model_of, require_scheduler, server_command
from capacity.render.deploy.features import Coverage, Feature

NAME = "sglang"
FILE = "sglang-launch.sh"
PLANS = SavedPlan
SCHEDULERS = (Scheduler.SGLANG,)
COVERS = Coverage(sets={Feature.ENGINE, Feature.QUEUE_LIMIT}, says={Feature.REPLICAS, Feature.ROUTING})


def render(saved: SavedPlan) -> str:
    """The command with the settings that were evaluated, one for each replica.

    By itself SGLang answers its own machine alone, at a port that no other target asks.

    Raises:
        InputError: the plan is for an engine with other rules.
    """
    require_scheduler(saved, NAME, SCHEDULERS)
    start = f"python3 -m sglang.launch_server --model-path {model_of(saved)} --host 0.0.0.0 --port {PORT}"
    return server_command(saved, NAME, start)
