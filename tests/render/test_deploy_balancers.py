"""HAProxy and nginx themselves with the files that are rendered for them, in front of small servers."""

import asyncio
import os
import re
import subprocess
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from planned import autoscaled, recovery, saved_plan
from shown import unwrapped
from test_deploy_features import parts
from test_deploy_fleets_of_engines import PLAN, saved

from capacity.answer.saved_plan import SavedPlan
from capacity.question.plan import PLAIN_ROUTINGS, Routing
from capacity.render.deploy.registry import render
from serve_api import balancer
from serve_api.balancer import command, free_port, placed

PROGRAMS = {name: balancer.program(name) for name in balancer.NAMES}
BOTH = [
    pytest.param(
        name,
        marks=pytest.mark.skipif(
            path is None, reason=f"{name} is not installed; `bash .ci/balancers` does it on Debian"
        ),
    )
    for name, path in PROGRAMS.items()
]
both = pytest.mark.parametrize("name", BOTH)
COOKIE = {"haproxy": "replica", "nginx": "session"}
TOKEN_S = 0.03
LINE = r"^ +server \S.*:\d+"  # of a server
CUT_OFF = 0  # in place of a status
Reply = tuple[int, dict[str, str], str]


@dataclass
class Server:
    """A server that holds each request for a while, counts them, and can be killed."""

    name: str
    hold_s: float = 0.0  # of each request
    tokens: int = 0  # that are streamed after it, one every `TOKEN_S`
    hangs: bool = False
    held: int = 0
    most: int = 0
    served: int = 0
    port: int = 0
    writers: set[asyncio.StreamWriter] = field(default_factory=set)
    listening: asyncio.Server | None = None

    async def start(self) -> None:
        self.listening = await asyncio.start_server(self.connected, "127.0.0.1", self.port, backlog=1024)
        self.port = self.listening.sockets[0].getsockname()[1]

    def kill(self) -> None:
        """Refuse connections, and drop those that there are, with what they wait for."""
        assert self.listening is not None
        self.listening.close()
        for one in self.writers:
            one.transport.abort()

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one request after another; the end cuts off who still waits for the next one."""
        self.writers.add(writer)
        with suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            while head := await reader.readuntil(b"\r\n\r\n"):
                length = re.search(rb"content-length: (\d+)", head, re.I)
                await reader.readexactly(int(length[1]) if length else 0)
                while self.hangs:
                    await asyncio.sleep(0.05)
                if head.startswith(b"POST"):
                    await self.work()
                await (self.stream(writer) if self.tokens else self.reply(writer))
                self.served += head.startswith(b"POST")
        self.writers.discard(writer)
        writer.close()

    async def reply(self, writer: asyncio.StreamWriter) -> None:
        name = self.name.encode()
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(name), name))
        await writer.drain()

    async def stream(self, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in range(self.tokens):
            writer.write(b"6\r\ntoken\n\r\n")
            await asyncio.sleep(TOKEN_S)
        writer.write(b"0\r\n\r\n")

    async def work(self) -> None:
        self.held += 1
        self.most = max(self.most, self.held)
        try:
            await asyncio.sleep(self.hold_s)
        finally:
            self.held -= 1


@dataclass
class Front:
    """A balancer that runs, and the servers behind it."""

    port: int
    servers: list[Server]

    async def ask(self, length: int = 2, **headers: str) -> Reply:
        """Status, headers and body of the reply to one request on a connection of its own, which may be cut off."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        given = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
        writer.write(
            f"POST / HTTP/1.1\r\nHost: x\r\n{given}Content-Length: {length}\r\nConnection: close\r\n\r\n"
            f"{'x' * length}".encode()
        )
        head, _, body = (await reader.read()).decode().partition("\r\n\r\n")
        writer.close()
        if not head:
            return CUT_OFF, {}, ""
        line, *rest = head.split("\r\n")
        pairs = (one.partition(": ") for one in rest)
        return int(line.split()[1]), {key.lower(): value for key, _, value in pairs}, body

    async def statuses(self, requests: int) -> Counter[int]:
        """The statuses of this many requests at once."""
        return Counter(one[0] for one in await asyncio.gather(*(self.ask() for _ in range(requests))))


def written(text: str, port: int, ports: list[int], folder: Path, fall: int = 60) -> Path:
    """A rendered file with the ports of here, and two workers of nginx on any machine.

    A probe may fail for 30 s, or servers in a test on a busy machine would be left out.
    """
    text = placed(text, port, [f"http://127.0.0.1:{one}" for one in ports], folder)
    path = folder / "balancer.cfg"
    text = text.replace("worker_processes auto;", "worker_processes 2;").replace("fall 2", f"fall {fall}")
    path.write_text(text, encoding="utf-8")
    return path


@asynccontextmanager
async def front(
    name: str, plan: SavedPlan, folder: Path, hold_s: float = 0.0, fall: int = 60, ports: Sequence[int] = ()
) -> AsyncIterator[Front]:
    """The balancer in front of as many servers as its file has lines for, each of which holds a request that long.

    Args:
        ports: of the servers; free ones if none are given.
    """
    text = render(plan, name)
    count = len(re.findall(LINE, text, re.M))
    servers = [
        Server(f"server-{number}", port=port)
        for number, port in zip(range(count), ports or [0] * count, strict=True)
    ]
    async with AsyncExitStack() as stack:
        for one in servers:
            await one.start()
            stack.callback(one.kill)
        port = free_port()  # now that the servers have theirs
        path = written(text, port, [one.port for one in servers], folder, fall)
        process = subprocess.Popen(command(name, path), stderr=subprocess.DEVNULL)
        stack.callback(process.wait)
        stack.callback(process.terminate)
        found = Front(port, servers)
        await until(process, found.ask)
        for one in servers:
            one.served, one.most, one.hold_s = 0, 0, hold_s
        yield found


async def until(process: "subprocess.Popen[bytes]", ask: Callable[[], Coroutine[Any, Any, Reply]]) -> None:
    """Ask until the balancer answers."""
    for _ in range(400):
        assert process.poll() is None, "the balancer has ended"
        with suppress(OSError):
            if (await ask())[0] == 200:
                return
        await asyncio.sleep(0.05)
    raise AssertionError("the balancer does not answer")


def run(work: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(work, 120.0))


def engines(routing: Routing, replicas: int = 3) -> SavedPlan:
    return saved(plan=replace(PLAN, routing=routing, replicas=replicas))


@both
@pytest.mark.parametrize("routing", Routing)
def test_each_takes_what_is_rendered(name: str, routing: Routing, tmp_path: Path) -> None:
    """The balancer itself reads the file, with no error and no warning."""
    plans = [] if routing is Routing.SHARED_QUEUE else [engines(routing)]
    if routing in PLAIN_ROUTINGS:
        tried = recovery(deadline_s=1.2, retried=["rejected", "crashed"])
        slowly = recovery(flags=("--slow-start", "30s"))
        plans += [saved_plan(routing=routing), saved_plan(routing=routing, queue_limit=None, recovery=tried)]
        plans += [saved_plan(routing=routing, recovery=slowly)]
    for plan in plans:
        text = render(plan, name)
        ports = list(range(9000, 9000 + len(re.findall(LINE, text, re.M))))
        path = written(text, 8080, ports, tmp_path)
        only_checked = ["-c", "-dW"] if name == "haproxy" else ["-t"]
        words = [*command(name, path), *only_checked]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        said = [line for line in done.stderr.splitlines() if "open file resource limit" not in line]
        assert "warn" not in "".join(said).lower(), done.stderr


NAMES = pytest.mark.parametrize("name", PROGRAMS)


@NAMES
def test_what_a_balancer_has_not_is_said(name: str) -> None:
    """Each of these is a comment, and the plan without it has none."""
    plain = unwrapped(render(saved_plan(queue_limit=None), name))
    prefix = unwrapped(render(engines(Routing.PREFIX_LLM_D), name))
    assert "cannot look into prompts, as prefix:llm-d does" in prefix
    assert "prefix:llm-d routing (of the balancer in front)" in unwrapped(
        render(engines(Routing.PREFIX_LLM_D), "guidellm")
    )
    shared = unwrapped(render(saved_plan(routing=Routing.SHARED_QUEUE), name))
    assert "all replicas have one queue, so that there is one server behind" in shared
    assert len(re.findall(LINE, render(saved_plan(routing=Routing.SHARED_QUEUE), name), re.M)) == 1
    least = unwrapped(render(saved_plan(routing=Routing.LEAST_OUTSTANDING), name))
    assert "gives ties to" in least
    assert not any(
        one in plain for one in ("Routing:", "Retries", "503", "timeout queue", "maxconn", "max_conns")
    )


@NAMES
@pytest.mark.parametrize("base", [Routing.LEAST_OUTSTANDING, Routing.POWER_OF_TWO])
def test_a_plan_for_the_balancers_own_rule_gets_it_without_a_word(name: str, base: Routing) -> None:
    other = next(one for one in PROGRAMS if one != name)
    texts = [
        render(saved_plan(routing=one), name)
        for one in (base, Routing(f"{base}:{name}"), Routing(f"{base}:{other}"))
    ]
    rules = {re.search(r"^ +(balance .*|least_conn;|random two .*)$", text, re.M)[0] for text in texts}
    assert len(rules) == 1
    said = [f"plan with --routing {base}:{name} to evaluate that" in unwrapped(text) for text in texts]
    assert said == [True, False, True]
    named = unwrapped(render(saved_plan(routing=Routing(f"{base}:{name}")), "keda"))
    assert f"{base}:{name} routing (--target {name});" in named


def test_a_slow_start_is_haproxys_slowstart_and_nothing_of_nginx() -> None:
    plan = saved_plan(replicas=3, queue_limit=8, recovery=recovery("--slow-start 30s"))
    settings, own, _ = parts(render(plan, "haproxy"))
    assert re.search(r"^ +default-server check .* slowstart 30s$", settings, re.M)
    assert "its weight grows for 30 s once it is back (slowstart), as in the plan" in own
    assert "HAProxy lowers the maxconn of that server too" in own
    settings, own, _ = parts(render(plan, "nginx"))
    assert "slow_start" not in settings
    assert "Open-source nginx has no slow start" in own
    at_once = parts(render(saved_plan(replicas=3, recovery=recovery()), "haproxy"))
    assert "slowstart" not in at_once[0]
    assert "gets its whole share as soon as it is back (no slowstart), as in the plan" in at_once[1]
    alone = saved_plan(replicas=1, recovery=recovery("--slow-start 30s"))
    assert "slowstart" not in parts(render(alone, "haproxy"))[0]
    idle = saved_plan(replicas=3, routing=Routing.LEAST_OUTSTANDING, recovery=recovery("--slow-start 30s"))
    assert "one without a request comes first all the same" in parts(render(idle, "haproxy"))[1]


@NAMES
@pytest.mark.parametrize(
    "given", [{"backoff": {"initial_s": 0.1, "max_s": 1.0}}, {"setting": "--retry-budget 0.1"}]
)
def test_retries_that_a_balancer_cannot_limit_are_left_to_the_clients(
    name: str, given: dict[str, Any]
) -> None:
    """Made without their budget they are what the fleet does not recover from."""
    settings, own, _ = parts(render(saved_plan(queue_limit=None, recovery=recovery(**given)), name))
    assert "Retries are left to the clients (--target envoy, istio or grpc)" in own
    assert not any(word in settings for word in ("response-timeout", "empty-response", "non_idempotent"))
    made, said, _ = parts(render(saved_plan(queue_limit=None, recovery=recovery()), name))
    assert "Retries are made here, and clients make none: 3 attempts of 500 ms each" in said
    assert any(word in made for word in ("response-timeout", "non_idempotent"))


@NAMES
def test_an_autoscaler_has_a_line_for_each_replica_that_it_may_start(name: str) -> None:
    text = render(saved_plan(autoscaled=autoscaled()), name)
    assert len(re.findall(LINE, text, re.M)) == 7
    assert "The autoscaler starts up to 7 servers" in unwrapped(text)


@both
def test_requests_take_turns(name: str, tmp_path: Path) -> None:
    """Also where two workers of nginx have them."""

    async def work() -> None:
        async with front(name, saved_plan(replicas=3), tmp_path) as fleet:
            assert await fleet.statuses(60) == {200: 60}
            assert [one.served for one in fleet.servers] == [20, 20, 20]

    run(work())


@both
def test_what_the_queues_have_no_place_for_gets_503(name: str, tmp_path: Path) -> None:
    """2 replicas, batches of 4 and 8 waiting each: 24 of 40 requests are served, and the others are refused."""
    plan = saved_plan(replicas=2, batch_size_max=4, queue_limit=8)

    async def work() -> None:
        async with front(name, plan, tmp_path, hold_s=1.0) as fleet:
            assert await fleet.statuses(40) == {200: 24, 503: 16}
            assert [one.most for one in fleet.servers] == [12, 12]

    run(work())


def test_workers_of_nginx_share_their_counts() -> None:
    """Which worker takes a connection is chance, and on a busy machine one may take them all."""
    text = render(saved_plan(replicas=2, queue_limit=8), "nginx")
    upstream = text[text.index("upstream ") : text.index("server {")]
    assert [line.split()[0] for line in upstream.splitlines()[1:3]] == ["zone", "server"]


@both
def test_an_attempt_ends_at_its_timeout(name: str, tmp_path: Path) -> None:
    """Servers hold it for longer: one attempt gets 504, and with three all servers have had it."""

    async def work(attempts: int, asked: int) -> None:
        plan = saved_plan(replicas=4, queue_limit=None, recovery=recovery(timeout_s=0.2, attempts=attempts))
        async with front(name, plan, tmp_path, hold_s=20.0) as fleet:
            assert (await fleet.ask())[0] == 504
            assert sum(one.most for one in fleet.servers) == asked

    run(work(1, 1))
    run(work(3, 3))


@both
def test_a_killed_server_loses_nothing_that_is_tried_again_and_is_left_out(name: str, tmp_path: Path) -> None:
    plan = saved_plan(replicas=3, queue_limit=None, recovery=recovery(timeout_s=30.0))

    async def work() -> None:
        async with front(name, plan, tmp_path, hold_s=0.2) as fleet:
            asked = asyncio.create_task(fleet.statuses(30))
            while sum(one.held for one in fleet.servers) < 30:
                await asyncio.sleep(0.01)
            fleet.servers[1].kill()
            assert await asked == {200: 30}
            assert fleet.servers[1].served == 0
            assert await fleet.statuses(30) == {200: 30}

    run(work())


@both
def test_a_post_that_was_sent_is_not_sent_again_if_clients_do_not_try_again(
    name: str, tmp_path: Path
) -> None:
    """What the killed server held fails, and what comes after it goes to the others."""

    async def work() -> None:
        async with front(name, saved_plan(replicas=3, queue_limit=None), tmp_path, hold_s=0.2) as fleet:
            asked = asyncio.create_task(fleet.statuses(30))
            while sum(one.held for one in fleet.servers) < 30:
                await asyncio.sleep(0.01)
            fleet.servers[1].kill()
            assert await asked == {200: 20, 502: 10}
            assert await fleet.statuses(30) == {200: 30}

    run(work())


@pytest.mark.skipif(PROGRAMS["haproxy"] is None, reason="HAProxy is not installed")
def test_a_server_that_hangs_is_left_out_by_its_probe(tmp_path: Path) -> None:
    """It still accepts connections; what it holds fails as it is found out, and nothing comes after that."""

    async def work() -> None:
        plan = saved_plan(replicas=3, queue_limit=None)
        async with front("haproxy", plan, tmp_path, fall=2) as fleet:
            fleet.servers[1].hangs = True
            assert (await fleet.statuses(30))[CUT_OFF] >= 10
            for _ in range(20):  # the others may have been late themselves, on a busy machine
                if await fleet.statuses(30) == {200: 30}:
                    break
                await asyncio.sleep(0.5)
            else:
                raise AssertionError("the server is not left out")

    run(work())


@both
def test_a_session_stays_at_a_server(name: str, tmp_path: Path) -> None:
    """The hash of its header decides."""

    async def work() -> None:
        async with front(name, engines(Routing.SESSION), tmp_path) as fleet:
            places = {number: await fleet.ask(x_session_id=f"session {number}") for number in range(60)}
            for number, (_, _, server) in places.items():
                assert (await fleet.ask(x_session_id=f"session {number}"))[2] == server
            assert min(Counter(server for _, _, server in places.values()).values()) > 5

    run(work())


@both
@pytest.mark.parametrize(
    "plan", [saved_plan(replicas=2), engines(Routing.ROUND_ROBIN)], ids=["batches", "engines"]
)
def test_a_long_request_gets_through(name: str, plan: SavedPlan, tmp_path: Path) -> None:
    """Ten times as long as a balancer's buffers."""

    async def work() -> None:
        async with front(name, plan, tmp_path) as fleet:
            assert (await fleet.ask(length=160_000))[0] == 200

    run(work())


@both
def test_tokens_are_passed_on_as_they_come(name: str, tmp_path: Path) -> None:
    """Not together after 200 ms, the time for which Linux holds what a sender says there is more of."""

    async def work() -> None:
        async with front(name, engines(Routing.SESSION), tmp_path) as fleet:
            for one in fleet.servers:
                one.tokens = 20
            reader, writer = await asyncio.open_connection("127.0.0.1", fleet.port)
            writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nx-session-id: 1\r\nContent-Length: 2\r\n\r\n{}")
            loop, stamps_s = asyncio.get_running_loop(), []
            while len(stamps_s) < 20:
                if await reader.readline() == b"token\n":
                    stamps_s.append(loop.time())
            writer.close()
            gaps_s = sorted(later - earlier for earlier, later in pairwise(stamps_s))
            assert gaps_s[9] == pytest.approx(TOKEN_S, abs=0.01)  # half of them together are next to nothing

    run(work())


@both
def test_a_cookie_keeps_a_session_at_a_server(name: str, tmp_path: Path) -> None:
    """The balancer sets it by itself with the first answer, and knows it again."""

    async def work() -> None:
        async with front(name, engines(Routing.SESSION_COOKIE), tmp_path) as fleet:
            seen = set()
            for _ in range(20):
                _, headers, server = await fleet.ask()
                cookie = headers["set-cookie"].split(";")[0]
                assert cookie.startswith(f"{COOKIE[name]}=")
                assert {(await fleet.ask(cookie=cookie))[2] for _ in range(4)} == {server}
                seen.add(server)
            assert len(seen) == 3

    run(work())


@both
@pytest.mark.parametrize("routing", [Routing.RANDOM, Routing.SESSION])
def test_shares_are_even(name: str, routing: Routing, tmp_path: Path) -> None:
    """Eight servers are as many points on a ring of hashes as make its arcs equal."""
    plan = engines(routing, 8)

    async def work() -> None:
        async with front(name, plan, tmp_path) as fleet:
            for _ in range(40):
                await asyncio.gather(*(fleet.ask(x_session_id=os.urandom(8).hex()) for _ in range(50)))
            served = [one.served for one in fleet.servers]
            assert sum((one - 250) ** 2 / 250 for one in served) < 40.0, served

    run(work())
