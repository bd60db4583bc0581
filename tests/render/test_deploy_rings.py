"""The rings of HAProxy and nginx: where they send sessions, beside the routers that are simulated."""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from test_deploy_balancers import Front, both, front, run
from test_deploy_fleets_of_engines import PLAN, saved

from capacity.answer.documents import plain
from capacity.answer.saved_engines import EngineQuestionDocument, SavedEngines
from capacity.json_text import read_as
from capacity.question.plan import Routing, server_addresses
from capacity.render.report.command import command_to_repeat
from capacity.server.engine.ring import RING, even_replicas, ring_of, spot_of
from capacity.server.engine.router import RouterRules, parse_routing
from capacity.traffic.sessions.laws import parse_laws
from serve_api.balancer import free_port
from simulations.routing.conversations.ring import RingRouter
from simulations.routing.conversations.routers import ROUTERS
from simulations.routing.conversations.seen import Fleet

OWN = {"haproxy": Routing.SESSION_HAPROXY, "nginx": Routing.SESSION_NGINX}
KEYS = tuple(f"{number * 7919:x}-{number % 7} é"[: 3 + number % 9] + str(number) for number in range(1_500))
HASHES = 90_000


@dataclass(frozen=True)
class Engine:
    """A replica that may be chosen."""

    index: int


@dataclass(frozen=True)
class Turn:
    """A turn of the session with this number."""

    session: int


@both
@pytest.mark.parametrize("replicas", [2, 3, 8])
def test_each_session_goes_where_the_router_sends_it(name: str, replicas: int, tmp_path: Path) -> None:
    """All 1,500 of them, and again without one of the servers."""
    routing, ports = OWN[name], [free_port() for _ in range(replicas)]
    rules = RouterRules(servers=tuple(f"127.0.0.1:{port}" for port in ports))
    plan = saved(plan=replace(PLAN, routing=routing, replicas=replicas, router=rules))
    router = ROUTERS[routing](Fleet(replicas, 1, 1, 1.0, 0, rules, KEYS))

    def expected(here: Sequence[int]) -> list[str]:
        engines, turns = [Engine(index) for index in here], map(Turn, range(len(KEYS)))
        return [f"server-{router.choose(engines, turn, [0.0, 0.0], 0.0).index}" for turn in turns]

    async def work() -> None:
        async with front(name, plan, tmp_path, fall=2, ports=ports) as fleet:
            await until_chosen(fleet, expected(range(replicas)))
            fleet.servers[1].kill()
            await until_chosen(fleet, expected([index for index in range(replicas) if index != 1]))

    run(work())


async def until_chosen(fleet: Front, wanted: list[str]) -> None:
    """Ask for all sessions until their servers are those: a probe fails twice first, on a busy machine of others too."""
    for _ in range(6):
        found = await chosen(fleet)
        if found == wanted:
            return
        await asyncio.sleep(1.0)
    assert found == wanted


async def chosen(fleet: Front) -> list[str]:
    """The server that answers each session; empty for a request that was cut off."""
    found: list[str] = []
    for begin in range(0, len(KEYS), 25):
        asked = (fleet.ask(x_session_id=key) for key in KEYS[begin : begin + 25])
        found += [server for _, _, server in await asyncio.gather(*asked)]
    return found


class Spread(RingRouter):
    """A router whose sessions are spread evenly over the ring, in place of a hash."""

    def _spot(self, session: int) -> int:
        return session * RING // HASHES


@pytest.mark.parametrize(("routing", "points"), [(OWN["haproxy"], 4_096), (OWN["nginx"], 2_560)])
def test_shares_are_those_of_hashes_spread_evenly(routing: Routing, points: int) -> None:
    servers = tuple(f"engine-{number}:8000" for number in range(3))
    ring = ring_of(routing, 3, servers)
    assert sum(ring.shares) == pytest.approx(1.0, abs=1e-12)
    assert len(ring.points) == 3 * points
    counts, engines = [0, 0, 0], [Engine(index) for index in range(3)]
    router = Spread(routing, Fleet(3, 1, 1, 1.0, 0, RouterRules(servers=servers)))
    for session in range(HASHES):
        counts[router.choose(engines, Turn(session), [0.0], 0.0).index] += 1
    # Each arc has a hash more or less than its length says, and on average neither.
    assert [count / HASHES for count in counts] == pytest.approx(ring.shares, abs=0.002)


@pytest.mark.parametrize("routing", OWN.values())
def test_a_session_is_where_the_hash_of_its_name_is(routing: Routing) -> None:
    servers = ("a:1", "b:1", "c:1")
    ring, engines = ring_of(routing, 3, servers), [Engine(index) for index in range(3)]
    router = ROUTERS[routing](Fleet(3, 1, 1, 1.0, 0, RouterRules(servers=servers), KEYS))
    for session, name in enumerate(KEYS[:300]):
        ahead = (ring.points - spot_of(routing, name)) % RING
        away = np.minimum(ahead, RING - ahead) if ring.is_nearest else ahead
        assert router.choose(engines, Turn(session), [0.0], 0.0).index == ring.servers[away.argmin()]


@pytest.mark.parametrize("servers", [2, 3, 4, 8])
def test_the_page_says_haproxys_shares(servers: int) -> None:
    page = (Path(__file__).parents[2] / "docs" / "background" / "balancers.md").read_text("utf-8")
    shares = ring_of(Routing.SESSION_HAPROXY, servers).shares
    assert f"| {servers} | {', '.join(f'{100.0 * share:.2f} %' for share in shares)} |" in page


def test_nginx_hashes_hosts_and_ports_apart() -> None:
    def points(*servers: str) -> set[int]:
        return set(ring_of(Routing.SESSION_NGINX, len(servers), servers).points.tolist())

    assert points("engine:8000").isdisjoint(points("engine:8001"))
    assert points("UNIX:/tmp/one") == points("/tmp/one")  # without a port either way
    with pytest.raises(ValueError, match="has 1 addresses for 2 replicas"):
        ring_of(Routing.SESSION_NGINX, 2, ("engine:8000",))


def test_a_fleet_saturates_when_its_busiest_server_does() -> None:
    """The share of the busiest one is counted at random places."""
    spots = np.random.default_rng(0).integers(0, RING, 20_000)
    for routing in OWN.values():
        plan = replace(PLAN, routing=routing, replicas=4)
        ring = ring_of(routing, 4, plan.router_told.servers)
        ahead = [(ring.points - spot) % RING for spot in spots.tolist()]
        away = [np.minimum(one, RING - one) if ring.is_nearest else one for one in ahead]
        counts = np.bincount([ring.servers[one.argmin()] for one in away])
        assert even_replicas(plan) == pytest.approx(len(spots) / counts.max(), rel=0.03)
        assert 3.8 < even_replicas(plan) < 4.0
    assert even_replicas(replace(PLAN, routing=Routing.SESSION, replicas=4)) == 4


def test_servers_beyond_the_named_ones_have_the_addresses_that_are_written() -> None:
    """So that a search may try fleets with more, and with fewer."""
    plan = replace(PLAN, routing=Routing.SESSION_NGINX, router=RouterRules(servers=("a:1", "b:1")))
    usual = server_addresses(PLAN.profile, 3)[2]
    assert replace(plan, replicas=3).router_told.servers == ("a:1", "b:1", usual)
    assert replace(plan, replicas=1).router_told.servers == ("a:1",)


def test_a_saved_question_its_command_and_a_sweep_keep_what_a_router_was_told() -> None:
    typed = "session:nginx,servers=a:1+b:1"
    routing, rules = parse_routing(typed)
    laws = parse_laws(
        "turns=constant:4;think=exponential:mean=5s;first=constant:40;user=constant:8;output=constant:9"
    )
    laws = replace(laws, limit=1024)
    space = replace(saved().question.space, lengths=laws)
    named = replace(space, routers=((routing, rules),))
    asked = replace(saved().question, routings=(Routing.RANDOM, routing), space=named)
    kept = SavedEngines().question(asked)
    assert kept["routings"] == ["random", typed]
    read = read_as(EngineQuestionDocument, json.loads(json.dumps(plain(kept))), "question").question(None)
    assert (read.routings, read.space.routers) == (asked.routings, named.routers)
    assert f"--routing random --routing {typed}" in command_to_repeat(replace(saved(), question=asked))
    assert named.document() != space.document()
