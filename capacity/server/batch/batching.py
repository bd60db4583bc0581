"""Batching: the rule by which a free replica starts a batch."""

from collections.abc import Iterable
from enum import StrEnum

from capacity.errors import DomainError
from capacity.question.plan import Routing


class BatchTimer(StrEnum):
    """What starts the batch wait, in the laws that know no more of a batching rule.

    OLDEST: the arrival of the oldest waiting request.
    OPEN: an idle replica sees a waiting request.
    """

    OLDEST = "oldest"
    OPEN = "open"


class Batching(StrEnum):
    """Rule by which a free replica starts a batch; at most `batch_size_max` requests, the oldest first.

    TRITON: when the batch is full, or its oldest request has waited `batch_wait_max_s` since it arrived. Any of
        `preferred_sizes` is full as well: the largest that can be had starts at once, and the rest stays, until
        the wait of the oldest is over; then all that wait start. TensorFlow Serving and the reference server have
        the same rule without preferred sizes.
    TORCHSERVE: the same, but the wait begins when an idle worker takes the first request, however long
        that has waited for a busy one.
    RAY_SERVE: batches are collected ahead, while the replica is busy too. A batch opens with its first request
        and closes when it is full or `batch_wait_max_s` later; closed batches are served in turn, and
        no request joins them, so that a busy replica does not make them larger.

    Source:
        Triton core, src/dynamic_batch_scheduler.cc, `DynamicBatchScheduler::GetDynamicBatch`, and
        server, docs/user_guide/batcher.md; it prepares batches ahead, and with a delay of 0 closes the
        next one at the first preferred size it comes to while all instances are busy, which is left out here.
        TorchServe, frontend/server/.../wlm/Model.java, `Model.pollInferJob` (`pollBatch` before 0.12): `begin` is
        set after the blocking `poll` for the first job. With a `maxBatchDelay` of 0 it takes two jobs at most.
        Ray 2.60.0, python/ray/serve/batching.py, `_BatchQueue._process_batches` and `wait_for_batch`: each
        batch becomes a task that waits for a semaphore of `max_concurrent_batches`, and the next is
        collected meanwhile. So it is as long as the batched function awaits its model.
    """

    TRITON = "triton"
    TORCHSERVE = "torchserve"
    RAY_SERVE = "ray-serve"

    @property
    def timer(self) -> BatchTimer | None:
        """What starts the batch wait in the laws of this rule; None where there are none."""
        return {Batching.TRITON: BatchTimer.OLDEST, Batching.TORCHSERVE: BatchTimer.OPEN}.get(self)


def batching_of(timer: BatchTimer) -> Batching:
    """The rule with this timer."""
    return Batching.TORCHSERVE if timer is BatchTimer.OPEN else Batching.TRITON


def require_batching(
    batching: Batching, preferred_sizes: tuple[int, ...], routings: Iterable[Routing]
) -> None:
    """Refuse preferred sizes without a meaning, and a batcher that no server has.

    Raises:
        DomainError: what contradicts, and the mend.
    """
    if preferred_sizes and batching is not Batching.TRITON:
        raise DomainError(
            f"{batching} batching has no preferred sizes; leave them out, or take triton batching"
        )
    if list(preferred_sizes) != sorted(set(preferred_sizes)) or min(preferred_sizes, default=1) < 1:
        raise DomainError(f"preferred sizes must rise from 1 or more, got {listed(preferred_sizes)}")
    if batching is Batching.RAY_SERVE and Routing.SHARED_QUEUE in routings:
        raise DomainError(
            "ray-serve batching has a batcher at each replica and no shared queue; take power-of-two routing, "
            "which is Ray Serve's"
        )


def listed(sizes: Iterable[int]) -> str:
    """Batch sizes, separated by commas."""
    return ", ".join(map(str, sizes))
