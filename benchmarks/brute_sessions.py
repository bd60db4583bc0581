"""Brute sessions: random fleets that serve conversations, by a simulator in plain Python that shares no code.

    python benchmarks/brute_sessions.py [--fleets 12] [--runs 12] [--seed 1]

Each fleet is served by both in as many independent runs. The mean hit share and the mean P99 of the time to the first
token of these runs must be alike within four standard errors of their difference. Both go by the rules of
`vllm-v1@0.19`, each step composed when the one before has ended. Exits with 1 if any is not.
"""

import argparse
import heapq
import math
import random
import statistics
import sys
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

import numpy as np

from capacity.profile.llm import Coefficients, KvCache
from capacity.question.plan import Routing
from capacity.traffic.sessions.laws import parse_laws
from simulations.draws.arrivals import Seed
from simulations.draws.tokens import TokenDraws
from simulations.engine_replication import draw_tokens, serve
from simulations.replication import Engine
from simulations.validation.token_systems import law_scenario

DEVIATION_MAX_SE = 4.0
TURNS, SKIPPED = 1_600, 400  # turns of a run, and those at each end that do not count
ROUTINGS = (
    "random",
    "round-robin",
    "least-outstanding",
    "session",
    "prefix:sglang",
    "prefix:production-stack",
)
Content = tuple[object, ...]


@dataclass(frozen=True)
class Fleet:
    """A fleet and its traffic; tokens are from geometric laws of these means."""

    routing: str
    replicas: int
    rate_rps: float
    turns: float
    think_s: float
    system: int
    groups: int
    exponent: float
    prefix: int
    first: float
    user: float
    output: float
    block: int
    kv_blocks: int
    slots: int
    budget: int
    base_s: float
    prompt_s: float
    request_s: float

    @property
    def laws(self) -> str:
        kind = (
            f"zipf:count={self.groups},exponent={self.exponent}"
            if self.exponent
            else f"equal:count={self.groups}"
        )
        return (
            f"turns=geometric:mean={self.turns}; think=exponential:mean={self.think_s}s; system={self.system}; "
            f"groups={kind}; prefix={self.prefix}; first=geometric:mean={self.first}; "
            f"user=geometric:mean={self.user}; output=geometric:mean={self.output}"
        )


def random_fleet(dice: random.Random, routing: str) -> Fleet:
    """A fleet that is somewhat busy; its cache holds some conversations and not all."""
    replicas, turns = dice.choice([1, 2, 3, 4]), dice.choice([1.5, 3.0, 6.0])
    system, prefix, first = dice.choice([0, 96, 200]), dice.choice([64, 300, 500]), dice.choice([50.0, 200.0])
    user, output = dice.choice([20.0, 80.0]), dice.choice([8.0, 30.0])
    longest = system + prefix + first + (turns - 1.0) * (user + output)
    base_s, prompt_s, request_s = 0.01, dice.choice([2e-5, 1e-4]), dice.choice([1e-4, 5e-4])
    alone_s = prompt_s * longest * 0.6 + output * (base_s / 6.0 + request_s)
    return Fleet(
        routing=routing,
        replicas=replicas,
        rate_rps=round(replicas * dice.uniform(0.3, 0.7) / alone_s, 3),
        turns=turns,
        think_s=dice.choice([0.5, 3.0]),
        system=system,
        groups=dice.choice([3, 20]),
        exponent=dice.choice([0.0, 1.0]),
        prefix=prefix,
        first=first,
        user=user,
        output=output,
        block=dice.choice([8, 16]),
        kv_blocks=dice.choice([700, 1_500, 4_000]),
        slots=dice.choice([6, 32]),
        budget=dice.choice([256, 2_048]),
        base_s=base_s,
        prompt_s=prompt_s,
        request_s=request_s,
    )


@dataclass(eq=False)
class Block:
    """A block of the cache: what it holds, who uses it, and when it got what it holds."""

    content: Content | None = None
    users: int = 0
    filled: int = 0


@dataclass(eq=False)
class Turn:
    """A request; `known` tokens are its prompt and the answer so far."""

    session: int
    number: int
    group: int
    prompt: int
    output: int
    think_s: float
    next: "Turn | None" = None
    came_s: float = math.nan
    first_s: float = math.nan
    known: int = 0
    computed: int = 0
    hit: int | None = None
    blocks: list[Block] = field(default_factory=list)


class Replica:
    """A server that composes one pass after the other: running requests first, then waiting ones, in order."""

    def __init__(self, fleet: Fleet) -> None:
        self.fleet = fleet
        self.free = deque(Block() for _ in range(fleet.kv_blocks))
        self.held: dict[Content, list[Block]] = {}
        self.waiting: deque[Turn] = deque()
        self.running: list[Turn] = []
        self.is_busy, self.out, self.clock = False, 0, 0
        self.sent: set[Content] = set()

    def content(self, turn: Turn, place: int) -> Content:
        """What a full block of a request holds."""
        end = (place + 1) * self.fleet.block
        if end <= self.fleet.system:
            return ("system", place)
        if end <= self.fleet.system + self.fleet.prefix:
            return ("group", turn.group, place)
        return ("own", turn.session, place)

    def take(self, turn: Turn, tokens: int) -> bool:
        """Give a request blocks for this many tokens, if there are enough."""
        missing = -(-tokens // self.fleet.block) - len(turn.blocks)
        if missing > len(self.free):
            return False
        for _ in range(missing):
            block = self.free.popleft()
            if block.content is not None:
                self.held[block.content].remove(block)
                block.content = None
            block.users = 1
            turn.blocks.append(block)
        return True

    def fill(self, turn: Turn, before: int, after: int) -> None:
        for place in range(before // self.fleet.block, after // self.fleet.block):
            block, self.clock = turn.blocks[place], self.clock + 1
            block.content, block.filled = self.content(turn, place), self.clock
            self.held.setdefault(block.content, []).append(block)

    def give_back(self, turn: Turn) -> None:
        for block in reversed(turn.blocks):
            block.users -= 1
            if block.users == 0:
                self.free.append(block)
        turn.blocks = []

    def admit(self, turn: Turn) -> bool:
        """Let a waiting request find what is there, and take it, if all that it knows would fit."""
        found: list[Block] = []
        while len(found) < (turn.known - 1) // self.fleet.block:
            holding = self.held.get(self.content(turn, len(found)))
            if not holding:
                break
            found.append(min(holding, key=lambda block: block.filled))
        idle = [block for block in found if block.users == 0]
        if -(-turn.known // self.fleet.block) - len(found) + len(idle) > len(self.free):
            return False
        for block in idle:
            self.free.remove(block)
        for block in found:
            block.users += 1
        turn.blocks, turn.computed = found, len(found) * self.fleet.block
        turn.hit = turn.computed if turn.hit is None else turn.hit
        return True

    def compose(self) -> list[tuple[Turn, int]]:
        """The parts of the next pass."""
        parts: list[tuple[Turn, int]] = []
        budget, place, was_full = self.fleet.budget, 0, False
        while place < len(self.running) and budget > 0:
            turn = self.running[place]
            tokens = min(turn.known - turn.computed, budget)
            while not self.take(turn, turn.computed + tokens):
                was_full, last = True, self.running.pop()
                self.give_back(last)
                last.computed = 0
                self.waiting.appendleft(last)
                if last is turn:
                    break
            else:
                self.fill(turn, turn.computed, turn.computed + tokens)
                parts.append((turn, tokens))
                budget -= tokens
                place += 1
        while not was_full and self.waiting and budget > 0 and len(self.running) < self.fleet.slots:
            turn = self.waiting[0]
            if not self.admit(turn):
                break
            tokens = min(turn.known - turn.computed, budget)
            self.take(turn, turn.computed + tokens)
            self.running.append(self.waiting.popleft())
            parts.append((turn, tokens))
            budget -= tokens
            self.fill(turn, turn.computed, turn.computed + tokens)
        return parts

    def lasts_s(self, parts: Sequence[tuple[Turn, int]]) -> float:
        decoding = sum(turn.computed >= turn.prompt and turn.known - turn.computed == 1 for turn, _ in parts)
        fleet, tokens = self.fleet, sum(tokens for _, tokens in parts)
        return fleet.base_s + fleet.prompt_s * (tokens - decoding) + fleet.request_s * decoding


class Brute:
    """One run of a fleet."""

    def __init__(self, fleet: Fleet, seed: int) -> None:
        self.fleet, self.dice = fleet, random.Random(seed)
        self.replicas = [Replica(fleet) for _ in range(fleet.replicas)]
        self.homes: dict[int, int] = {}
        self.events: list[tuple[float, int, Callable[[float], None]]] = []
        self.planned = self.arrived = 0

    def at(self, instant_s: float, what: Callable[[float], None]) -> None:
        self.planned += 1
        heapq.heappush(self.events, (instant_s, self.planned, what))

    def geometric(self, mean: float) -> int:
        chance = 1.0 - 1.0 / mean
        return 1 if chance <= 0.0 else 1 + int(math.log(1.0 - self.dice.random()) / math.log(chance))

    def session(self, number: int) -> list[Turn]:
        fleet = self.fleet
        weights = [(one + 1.0) ** -fleet.exponent for one in range(fleet.groups)]
        group = self.dice.choices(range(fleet.groups), weights)[0]
        prompt, made = fleet.system + fleet.prefix + self.geometric(fleet.first), list[Turn]()
        for turn in range(self.geometric(fleet.turns)):
            output = self.geometric(fleet.output)
            think_s = self.dice.expovariate(1.0 / fleet.think_s)
            made.append(Turn(number, turn, group, prompt, output, think_s, known=prompt))
            prompt += output + self.geometric(fleet.user)
        for one, other in pairwise(made):
            one.next = other
        return made

    def run(self) -> tuple[float, float]:
        """Hit share, and P99 of the time to the first token, of the turns in the middle."""
        fleet, instant_s, turns = self.fleet, 0.0, list[Turn]()
        for number in range(math.ceil(TURNS / fleet.turns)):
            instant_s += self.dice.expovariate(fleet.rate_rps / fleet.turns)
            turns += (made := self.session(number))
            self.at(instant_s, lambda now_s, turn=made[0]: self.come(now_s, turn))
        while self.events:
            instant_s, _, what = heapq.heappop(self.events)
            what(instant_s)
        ends = [
            sum(one.session < other.session for one in turns) for other in (turns[SKIPPED], turns[-SKIPPED])
        ]
        counted = turns[ends[0] : ends[1]]
        waits_s = [turn.first_s - turn.came_s for turn in counted]
        hits = sum(turn.hit or 0 for turn in counted)
        return hits / sum(turn.prompt for turn in counted), float(np.quantile(waits_s, 0.99))

    def come(self, now_s: float, turn: Turn) -> None:
        turn.came_s = now_s
        replica = self.replicas[self.pick(turn)]
        self.arrived += 1
        replica.out += 1
        replica.waiting.append(turn)
        if not replica.is_busy:
            self.begin(now_s, replica)

    def pick(self, turn: Turn) -> int:
        """The replica that the router picks."""
        count, routing = self.fleet.replicas, self.fleet.routing
        if routing == "random":
            return self.dice.randrange(count)
        if routing == "round-robin":
            return self.arrived % count
        if routing == "session":
            return self.homes.setdefault(turn.session, self.dice.randrange(count))
        outs = [replica.out for replica in self.replicas]
        if routing == "least-outstanding":
            return outs.index(min(outs))
        mine = [self.replicas[0].content(turn, place) for place in range(turn.prompt // self.fleet.block)]
        matches = []
        for replica in self.replicas:
            known = [one in replica.sent for one in mine]
            matches.append(known.index(False) if False in known else len(mine))
        keys: Sequence[float] = [-match for match in matches]
        if routing == "prefix:sglang":
            uneven = max(outs) - min(outs) > 64 and max(outs) > 1.5 * min(outs)
            if uneven or max(matches) <= 0.3 * len(mine):
                keys = outs
        chosen = self.dice.choice([number for number in range(count) if keys[number] == min(keys)])
        self.replicas[chosen].sent.update(mine)
        return chosen

    def begin(self, now_s: float, replica: Replica) -> None:
        parts = replica.compose()
        replica.is_busy = bool(parts)
        if parts:
            self.at(now_s + replica.lasts_s(parts), lambda then_s: self.end(then_s, replica, parts))

    def end(self, now_s: float, replica: Replica, parts: Sequence[tuple[Turn, int]]) -> None:
        for turn, tokens in parts:
            turn.computed += tokens
            if turn.computed < turn.known:
                continue
            if math.isnan(turn.first_s):
                turn.first_s = now_s
            turn.known += 1
            if turn.known == turn.prompt + turn.output:
                replica.running.remove(turn)
                replica.give_back(turn)
                replica.out -= 1
                if turn.next is not None:
                    self.at(
                        now_s + turn.think_s, lambda then_s, follows=turn.next: self.come(then_s, follows)
                    )
        self.begin(now_s, replica)


def product_run(fleet: Fleet, number: int, run: int) -> tuple[float, float]:
    """The same of the package's simulator."""
    line = Coefficients(
        base_s=fleet.base_s, per_prefill_token_s=fleet.prompt_s, per_decode_request_s=fleet.request_s
    )
    scenario = law_scenario(
        fleet.rate_rps,
        parse_laws(fleet.laws),
        line,
        slots=fleet.slots,
        budget=fleet.budget,
        kv=KvCache(tokens=fleet.kv_blocks * fleet.block, block_tokens=fleet.block),
    )
    plan = replace(scenario.plan, replicas=fleet.replicas, routing=Routing(fleet.routing))
    scenario = replace(scenario, plan=plan)
    draws: TokenDraws = draw_tokens(scenario, TURNS, Seed(value=number, replication=run))
    records = serve(scenario, draws, Engine.KERNEL)
    part = draws.part(SKIPPED, SKIPPED)
    waits_s = (records.first_s - records.arrived_s)[part]
    return records.hit_tokens[part].sum() / draws.input_tokens[part].sum(), float(np.quantile(waits_s, 0.99))


def deviation(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """Difference of two means in standard errors."""
    error = math.sqrt(sum(statistics.variance(one) / len(one) for one in (ours, theirs)))
    return (statistics.fmean(ours) - statistics.fmean(theirs)) / max(error, 1e-12)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--fleets", type=int, default=12)
    parser.add_argument("--runs", type=int, default=12)
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    dice, worst, begun_s = random.Random(asked.seed), 0.0, time.process_time()
    print("| fleet | hits by brute force | by the package | off | TTFT P99, s | by the package | off |")
    print("|---|---|---|---|---|---|---|")
    for number in range(asked.fleets):
        fleet = random_fleet(dice, ROUTINGS[number % len(ROUTINGS)])
        brute = [Brute(fleet, 1_000 * number + run).run() for run in range(asked.runs)]
        ours = [product_run(fleet, number, run) for run in range(asked.runs)]
        cells = []
        for which in range(2):
            one, other = ([pair[which] for pair in runs] for runs in (ours, brute))
            off = deviation(one, other)
            worst = max(worst, abs(off))
            cells += [f"{statistics.fmean(other):.4f}", f"{statistics.fmean(one):.4f}", f"{off:+.1f} SE"]
        name = f"{fleet.replicas} x {fleet.routing}, {fleet.kv_blocks} blocks of {fleet.block}, {fleet.rate_rps:g} rps"
        print(f"| {name} | {' | '.join(cells)} |", flush=True)
    print(f"\nat most {worst:.1f} standard errors apart; {time.process_time() - begun_s:.0f} CPU s")
    return 0 if worst <= DEVIATION_MAX_SE else 1


if __name__ == "__main__":
    sys.exit(main())
