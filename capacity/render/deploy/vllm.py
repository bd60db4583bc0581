"""vLLM: the `vllm serve` command of a plan for a language model, one for each replica."""

from collections.abc import Iterator

from capacity.answer.saved_plan import SavedPlan
from capacity.errors import InputError, quoted
from capacity.profile.llm import Scheduler
from capacity.question.objective import Objective
from capacity.question.plan import rejects
from capacity.render.deploy.features import Coverage, Feature, unset_notes
from capacity.render.deploy.header import comments
from capacity.render.deploy.recovery import read_recovery
from capacity.units import format_rate

NAME = "vllm"
FILE = "vllm-serve.sh"
PLANS = SavedPlan
COVERS = Coverage(sets={Feature.ENGINE, Feature.QUEUE_LIMIT}, says={Feature.REPLICAS, Feature.ROUTING})


def render(saved: SavedPlan) -> str:
    """The `vllm serve` command with the settings that were evaluated, one for each replica.

    Raises:
        InputError: the plan is for an engine with other rules.
    """
    plan, profile = saved.plan, saved.profile
    if profile.engine.scheduler is not Scheduler.VLLM_V1:
        raise InputError(
            f"the plan was evaluated with the rules of {profile.engine.scheduler.value}, and --target vllm is for "
            f"those of {Scheduler.VLLM_V1.value}; for llama.cpp run llama-server with --parallel "
            f"{plan.sequences_max} --batch-size {plan.batched_tokens_max} --ctx-size {profile.kv.tokens}"
        )
    model = profile.model or "MODEL"
    if model.startswith("-"):
        raise InputError(
            f"the profile's model {quoted(model)} begins with a hyphen, and vllm serve would take it for an option; "
            'give the profile the name that the model is served under ("model"), and plan again'
        )
    flags = list(_vllm_flags(saved))
    lines = [
        f"# {plan.replicas} replica{'s' if plan.replicas > 1 else ''} of this command behind {plan.routing.value},",
        f"# evaluated at {format_rate(saved.question.workload.arrival_rate_rps)}:",
        f"# {_limits(saved.question.objective)}.",
        f"# Steps were measured on {profile.device or 'a device that the profile does not name'}"
        f"{f' with {profile.engine.name} {profile.engine.version}' if profile.engine.version else ''};",
        "# another version or device needs a profile of its own. Replace the model by the name you serve it under.",
        f"# The engine's log must tell of a KV cache of at least {profile.kv.tokens} tokens, which the plan was "
        "evaluated with.",
        *_recovery(saved),
        *comments(unset_notes(saved, NAME)),
        f"vllm serve {_quoted(model)} \\",
    ]
    return "\n".join([*lines, *(f"  {flag} \\" for flag in flags[:-1]), f"  {flags[-1]}"]) + "\n"


def _recovery(saved: SavedPlan) -> Iterator[str]:
    """The setting with which the engines recover."""
    recovery = read_recovery(saved)
    if recovery is None or recovery.setting is None:
        return
    told = f"# The fleet recovers only with {recovery.setting}"
    if not rejects(recovery.plan):
        yield f"{told}, of clients or a gateway: see --target envoy."
        return
    runs = saved.plan.sequences_max
    yield f"{told}, at each engine; --max-num-queued-reqs, of vLLM 0.29"
    yield f"# and later, counts the {runs} that run as well. A gateway can hold the limit: --target envoy."


def _vllm_flags(saved: SavedPlan) -> Iterator[str]:
    plan, profile = saved.plan, saved.profile
    engine = profile.engine
    yield f"--max-num-seqs {plan.sequences_max}"
    yield f"--max-num-batched-tokens {plan.batched_tokens_max}"
    yield f"--max-model-len {saved.question.space.lengths.context_max}"
    yield f"--block-size {profile.kv.block_tokens}"
    recovery = read_recovery(saved)
    if recovery is not None and recovery.plan.queue_limit is not None:
        yield f"--max-num-queued-reqs {plan.sequences_max + recovery.plan.queue_limit}"
    if profile.tensor_parallel > 1:
        yield f"--tensor-parallel-size {profile.tensor_parallel}"
    yield "--enable-prefix-caching" if engine.prefix_caching else "--no-enable-prefix-caching"
    yield "--enable-chunked-prefill" if engine.chunked_prefill else "--no-enable-chunked-prefill"
    if (
        engine.async_scheduling
    ):  # a profile that does not say so may come from an engine that does it all the same
        yield "--async-scheduling"


def _limits(objective: Objective) -> str:
    return ", ".join(str(one) for one in objective.limits)


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"
