"""What HAProxy and nginx make of two rules of routing: by hand, and beside the balancers themselves."""

import asyncio
import shutil
import socket
from asyncio.subprocess import DEVNULL, Process
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from capacity.question.plan import Routing
from simulations.reference.gate import Gate
from simulations.routing.candidates import Counted
from simulations.routing.policies import POLICIES

PLACES = "/usr/sbin:/usr/local/sbin:/usr/local/bin:/usr/bin"
HAPROXY = shutil.which("haproxy", path=PLACES)
NGINX = shutil.which("nginx", path=PLACES)
needs_haproxy = pytest.mark.skipif(
    HAPROXY is None, reason="haproxy is not installed; `bash .ci/balancers` does it"
)
needs_nginx = pytest.mark.skipif(NGINX is None, reason="nginx is not installed; `bash .ci/balancers` does it")
PATIENCE_S = 20.0
OURS, HAPROXYS, NGINXS = (
    Routing.LEAST_OUTSTANDING,
    Routing.LEAST_OUTSTANDING_HAPROXY,
    Routing.LEAST_OUTSTANDING_NGINX,
)
COMES, REFUSED = (
    "comes",
    "refused",
)  # a request, and one that its replica refuses at once; a number is where one ends
Step = str | int


def chosen(
    routing: Routing, replicas: int, steps: Sequence[Step], uniforms: Sequence[float] = ()
) -> list[int]:
    """Where the requests of some steps go, two uniform numbers for each."""
    changes, drawn, found = count(1), iter(uniforms), []
    fleet = [Counted(index, changes) for index in range(replicas)]
    policy = POLICIES[routing](replicas)
    for step in steps:
        if isinstance(step, int):
            fleet[step].count(-1)
        else:
            to = policy(fleet, [next(drawn, 0.0), next(drawn, 0.0)])
            to.count(1 if step == COMES else 0)
            found.append(to.index)
    return found


@pytest.mark.parametrize(
    ("routing", "wanted"),
    [
        (OURS, [0, 1, 2, 0, 1, 0]),
        (HAPROXYS, [0, 1, 2, 1, 0, 2]),  # 1 has been free for longer; then 2 has had one for longest
        (NGINXS, [0, 1, 2, 1, 0, 2]),  # owed are -2, 0 and 2 turns
    ],
)
def test_equal_ones_after_1_and_then_0_have_ended(routing: Routing, wanted: list[int]) -> None:
    assert chosen(routing, 3, [COMES, COMES, COMES, 1, 0, COMES, COMES, COMES]) == wanted


@pytest.mark.parametrize(
    ("routing", "wanted"),
    [(OURS, [0, 1, 2, 0, 1, 0]), (HAPROXYS, [0, 1, 2, 0, 1, 2]), (NGINXS, [0, 1, 2, 1, 0, 2])],
)
def test_equal_ones_after_0_and_then_1_have_ended(routing: Routing, wanted: list[int]) -> None:
    assert chosen(routing, 3, [COMES, COMES, COMES, 0, 1, COMES, COMES, COMES]) == wanted


@pytest.mark.parametrize(
    ("routing", "wanted"), [(OURS, [0] * 4), (HAPROXYS, [0, 1, 0, 1]), (NGINXS, [0, 1, 0, 1])]
)
def test_one_after_another_all_get_their_turn_but_by_index(routing: Routing, wanted: list[int]) -> None:
    """Each has ended before the next comes."""
    steps: list[Step] = []
    for replica in wanted:
        steps += [COMES, replica]
    assert chosen(routing, 2, steps) == wanted


@pytest.mark.parametrize(("routing", "wanted"), [(OURS, [0, 0]), (HAPROXYS, [0, 1]), (NGINXS, [0, 1])])
def test_who_was_refused_has_been_counted(routing: Routing, wanted: list[int]) -> None:
    assert chosen(routing, 2, [REFUSED, COMES]) == wanted


@pytest.mark.parametrize(
    ("routing", "uniforms", "wanted"),
    [
        # Of four, 2 and then the one behind it, 3; both free.
        (Routing.POWER_OF_TWO, [0.5, 0.0], [2]),
        (Routing.POWER_OF_TWO_NGINX, [0.5, 0.0], [3]),
        # 3 and then the one behind it, 0.
        (Routing.POWER_OF_TWO, [0.9, 0.0], [0]),
        (Routing.POWER_OF_TWO_NGINX, [0.9, 0.0], [0]),
        # Of 2 and 3 once more, of which the one that was chosen has one.
        (Routing.POWER_OF_TWO_NGINX, [0.5, 0.0, 0.5, 0.0], [3, 2]),
        # 2 and 0, both free; then 1 twice; then 0, which has one, and 2.
        (Routing.POWER_OF_TWO_HAPROXY, [0.5, 0.0, 0.3, 0.3, 0.0, 0.5], [0, 1, 2]),
        # 1 twice, although it has one by then and all others are free.
        (Routing.POWER_OF_TWO_HAPROXY, [0.3, 0.3, 0.3, 0.3], [1, 1]),
    ],
)
def test_two_at_random(routing: Routing, uniforms: list[float], wanted: list[int]) -> None:
    assert chosen(routing, 4, [COMES] * len(wanted), uniforms) == wanted


def test_what_a_balancer_makes_of_a_rule_is_of_its_family() -> None:
    assert {one: one.base for one in Routing if one.base is not one} == {
        Routing.LEAST_OUTSTANDING_HAPROXY: Routing.LEAST_OUTSTANDING,
        Routing.LEAST_OUTSTANDING_NGINX: Routing.LEAST_OUTSTANDING,
        Routing.POWER_OF_TWO_HAPROXY: Routing.POWER_OF_TWO,
        Routing.POWER_OF_TWO_NGINX: Routing.POWER_OF_TWO,
        Routing.SESSION_HAPROXY: Routing.SESSION,
        Routing.SESSION_NGINX: Routing.SESSION,
    }


class Servers:
    """Servers that hold each request until a test lets them answer, and say where it has come.

    Args:
        keeps: whether connections last longer than a request.
    """

    def __init__(self, *, keeps: bool) -> None:
        self._keeps = keeps
        self.came: asyncio.Queue[tuple[int, asyncio.StreamWriter, str]] = asyncio.Queue()
        self.ports: list[int] = []
        self._listening: list[asyncio.Server] = []
        self._writers: list[asyncio.StreamWriter] = []

    async def begin(self, servers: int) -> None:
        """Listen."""
        for index in range(servers):

            async def hold(
                reader: asyncio.StreamReader, writer: asyncio.StreamWriter, index: int = index
            ) -> None:
                self._writers.append(writer)
                with suppress(asyncio.IncompleteReadError):
                    while head := await reader.readuntil(b"\r\n\r\n"):
                        self.came.put_nowait((index, writer, head.split()[1].decode()))

            self._listening.append(await asyncio.start_server(hold, "127.0.0.1", 0))
            self.ports.append(self._listening[-1].sockets[0].getsockname()[1])

    async def end(self) -> None:
        """Listen no more."""
        for writer in self._writers:
            writer.close()
        for one in self._listening:
            one.close()
            await one.wait_closed()

    async def answer(self, writer: asyncio.StreamWriter) -> None:
        """Answer a request."""
        close = b"" if self._keeps else b"Connection: close\r\n"
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n" + close + b"\r\nok")
        await writer.drain()
        if not self._keeps:
            writer.close()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as one:
        return int(one.getsockname()[1])


def _haproxy(folder: Path, port: int, rule: str, servers: list[int], each: str = "") -> list[str]:
    lines = [f"  server s{index} 127.0.0.1:{one} weight 256 {each}" for index, one in enumerate(servers)]
    text = f"""
global
  nbthread 1
  stats socket {folder}/orders level admin
defaults
  mode http
  timeout connect 9s
  timeout client 60s
  timeout server 60s
  timeout queue 60s
listen fleet
  bind 127.0.0.1:{port}
  balance {rule}
"""
    path = folder / "haproxy.cfg"
    path.write_text("\n".join([text, *lines, ""]), encoding="utf-8")
    return [str(HAPROXY), "-f", str(path), "-db"]


def _nginx(folder: Path, port: int, rule: str, servers: list[int], each: str = "") -> list[str]:
    lines = " ".join(f"server 127.0.0.1:{one} {each};" for one in servers)
    kept = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    temporary = " ".join(f"{one}_temp_path {folder}/{one};" for one in kept)
    text = f"""
pid {folder}/pid; daemon off; master_process off; worker_processes 1; error_log {folder}/log;
events {{}}
http {{
  access_log off; {temporary}
  upstream fleet {{ {rule and f"{rule};"} {lines} keepalive 64; }}
  server {{
    listen 127.0.0.1:{port};
    location / {{ proxy_pass http://fleet; proxy_http_version 1.1; proxy_set_header Connection ""; }}
  }}
}}
"""
    path = folder / "nginx.conf"
    path.write_text(text, encoding="utf-8")
    return [str(NGINX), "-c", str(path), "-p", str(folder), "-e", f"{folder}/log"]


CONFIGURED = {"haproxy": _haproxy, "nginx": _nginx}


async def _is_open(port: int, process: Process) -> None:
    while True:
        assert process.returncode is None, "the balancer has not started"
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            await asyncio.sleep(0.02)
        else:
            writer.close()
            return


@asynccontextmanager
async def balanced(
    folder: Path, balancer: str, rule: str, count: int, *, keeps: bool = False, each: str = ""
) -> AsyncIterator[tuple[int, Servers]]:
    """The port of a balancer before some servers, and these.

    Args:
        each: settings of each server.
    """
    servers, port = Servers(keeps=keeps), _free_port()
    await servers.begin(count)
    command = CONFIGURED[balancer](folder, port, rule, servers.ports, each)
    process = await asyncio.create_subprocess_exec(*command, stdout=DEVNULL, stderr=DEVNULL)
    try:
        await asyncio.wait_for(_is_open(port, process), PATIENCE_S)
        yield port, servers
    finally:
        if process.returncode is None:
            process.terminate()
        await asyncio.wait_for(process.wait(), PATIENCE_S)
        await servers.end()


class Asking:
    """One request after another through a balancer, each on a connection of its own, of which some are held."""

    def __init__(self, port: int, servers: Servers) -> None:
        self._port, self._servers = port, servers
        self.open: list[tuple[int, asyncio.StreamReader, asyncio.StreamWriter, asyncio.StreamWriter]] = []

    async def ask(self) -> int:
        """Send a request, which stays open; where it went."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        writer.write(b"GET / HTTP/1.1\r\nHost: fleet\r\nConnection: close\r\n\r\n")
        index, server, _ = await asyncio.wait_for(self._servers.came.get(), PATIENCE_S)
        self.open.append((index, reader, writer, server))
        return index

    async def end(self, place: int) -> int:
        """One of those that are open is answered; where it was. The balancer has counted that when this is over."""
        index, reader, writer, server = self.open.pop(place)
        await self._servers.answer(server)
        assert (await asyncio.wait_for(reader.read(), PATIENCE_S)).endswith(b"ok")
        writer.close()
        await asyncio.sleep(0.01)
        return index


@pytest.mark.parametrize(
    ("balancer", "rule", "routing"),
    [
        pytest.param("haproxy", "leastconn", HAPROXYS, marks=needs_haproxy),
        pytest.param("nginx", "least_conn", NGINXS, marks=needs_nginx),
        pytest.param("haproxy", "roundrobin", Routing.ROUND_ROBIN, marks=needs_haproxy),
        pytest.param("nginx", "", Routing.ROUND_ROBIN, marks=needs_nginx),
    ],
)
@pytest.mark.parametrize("keeps", [False, True])
async def test_a_balancer_chooses_as_its_rule_does(
    tmp_path: Path, balancer: str, rule: str, routing: Routing, keeps: bool
) -> None:
    """Requests at five servers, which often have equally many, and end in any order; who idles is not counted."""
    generator, replicas = np.random.default_rng(5), 5
    steps: list[Step] = []
    found: list[int] = []
    async with balanced(tmp_path, balancer, rule, replicas, keeps=keeps) as (port, servers):
        asking = Asking(port, servers)
        while len(found) < 120:
            if asking.open and generator.random() < 0.2 + 0.05 * len(asking.open):
                steps.append(await asking.end(int(generator.integers(len(asking.open)))))
            else:
                found.append(await asking.ask())
                steps.append(COMES)
        while asking.open:
            await asking.end(0)
    assert found == chosen(routing, replicas, steps)
    if routing is not Routing.ROUND_ROBIN:
        assert found != chosen(OURS, replicas, steps)


@pytest.mark.parametrize(
    ("balancer", "rule", "low", "high"),
    [
        pytest.param("haproxy", "random(2)", 15, 85, marks=needs_haproxy),  # a quarter of 160, if both are it
        pytest.param("nginx", "random two least_conn", 0, 0, marks=needs_nginx),  # two different ones
    ],
)
async def test_two_at_random_may_be_the_same_for_one_of_both(
    tmp_path: Path, balancer: str, rule: str, low: int, high: int
) -> None:
    """One of two servers is busy throughout, and is chosen only if both draws are that one."""
    async with balanced(tmp_path, balancer, rule, 2) as (port, servers):
        asking, at_busy = Asking(port, servers), 0
        busy = await asking.ask()
        for _ in range(160):
            at_busy += await asking.ask() == busy
            await asking.end(1)
        await asking.end(0)
    assert low <= at_busy <= high


# ---- Servers with a limited number of places ------------------------------------------------------


class Held(Counted):
    """A replica that notes which requests came, and lets a test say which ends."""

    def __init__(self, index: int, changes: Any, went: dict[int, int]) -> None:
        super().__init__(index, changes)
        self._went = went

    def join(self, request: int) -> bool:
        """A request comes."""
        self._went[request] = self.index
        self.count(1)
        return True


class Gated:
    """The gate of the readable model before such replicas, with the places of each."""

    def __init__(self, routing: Routing, replicas: int, places: int) -> None:
        self.went: dict[int, int] = {}
        changes, self.now, self._calls = count(1), 0.0, []
        self._fleet: list[Any] = [Held(index, changes, self.went) for index in range(replicas)]
        clock: Any = self
        self.gate = Gate(clock, routing, self._fleet, places, [0.0] * 10_000)

    _calls: list[Any]

    def call(self, instant_s: float, phase: int, rank: int, action: Any) -> None:
        """What is to be done once all has ended that does."""
        self._calls.append(action)

    def end(self, replica: int) -> None:
        """A request of a replica ends."""
        self._fleet[replica].count(-1)
        self.gate.ended(replica)
        for action in self._calls:
            action()
        self._calls.clear()


class Crowd:
    """Requests that are sent without waiting for a server, told apart by their paths."""

    def __init__(self, port: int, servers: Servers) -> None:
        self._port, self._servers = port, servers
        self._clients: dict[int, tuple[asyncio.StreamReader, asyncio.StreamWriter]] = {}
        self.at: dict[int, tuple[int, asyncio.StreamWriter]] = {}  # those at a server, and which
        self.went: dict[int, int] = {}

    @property
    def open(self) -> int:
        """Requests that have no answer yet."""
        return len(self._clients)

    async def send(self, number: int) -> None:
        """Send a request, and give the balancer the time to choose."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        writer.write(f"GET /{number} HTTP/1.1\r\nHost: fleet\r\nConnection: close\r\n\r\n".encode())
        self._clients[number] = reader, writer
        await asyncio.sleep(0.05)

    async def come(self, wait_s: float = PATIENCE_S) -> int:
        """The next request comes to a server; its number."""
        index, server, path = await asyncio.wait_for(self._servers.came.get(), wait_s)
        number = int(path.removeprefix("/"))
        self.at[number], self.went[number] = (index, server), index
        return number

    async def end(self, number: int) -> int:
        """A request is answered; where it was."""
        (index, server), (reader, writer) = self.at.pop(number), self._clients.pop(number)
        await self._servers.answer(server)
        assert (await asyncio.wait_for(reader.read(), PATIENCE_S)).endswith(b"ok")
        writer.close()
        await asyncio.sleep(0.01)
        return index


@needs_haproxy
@pytest.mark.parametrize(("rule", "routing"), [("leastconn", HAPROXYS), ("roundrobin", Routing.ROUND_ROBIN)])
async def test_haproxy_holds_back_what_no_server_has_a_place_for(
    tmp_path: Path, rule: str, routing: Routing
) -> None:
    """Three servers with two places each, where often none is free, and requests end in any order."""
    generator, model, sent, held = np.random.default_rng(7), Gated(routing, 3, 2), 0, 0
    async with balanced(tmp_path, "haproxy", rule, 3, each="maxconn 2") as (port, servers):
        crowd = Crowd(port, servers)
        while sent < 100 or crowd.at:
            if crowd.at and (sent == 100 or generator.random() < 0.15 + 0.04 * crowd.open):
                ended = sorted(crowd.at)[int(generator.integers(len(crowd.at)))]
                model.end(await crowd.end(ended))
            else:
                await crowd.send(sent)
                model.gate.join(sent)
                sent += 1
                held += crowd.open > 6
            while len(crowd.at) < min(crowd.open, 6):
                await crowd.come()
    assert crowd.went == model.went
    assert held > 20


@needs_haproxy
async def test_haproxys_random_waits_though_another_server_is_free(tmp_path: Path) -> None:
    """Of two servers with a place each one is busy; half of the requests draw that one, and wait until it is done."""
    waited, tries = 0, 40
    async with balanced(tmp_path, "haproxy", "random(1)", 2, each="maxconn 1") as (port, servers):
        crowd = Crowd(port, servers)
        for first in range(0, 2 * tries, 2):
            await crowd.send(first)
            assert await crowd.come() == first
            await crowd.send(first + 1)
            if servers.came.empty():
                busy = await crowd.end(first)
                await crowd.come()
                assert crowd.went[first + 1] == busy
                waited += 1
            else:
                await crowd.come()
                assert crowd.went[first + 1] != await crowd.end(first)
            await crowd.end(first + 1)
    assert 8 <= waited <= 32  # the ends of Bin(40, 1/2) beyond which 0.005 % lie
