"""HAProxy: the configuration of a balancer in front of the plan's servers."""

from collections.abc import Iterator
from dataclasses import replace

from capacity.question.plan import Routing
from capacity.render.deploy import balanced as common
from capacity.render.deploy.balanced import Balanced, balanced, evaluate, indented, timer
from capacity.render.deploy.features import AnyPlan, Feature
from capacity.render.deploy.header import header_of
from capacity.server.engine.ring import HAPROXY_WEIGHT
from capacity.server.engine.router import SESSION_HEADER
from capacity.traffic.clients import Failure

NAME = "haproxy"
FILE = "haproxy.cfg"
PLANS = AnyPlan
COVERS = replace(common.COVERS, sets=common.COVERS.sets | {Feature.OUTSTANDING_MAX, Feature.SLOW_START})
_LEAST = "leastconn"
_BALANCE = {
    Routing.ROUND_ROBIN: "roundrobin",
    Routing.RANDOM: "random(1)",
    Routing.POWER_OF_TWO: "random(2)",
    Routing.LEAST_OUTSTANDING: _LEAST,
    Routing.SESSION: f"hdr({SESSION_HEADER})",
    Routing.SESSION_COOKIE: _LEAST,
}
ROUTINGS = common.routings_of(NAME, _BALANCE)
# Their servers are points on a ring of hashes, 16 for each unit of weight: with 16 alone the shares are uneven.
_ON_A_RING = (Routing.RANDOM, Routing.POWER_OF_TWO, Routing.SESSION)
_RETRY_ON = {
    Failure.REJECTED: "503",
    Failure.TIMED_OUT: "response-timeout",
    Failure.CRASHED: "empty-response",
}
_PROBE = "inter 500ms fall 2 rise 1"


def render(plan: AnyPlan) -> str:
    """Defaults, a frontend, and a backend with a line for each server.

    Raises:
        InputError: a plan of engines for users without a rate.
    """
    of = balanced(plan)
    body = f"""\
defaults
    mode http
    timeout connect {timer(of.connect_s)}
    timeout client {timer(max(60.0, of.silence_s))}
    timeout server {timer(of.silence_s)} # {of.silence_why}
    timeout http-request 10s
    timeout http-keep-alive 60s
    option abortonclose # a client that has left frees its connections
    option redispatch 1 # each retry goes to another server
{indented((*_streams(of), *_retries(of)), 4)}\

frontend clients
    bind :{common.CLIENTS_PORT}
    default_backend {of.name}

backend {of.name}
{indented(_backend(of), 4)}"""
    return header_of(of.deployed.saved, NAME, _notes(of)) + body


def _streams(of: Balanced) -> Iterator[str]:
    if of.is_streamed:
        yield "option http-no-delay # each token at once: without it some wait for more, up to 200 ms"


def _retries(of: Balanced) -> Iterator[str]:
    if of.tries_again:
        yield f"retries {of.clients.attempts - 1}"
        yield f"retry-on conn-failure {of.retried(_RETRY_ON)}"
    else:
        yield "retries 1"
        yield "retry-on conn-failure"


def _backend(of: Balanced) -> Iterator[str]:
    routing = of.plan.routing
    if of.is_routed:
        yield f"balance {_BALANCE.get(routing.base, _LEAST)}"
    if of.is_routed and routing.base is Routing.SESSION:
        yield "hash-type consistent sdbm avalanche"
    has_cookie = of.is_routed and routing is Routing.SESSION_COOKIE
    if has_cookie:
        yield f"cookie replica insert indirect nocache maxidle {max(1, round(of.router.forget_s))}s"
    if of.places is not None:
        yield "timeout queue 1ms # a request waits at a server or not at all: without a place there it gets 503"
    if of.outstanding_max is not None:
        yield f"timeout queue {timer(of.silence_s)} # for as long a request waits here for a server with a place"
    yield f"option httpchk GET {of.health}"
    yield f"default-server {' '.join(_server(of))}"
    for name, address in of.addresses:
        yield f"server {name} {address}{f' cookie {name}' if has_cookie else ''}"


def _server(of: Balanced) -> Iterator[str]:
    """What all servers have in common."""
    yield f"check {_PROBE} init-addr last,libc,none"
    if of.clients.timeout_s is None:  # else an attempt that a hung server holds ends by itself
        yield "on-marked-down shutdown-sessions"
    if of.is_routed and of.plan.routing.base in _ON_A_RING:
        yield f"weight {HAPROXY_WEIGHT}"
    if of.places is not None:
        yield f"maxconn {of.places}"
    if of.outstanding_max is not None:
        yield f"maxconn {of.outstanding_max}"
    if of.slow_start_s and of.is_routed:
        yield f"slowstart {of.slow_start_s}s"


def _notes(of: Balanced) -> Iterator[str]:
    yield from of.notes("HAProxy", ROUTINGS, _LEAST)
    if of.is_routed:
        yield from _routing_notes(of)
    if of.places is not None:
        yield (
            f"maxconn counts requests: {of.places} fill the queue and the batches of a server. Without a place it gets "
            "503 within 1 ms."
        )
    if of.outstanding_max is not None:
        yield (
            f"maxconn counts requests: {of.outstanding_max} are the batch in service and the queue of a server. Those "
            "without a place wait here, first come first served, as in the plan."
        )
    if of.places is not None and of.is_routed and of.plan.routing is Routing.ROUND_ROBIN:
        yield "roundrobin passes a full server over, where the plan counts a rejected request."
    if of.tries_again and of.clients.deadline_s is not None:
        yield "HAProxy has no time limit for all attempts together."
    if of.tries_again:
        yield "A request longer than tune.bufsize, 16 kB if not set, is sent again only if no connection was made."
    holds = (
        "What it still holds then fails, so that a server that drains should finish within that second."
        if of.clients.timeout_s is None
        else "What it holds ends by itself, at the timeout at the latest."
    )
    yield (
        f"The probe asks for {of.health}; change that where a server's is another. One whose probe fails is left out "
        f"within a second, and {_once_back(of)}, as in the plan. {holds}"
    )
    if of.slow_start_s and of.is_routed:
        yield from _slow_start_notes(of)
    yield "Each client and each request under way is a connection: both follow from `ulimit -n`."


def _once_back(of: Balanced) -> str:
    if of.slow_start_s and of.is_routed:
        return f"its weight grows for {of.slow_start_s} s once it is back (slowstart)"
    return "gets its whole share as soon as it is back (no slowstart)"


def _slow_start_notes(of: Balanced) -> Iterator[str]:
    """Where HAProxy's slow start differs from the evaluated one."""
    if of.places is not None:
        yield "Meanwhile HAProxy lowers the maxconn of that server too, from 1 on, which the plan does not."
    if of.plan.routing is Routing.LEAST_OUTSTANDING:
        yield "leastconn goes by weights among servers that are busy; one without a request comes first all the same."


def _routing_notes(of: Balanced) -> Iterator[str]:
    routing = of.plan.routing
    if routing.base is Routing.LEAST_OUTSTANDING and routing is not Routing.LEAST_OUTSTANDING_HAPROXY:
        yield (
            "Routing: leastconn gives ties to the server whose number of requests changed longest ago, and the plan "
            f"was evaluated with another rule for ties; {evaluate(Routing.LEAST_OUTSTANDING_HAPROXY)}"
        )
    if routing.base is Routing.POWER_OF_TWO and routing is not Routing.POWER_OF_TWO_HAPROXY:
        yield (
            "Routing: random(2) draws with replacement, so that both draws may be one server, and the plan draws two; "
            f"{evaluate(Routing.POWER_OF_TWO_HAPROXY)}"
        )
    if routing.base is Routing.SESSION:
        yield f"Routing: sessions are told apart by the header {SESSION_HEADER}; requests without it go in turn."
        yield from of.ring_notes("HAProxy", Routing.SESSION_HAPROXY)
    if routing is Routing.SESSION_COOKIE:
        yield "Routing: the cookie is HAProxy's own; clients must send it back."
