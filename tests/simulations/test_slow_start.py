"""A slow start of replicas that are back: weights and shares by hand, in both engines, and HAProxy itself."""

import asyncio
import math
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from cases import fixed
from test_balancer_rules import Asking, balanced, needs_haproxy
from test_engines_in_trouble import BOTH, RULES, Engines

from capacity.errors import InputError
from capacity.profile.steps import linear_table
from capacity.question.plan import PLAIN_ROUTINGS, Routing
from capacity.recovery.faults import Action, Fault
from capacity.recovery.protection import WEIGHT, Ejecting, Protection, lacks_weights
from capacity.server.batch.plan import BatchPlan
from capacity.traffic.clients import Clients
from simulations.draws.attempts import AttemptDraws, BatchFleet, EngineFleet
from simulations.draws.tokens import TokenDraws
from simulations.kernel.recovery.run import run as run_kernel

WEIGHED = [one for one in PLAIN_ROUTINGS if lacks_weights(one) is None]
QUICK = linear_table(1.0 / 1024, 0.0, 0.0, 0.0, (64, 4096, 4096))
GONE = [
    Fault(instant_s=1.0, replica=1, action=Action.LEAVE),
    Fault(instant_s=2.0, replica=1, action=Action.JOIN),
]


def sent(
    engines: Engines,
    routing: Routing,
    arrived_s: Sequence[float],
    *,
    uniforms: Sequence[tuple[float, float]] = (),
    faults: Sequence[Fault] = tuple(GONE),
    slow_start_s: int = 16,
    ejection: Ejecting = Ejecting.NONE,
    replicas: int = 2,
) -> list[int]:
    """Where requests of a token go, which are served at once if they do not come at one instant."""
    count = len(arrived_s)
    tokens = TokenDraws(
        arrived_s=np.array(arrived_s),
        input_tokens=np.ones(count, dtype=np.int64),
        output_tokens=np.ones(count, dtype=np.int64),
        cached_tokens=np.zeros(count, dtype=np.int64),
        routing=np.zeros(2 * count),
    )
    draws = AttemptDraws(
        arrived_s=tokens.arrived_s,
        service=np.zeros((0, 0)),
        routing=np.array([uniforms or [(0.0, 0.0)] * count]),
        backoff=np.zeros((0, 0)),
        lengths=tokens,
    )
    fleet = EngineFleet(
        table=QUICK, rules=RULES._replace(sequences_max=64), replicas=replicas, routing=routing
    )
    slowly = Protection(ejection=ejection, slow_start_s=slow_start_s)
    found = engines(fleet, draws, Clients(), slowly, list(faults)).tokens
    assert found is not None
    return [int(one) for one in found.replica]


def by_second(seconds: int, slow_start_s: int = 16) -> list[float]:
    """In each second after a return at 2 s as many instants as the weights of both replicas make in sixteenths."""
    return [
        2.0 + second + 0.25
        for second in range(seconds)
        for _ in range(WEIGHT + min(WEIGHT, 1 + WEIGHT * second // slow_start_s))
    ]


def counts(found: Sequence[int], instants_s: Sequence[float]) -> list[int]:
    """How many requests of each second after the return go to the replica that is back."""
    each = np.zeros(1 + int(max(instants_s) - 2.0), dtype=int)
    np.add.at(each, [int(one - 2.0) for one in instants_s], found)
    return each.tolist()


@BOTH
def test_turns_of_who_is_back_grow_by_a_sixteenth_a_second(engines: Engines) -> None:
    """Of 17 requests in the first second one, of 18 in the next two, and half of 32 from the sixteenth on."""
    instants_s = by_second(18)
    wanted = [*range(1, 17), 16, 16]
    assert counts(sent(engines, Routing.ROUND_ROBIN, instants_s), instants_s) == wanted


@BOTH
def test_a_weight_is_counted_in_whole_seconds_and_rounded_down(engines: Engines) -> None:
    """In 30 s, as HAProxy has it: 1, 1, 2, 2, 3 sixteenths in the first seconds, and 16 of them from 29 s on."""
    instants_s = by_second(32, 30)
    wanted = [1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 9, 9, 10, 10, 11, 11, 12, 12, 13, 13, 14, 14, 15, 15, 16, 16, 16]  # fmt: skip
    assert counts(sent(engines, Routing.ROUND_ROBIN, instants_s, slow_start_s=30), instants_s) == wanted


@BOTH
def test_random_requests_are_drawn_by_weight(engines: Engines) -> None:
    """Uniform numbers in the middle of each sixteenth."""
    instants_s = by_second(16)
    uniforms = [((place + 0.5) / (17 + second), 0.0) for second in range(16) for place in range(17 + second)]
    found = sent(engines, Routing.RANDOM, instants_s, uniforms=uniforms)
    assert counts(found, instants_s) == list(range(1, 17))


@BOTH
@pytest.mark.parametrize(
    "routing", [Routing.LEAST_OUTSTANDING, Routing.LEAST_OUTSTANDING_HAPROXY, Routing.POWER_OF_TWO]
)
def test_requests_that_are_there_at_once_are_shared_by_weight(engines: Engines, routing: Routing) -> None:
    """4 s after its return a replica has 5 sixteenths of a whole share: 5 of 21 requests."""
    assert sum(sent(engines, routing, [6.5] * 21)) == 5


@BOTH
def test_to_haproxy_a_server_without_requests_comes_first_whatever_it_weighs(engines: Engines) -> None:
    """The rule of no balancer in particular gives three to the whole one before the other has any."""
    first = [sent(engines, one, [6.5] * 4) for one in (Routing.LEAST_OUTSTANDING, Routing.LEAST_OUTSTANDING_HAPROXY)]  # fmt: skip
    assert first[0] == [0, 0, 0, 1]
    assert sorted(first[1][:2]) == [0, 1]
    assert first[1][2:] == [0, 0]


@BOTH
def test_two_draws_of_haproxy_are_compared_by_requests_for_their_weight(engines: Engines) -> None:
    """Of a replica with 2 requests and a whole share and one with 1 and a sixteenth the first is chosen.

    Draws are by weight: up to 16/17 the first replica, above the other.
    """
    low, high = 0.0, 0.99
    draws = [(low, low), (low, low), (high, high), (low, high), (high, low), (high, high)]
    found = sent(engines, Routing.POWER_OF_TWO_HAPROXY, [2.5] * 6, uniforms=draws)
    assert found == [0, 0, 1, 0, 0, 1]


@BOTH
@pytest.mark.parametrize("routing", WEIGHED)
def test_who_was_never_out_or_comes_back_with_all_others_has_its_share_at_once(
    engines: Engines, routing: Routing
) -> None:
    """A crash that is over before the balancer notices, and a restart of all, while no weight grows."""
    crash, away = Action.CRASH, Action.AWAY
    generator = np.random.default_rng(3)
    instants_s = np.sort(5.0 + np.floor(8.0 * generator.random(170)) / 8.0).tolist()
    uniforms = [(float(one), float(other)) for one, other in generator.random((170, 2))]
    for gone, back in ((crash, Action.RESTART), (away, Action.JOIN)):
        replicas = (1,) if gone is crash else (0, 1, 2)
        faults = [Fault(instant_s=1.0, replica=one, action=gone) for one in replicas]
        faults += [Fault(instant_s=2.0, replica=one, action=back) for one in replicas]
        slowly, at_once = (
            sent(engines, routing, instants_s, uniforms=uniforms, faults=faults, slow_start_s=long_s, replicas=3)
            for long_s in (16, 0)
        )  # fmt: skip
        assert slowly == at_once


@BOTH
def test_who_is_taken_back_after_an_ejection_has_not_been_away(engines: Engines) -> None:
    """As in Envoy, whose slow start follows a failed health check, a fault of its own."""
    instants_s = by_second(4)
    found = sent(engines, Routing.ROUND_ROBIN, instants_s, ejection=Ejecting.ENVOY)
    assert counts(found, instants_s) == [1, 2, 3, 4]


@BOTH
def test_who_goes_away_again_starts_from_the_beginning(engines: Engines) -> None:
    """It is back at 2 and at 6 s."""
    again = [
        Fault(instant_s=5.0, replica=1, action=Action.LEAVE),
        Fault(instant_s=6.0, replica=1, action=Action.JOIN),
    ]
    instants_s = [*by_second(3), *(one + 4.0 for one in by_second(3))]
    found = sent(engines, Routing.ROUND_ROBIN, instants_s, faults=[*GONE, *again])
    assert counts(found, instants_s) == [1, 2, 3, 0, 1, 2, 3]


@pytest.mark.parametrize("routing", [one for one in Routing if one not in WEIGHED])
def test_a_routing_without_weights_is_refused(routing: Routing) -> None:
    slowly = Protection(slow_start_s=30)
    with pytest.raises(InputError, match=r"^--slow-start .* (take|leave it out)"):
        slowly.require_weights(routing)
    Protection().require_weights(routing)


def test_a_fleet_without_weights_is_not_simulated_either() -> None:
    draws = AttemptDraws(
        arrived_s=np.zeros(1), service=np.zeros((1, 1)), routing=np.zeros((0, 0, 2)), backoff=np.zeros((0, 0))
    )
    plan = BatchPlan(profile="made-up", replicas=2, batch_size_max=1, routing=Routing.SHARED_QUEUE)
    fleet = BatchFleet(plan=plan, service_times=fixed(lambda size: 1.0))
    with pytest.raises(InputError, match="replicas that share a queue have none"):
        run_kernel(fleet, draws, Clients(), Protection(slow_start_s=1), [])


# HAProxy itself: a server is taken out and put back by its administrator, and then starts slowly.
SLOW_S = 4


class Starting:
    """The second of two servers of a HAProxy, which starts slowly."""

    def __init__(self, folder: Path) -> None:
        self._orders = folder / "orders"
        self._back_s = math.inf

    async def order(self, text: str) -> str:
        """What HAProxy says to an order."""
        reader, writer = await asyncio.open_unix_connection(str(self._orders))
        writer.write(f"{text}\n".encode())
        told = (await reader.read()).decode()
        writer.close()
        return told

    async def go_and_come_back(self) -> None:
        """It is out, and in again."""
        await self.order("disable server fleet/s1")
        await asyncio.sleep(0.05)
        self._back_s = asyncio.get_running_loop().time()
        await self.order("enable server fleet/s1")

    async def weight(self) -> int:
        """What HAProxy says that it weighs, in sixteenths: that of this second, of the last or of the next.

        It counts whole seconds of its clock, and looks at them by a timer that may be late.
        """
        earliest = self._by_rule() - WEIGHT // SLOW_S
        head, *rows = (await self.order("show stat")).removeprefix("# ").splitlines()
        row = next(one for one in rows if one.startswith("fleet,s1,"))
        percent = dict(zip(head.split(","), row.split(","), strict=True))["throttle"]
        found = round(int(percent or 100) * WEIGHT / 100)
        assert max(1, earliest) <= found <= min(WEIGHT, self._by_rule() + WEIGHT // SLOW_S)
        return found

    def _by_rule(self) -> int:
        seconds = int(asyncio.get_running_loop().time() - self._back_s)
        return min(WEIGHT, 1 + WEIGHT * seconds // SLOW_S)


def by_turns(weight: int) -> float:
    """The share of who has this weight beside one with a whole share."""
    return weight / (WEIGHT + weight)


def by_draws(weight: int) -> float:
    """The same of two draws, where it has 1 request and the other 3, so that up to 5 sixteenths it is the fuller one."""
    share = by_turns(weight)
    return share**2 if 3 * weight < WEIGHT else 1.0 - (1.0 - share) ** 2


@needs_haproxy
@pytest.mark.parametrize(
    ("rule", "share", "held"),
    [("roundrobin", by_turns, 0), ("random(1)", by_turns, 0), ("random(2)", by_draws, 3)],
)
async def test_haproxy_sends_to_a_server_that_is_back_by_the_rule(
    tmp_path: Path, rule: str, share: Callable[[int], float], held: int
) -> None:
    """As many as by the weights of its seconds, within four standard errors, and not as many as with a whole share."""
    expected = variance = asked = 0.0
    found, weights = 0, set()
    async with balanced(tmp_path, "haproxy", rule, 2, each=f"weight 256 slowstart {SLOW_S}s") as front:
        asking, starting = Asking(*front), Starting(tmp_path)
        while held:  # the first has 3 requests throughout, and the second 1
            index = await asking.ask()
            at = [one[0] for one in asking.open]
            if at.count(index) > (1, held)[index == 0]:
                await asking.end(len(asking.open) - 1)
            if [at.count(0), at.count(1)] == [held, 1]:
                break
        kept = len(asking.open)
        await starting.go_and_come_back()
        while (weight := await starting.weight()) < WEIGHT:
            index = await asking.ask()
            await asking.end(kept)
            if await starting.weight() == weight:  # else it has changed meanwhile
                found, asked = found + index, asked + 1
                expected, variance = (
                    expected + share(weight),
                    variance + share(weight) * (1.0 - share(weight)),
                )
                weights.add(weight)
        while asking.open:
            await asking.end(0)
    assert weights <= set(range(1, WEIGHT, WEIGHT // SLOW_S))
    assert len(weights) >= 3  # of 4, also on a busy machine
    assert abs(found - expected) < 4.0 * math.sqrt(variance) + 1.0
    whole = share(WEIGHT)
    assert abs(found - whole * asked) > 4.0 * math.sqrt(whole * (1.0 - whole) * asked)


@needs_haproxy
async def test_leastconn_of_haproxy_fills_a_server_that_is_back_by_its_weight(tmp_path: Path) -> None:
    """Of requests that stay, 16 are at the whole one and as many at the other as it has sixteenths."""
    filled = set[int]()
    async with balanced(tmp_path, "haproxy", "leastconn", 2, each=f"weight 1 slowstart {SLOW_S}s") as front:
        asking, starting = Asking(*front), Starting(tmp_path)
        await starting.go_and_come_back()
        while (weight := await starting.weight()) < WEIGHT:
            at = [await asking.ask() for _ in range(WEIGHT + weight)]
            if await starting.weight() == weight:
                assert sum(at) == weight
                filled.add(weight)
            while asking.open:
                await asking.end(0)
    assert len(filled) >= 2
