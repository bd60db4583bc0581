"""Real engine: compares llama.cpp's server with our rules: every step of its log, and our engine driven by its times.

    python benchmarks/real_engine.py [--requests 750] [--gap-ms 600] [--width 256] [--layers 4] [--seed 0]

It needs the packages xllamacpp and gguf. Wall-clock times of a shared machine say nothing; compared are the slot of
each request, the content and number of steps, and when requests get their tokens given the ends of steps. Exit 1 if
any differs.
"""

import argparse
import platform
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

import numpy as np
from llama_server import Loop, Recording, Stream, record

from capacity.profile.llm import Scheduler
from capacity.profile.steps import linear_table
from capacity.question.plan import Routing
from simulations.draws.records import Floats
from simulations.draws.tokens import EngineRules, TokenDraws
from simulations.reference.engine import EngineReplica, run_engines
from simulations.reference.scheduler import Part

NEVER = -1


def violations(recording: Recording) -> Iterator[str]:
    """Violations of the written rules in the log; nothing here knows our scheduler."""
    check = RuleCheck(recording)
    for number, loop in enumerate(recording.loops):
        for found in (*check.admission(loop), *check.composition(loop), *check.outcome(loop)):
            yield f"step {number}: {found}"


class RuleCheck:
    """Follows the slots through a log.

    Attributes:
        tasks: task in each slot.
        used: when each slot was last released, counted in releases.
        computed, tokens: of each task.
        deferred, popped: tasks that wait for a slot, and tasks called by the last step's releases.
    """

    def __init__(self, recording: Recording) -> None:
        self.recording, self.stream = recording, recording.stream
        self.tasks: dict[int, int] = {}
        self.used = dict.fromkeys(range(self.stream.slots), NEVER)
        self.computed: dict[int, int] = {}
        self.tokens: dict[int, int] = {}
        self.deferred: list[int] = []
        self.popped: list[int] = []
        self.releases = 0
        self.posted = list(recording.posted_s)

    def admission(self, loop: Loop) -> Iterator[str]:
        """Violations of admission: called tasks, the last one first, then new ones; the longest idle slot, the
        highest unused."""
        new = self.posted[: len(loop.taken) - len(self.popped)]
        del self.posted[: len(new)]
        if loop.taken != [*reversed(self.popped), *new]:
            yield f"tasks {loop.taken} were taken, not {self.popped} backwards and {new}"
        for task in loop.taken:
            idle = [slot for slot in self.used if slot not in self.tasks]
            slot = min(idle, key=lambda one: (self.used[one], -one), default=None)
            if loop.launched.get(task) != slot or (task in loop.deferred) != (slot is None):
                yield f"task {task} got slot {loop.launched.get(task)}, not {slot}"
            if slot is None:
                self.deferred.append(task)
            else:
                self.tasks[slot] = task
                self.computed[task] = self.tokens[task] = 0

    def composition(self, loop: Loop) -> Iterator[str]:
        """Violations of composition: a token of each generating task, then prompts by slots, up to the batch size."""
        order = sorted(self.tasks.items())
        decoding = [(task, slot, self.computed[task]) for slot, task in order if self.tokens[task]]
        budget, prompts = self.stream.batch_tokens - len(decoding), []
        for slot, task in order:
            count = min(self.recording.input[task] - self.computed[task], budget)
            if not self.tokens[task] and count:
                prompts.append((task, slot, self.computed[task]))
                self.computed[task] += count
                budget -= count
        for task, _, _ in decoding:
            self.computed[task] += 1
        if (loop.decoding, loop.prompts) != (decoding, prompts):
            yield f"{loop.decoding} and {loop.prompts} were computed, not {decoding} and {prompts}"

    def outcome(self, loop: Loop) -> Iterator[str]:
        """Violations of the outcome: a token for each task past its prompt; a finished task releases its slot."""
        due = {task for task, _, _ in loop.decoding}
        due |= {task for task, _, _ in loop.prompts if self.computed[task] == self.recording.input[task]}
        if set(loop.token_s) != due:
            yield f"tasks {sorted(loop.token_s)} got tokens, not {sorted(due)}"
        released = []
        for slot, task in sorted(self.tasks.items()):
            self.tokens[task] += task in due
            if self.tokens[task] == self.recording.output[task]:
                released.append(slot)
                del self.tasks[slot]
                self.used[slot] = self.releases = self.releases + 1
        count = min(len(released), len(self.deferred))
        self.popped, self.deferred = self.deferred[:count], self.deferred[count:]
        if (loop.released, loop.popped) != (released, self.popped):
            yield f"{loop.released} were released and {loop.popped} called, not {released} and {self.popped}"


@dataclass(frozen=True, kw_only=True)
class Replay:
    """Our engine, driven by a log: with its arrivals, and with the ends of its steps.

    Attributes:
        slots: slot of each request, by its task.
        steps: each with task, slot and earlier tokens of every part, decoding parts first.
        ends_s: when the steps ended in the log. [s]
        first_s, finished_s: times of each request, by its task. [s]
    """

    slots: dict[int, int]
    steps: list[list[tuple[int, int, int]]]
    ends_s: list[float]
    first_s: dict[int, float]
    finished_s: dict[int, float]


def replay(recording: Recording) -> Replay:
    """Drive our engine by a log."""
    tasks, stream = list(recording.posted_s), recording.stream
    rules = EngineRules(
        sequences_max=stream.slots,
        tokens_max=stream.batch_tokens,
        blocks=stream.slots * stream.slot_tokens,
        block_tokens=1,
        scheduler=Scheduler.LLAMA_CPP,
    )
    draws = TokenDraws(
        arrived_s=seen_s(recording),
        input_tokens=np.array([recording.input[task] for task in tasks]),
        output_tokens=np.array([recording.output[task] for task in tasks]),
        cached_tokens=np.zeros(len(tasks), dtype=np.int64),
        routing=np.zeros(2 * len(tasks)),
    )
    ends_s = step_ends_s(recording)
    steps: list[list[tuple[int, int, int]]] = []
    slots: dict[int, int] = {}

    def recorded_s(engine: EngineReplica, parts: list[Part]) -> float:
        steps.append([(tasks[one.request.number], one.request.slot, one.before) for one in parts])
        slots.update({task: slot for task, slot, _ in steps[-1]})
        assert len(steps) <= len(ends_s), "our engine computes more steps than the log has"
        return ends_s[len(steps) - 1]

    anything = linear_table(1.0, 0.0, 0.0, 0.0, (stream.slots, stream.batch_tokens, stream.slot_tokens))
    with patch.object(EngineReplica, "_ends_s", recorded_s):
        records = run_engines(anything, rules, 1, Routing.ROUND_ROBIN, draws)
    return Replay(
        slots=slots,
        steps=steps,
        ends_s=ends_s,
        first_s=dict(zip(tasks, records.first_s.tolist(), strict=True)),
        finished_s=dict(zip(tasks, records.finished_s.tolist(), strict=True)),
    )


def step_ends_s(recording: Recording) -> list[float]:
    """Start of the loop's next turn, for each step; after the last there may be none but its tokens. [s]"""
    loops = recording.loops
    following_s = [*(loop.composed_s for loop in loops[1:]), max(loops[-1].token_s.values(), default=0.0)]
    return [end_s for loop, end_s in zip(loops, following_s, strict=True) if loop.has_step]


def seen_s(recording: Recording) -> Floats:
    """Times at which the engine saw each task come. [s]

    That is when it was posted, but before the end of the step after which it was first looked at. A task at an idle
    server arrives when its turn composes, with all tasks taken in that turn.
    """
    seen: dict[int, float] = {}
    before = Loop()
    for loop in recording.loops:
        for task in loop.taken:
            if task in seen:
                continue
            early_s = max(before.composed_s + 5e-7, min(recording.posted_s[task], loop.composed_s - 5e-7))
            seen[task] = early_s if before.has_step else loop.composed_s
        before = loop
    return np.array([seen[task] for task in recording.posted_s])


def differences(recording: Recording, ours: Replay) -> dict[str, int]:
    """Number of differences between the replay and the log, by kind; all are 0 if the rules are the same."""
    steps = [loop for loop in recording.loops if loop.has_step]
    theirs = [[*loop.decoding, *loop.prompts] for loop in steps]
    slots = {task: slot for loop in steps for task, slot in loop.launched.items()}
    got = [(task, end_s) for loop, end_s in zip(steps, ours.ends_s, strict=True) for task in loop.token_s]
    first, last = dict(reversed(got)), dict(got)
    return {
        "steps": abs(len(theirs) - len(ours.steps)),
        "contents of steps": sum(one != other for one, other in zip(theirs, ours.steps, strict=False)),
        "slots": sum(ours.slots[task] != slot for task, slot in slots.items()),
        "first tokens": sum(ours.first_s[task] != end_s for task, end_s in first.items()),
        "last tokens": sum(ours.finished_s[task] != end_s for task, end_s in last.items()),
    }


def errors(recording: Recording, ours: Replay) -> dict[str, float]:
    """Relative errors of the mean and of P99, with requests timed by the server's own stamps."""
    tasks = list(recording.posted_s)
    firsts: dict[int, float] = {}
    lasts: dict[int, float] = {}
    for loop in recording.loops:
        for task, now_s in loop.token_s.items():
            firsts.setdefault(task, now_s)
            lasts[task] = now_s
    arrived_s = dict(zip(tasks, seen_s(recording).tolist(), strict=True))

    def off(theirs: Mapping[int, float], found: Mapping[int, float]) -> tuple[float, float]:
        one = np.array([theirs[task] - recording.posted_s[task] for task in tasks])
        other = np.array([found[task] - arrived_s[task] for task in tasks])
        return float(other.mean() / one.mean() - 1.0), float(
            np.quantile(other, 0.99) / np.quantile(one, 0.99) - 1.0
        )

    ttft, e2e = off(firsts, ours.first_s), off(lasts, ours.finished_s)
    return {"TTFT mean": ttft[0], "TTFT P99": ttft[1], "E2E mean": e2e[0], "E2E P99": e2e[1]}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--requests", type=int, default=750)
    parser.add_argument("--gap-ms", type=float, default=600.0)
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    stream = Stream(
        requests=options.requests,
        gap_s=options.gap_ms / 1e3,
        prompt_max=300,
        outputs=(1, 8, 32, 64, 128),
        slots=8,
        slot_tokens=1024,
        batch_tokens=256,
        width=options.width,
        layers=options.layers,
        seed=options.seed,
    )
    with tempfile.TemporaryDirectory() as folder:
        recording = record(stream, Path(folder))
    broken = list(violations(recording))
    print(f"steps against the rules: {len(broken)}", *broken[:5], sep="\n")
    ours = replay(recording)
    found = differences(recording, ours)
    deferred = sum(len(loop.deferred) for loop in recording.loops)
    span_s = ours.ends_s[-1] - recording.loops[0].composed_s
    begins_s = [loop.composed_s for loop in recording.loops if loop.has_step]
    busy_s = sum(ours.ends_s) - sum(begins_s)
    print(f"{len(recording.posted_s)} requests, {len(ours.ends_s)} steps, {deferred} deferrals, ", end="")
    print(f"busy {100.0 * busy_s / span_s:.0f} % of {span_s:.0f} s")
    print("replay from recorded ends of steps, different:", found)
    print(
        "and its errors:",
        {name: f"{100.0 * value:+.2f} %" for name, value in errors(recording, ours).items()},
    )
    print(f"python benchmarks/real_engine.py, {platform.machine()}, {time.strftime('%Y-%m-%d')}")
    sys.exit(1 if broken or any(found.values()) else 0)


if __name__ == "__main__":
    main()
