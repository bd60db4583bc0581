"""vLLM: the `vllm serve` command of a plan for a language model, one for each replica."""

from collections.abc import Iterator

from capacity.answer.saved_plan import SavedPlan
from capacity.profile.llm import Scheduler
from capacity.render.deploy.engines import command, model_of, require_scheduler
from capacity.render.deploy.features import Coverage, Feature
from capacity.render.deploy.recovery import read_recovery

NAME = "vllm"
FILE = "vllm-serve.sh"
PLANS = SavedPlan
SCHEDULER = Scheduler.VLLM_V1
COVERS = Coverage(sets={Feature.ENGINE, Feature.QUEUE_LIMIT}, says={Feature.REPLICAS, Feature.ROUTING})


def render(saved: SavedPlan) -> str:
    """The `vllm serve` command with the settings that were evaluated, one for each replica.

    Raises:
        InputError: the plan is for an engine with other rules.
    """
    require_scheduler(saved, NAME, SCHEDULER)
    kv_tokens = saved.profile.kv.tokens
    notes = (
        "Replace the model by the name you serve it under.",
        f"The engine's log must tell of a KV cache of at least {kv_tokens} tokens, which the plan was evaluated with.",
    )
    return command(saved, NAME, f"vllm serve {model_of(saved)}", (*notes, *_recovery(saved)), _flags(saved))


def _recovery(saved: SavedPlan) -> Iterator[str]:
    """The setting with which the engines recover, and how vLLM counts a queue limit."""
    recovery, limit = read_recovery(saved), _queue_limit(saved)
    setting = None if recovery is None else recovery.setting
    is_limit = setting == f"--queue-limit {limit}"
    if setting is not None and not is_limit:
        yield f"The fleet recovers only with {setting}, of clients or a gateway: see --target envoy."
    if limit is not None:
        what, runs = "The fleet recovers only with" if is_limit else "The plan has", saved.plan.sequences_max
        yield (
            f"{what} --queue-limit {limit}, at each engine; --max-num-queued-reqs, of vLLM 0.29 and later, counts the "
            f"{runs} that run as well. A gateway can hold the limit: --target envoy."
        )


def _queue_limit(saved: SavedPlan) -> int | None:
    """The queue limit of the plan, or with which it recovers; None if there is none."""
    recovery = read_recovery(saved)
    limit: int | None = (saved.plan if recovery is None else recovery.plan).queue_limit
    return limit


def _flags(saved: SavedPlan) -> Iterator[str]:
    plan, profile = saved.plan, saved.profile
    engine = profile.engine
    yield f"--max-num-seqs {plan.sequences_max}"
    yield f"--max-num-batched-tokens {plan.batched_tokens_max}"
    yield f"--max-model-len {saved.question.space.lengths.context_max}"
    yield f"--block-size {profile.kv.block_tokens}"
    if (limit := _queue_limit(saved)) is not None:
        yield f"--max-num-queued-reqs {plan.sequences_max + limit}"
    if profile.tensor_parallel > 1:
        yield f"--tensor-parallel-size {profile.tensor_parallel}"
    yield "--enable-prefix-caching" if engine.prefix_caching else "--no-enable-prefix-caching"
    yield "--enable-chunked-prefill" if engine.chunked_prefill else "--no-enable-chunked-prefill"
    if (
        engine.async_scheduling
    ):  # a profile that does not say so may come from an engine that does it all the same
        yield "--async-scheduling"
