"""nginx: the configuration of a balancer in front of the plan's servers."""

from collections.abc import Iterator
from dataclasses import replace

from capacity.question.plan import Routing
from capacity.recovery.protection import EJECTED_AFTER, LEFT_OUT_S
from capacity.render.deploy import balanced as common
from capacity.render.deploy.balanced import Balanced, balanced, evaluate, indented, timer
from capacity.render.deploy.features import AnyPlan, Feature
from capacity.render.deploy.header import header_of
from capacity.server.engine.ring import NGINX_WEIGHT
from capacity.server.engine.router import SESSION_HEADER
from capacity.traffic.clients import Failure

NAME = "nginx"
FILE = "nginx.conf"
PLANS = AnyPlan
COVERS = replace(common.COVERS, says=common.COVERS.says | {Feature.OUTSTANDING_MAX, Feature.SLOW_START})
_LEAST = "least_conn;"
_BALANCE = {
    Routing.ROUND_ROBIN: "",
    Routing.RANDOM: "random;",
    Routing.POWER_OF_TWO: "random two least_conn;",
    Routing.LEAST_OUTSTANDING: _LEAST,
    Routing.SESSION: f"hash $http_{SESSION_HEADER.replace('-', '_')} consistent;",
    # The cookie that the client sent, or the one that it gets with this answer.
    Routing.SESSION_COOKIE: "hash $uid_got$uid_set consistent;",
}
ROUTINGS = common.routings_of(NAME, _BALANCE)
# Points of a server on the ring of hashes are 160 for each unit of weight, too few for even shares.
_BY_HASH = (Routing.SESSION, Routing.SESSION_COOKIE)
_RETRY_ON = {
    Failure.REJECTED: "http_503",
    Failure.TIMED_OUT: "timeout",
    Failure.CRASHED: "error",
}


def render(plan: AnyPlan) -> str:
    """A whole nginx.conf: one upstream with a line for each server, and all that comes is sent there.

    Raises:
        InputError: a plan of engines for users without a rate.
    """
    of = balanced(plan)
    body = f"""\
worker_processes auto;

events {{
    worker_connections 4096; # of each worker, those of clients and to servers together
}}

http {{
    access_log off;
    client_max_body_size 0; # the servers limit it
{indented(_prompts(of), 4)}\

    upstream {of.name} {{
{indented(_upstream(of), 8)}\
    }}

    server {{
        listen {common.CLIENTS_PORT};
{indented(_cookie(of), 8)}\

        location / {{
            proxy_pass http://{of.name};
            proxy_http_version 1.1;
            proxy_set_header Connection ""; # connections to the servers are kept
            proxy_set_header Host $host;
            proxy_buffering off; # a stream passes as it comes
            proxy_connect_timeout {timer(of.connect_s)};
            proxy_read_timeout {timer(of.silence_s)}; # {of.silence_why}
{indented(_retries(of), 12)}\
{indented(_full(of), 12)}\
        }}
{_refusal(of)}\
    }}
}}
"""
    return header_of(of.deployed.saved, NAME, _notes(of)) + body


def _prompts(of: Balanced) -> Iterator[str]:
    if of.is_streamed:
        yield "client_body_buffer_size 1m; # a long prompt stays in memory; beyond 16k it would go by a file"


def _upstream(of: Balanced) -> Iterator[str]:
    routing = of.plan.routing
    yield f"zone {of.name} {64 + 2 * of.servers}k; # workers share their counts; without it each has its own"
    if of.is_routed and (balance := _BALANCE.get(routing.base, _LEAST)):
        yield balance
    weight = f" weight={NGINX_WEIGHT}" if of.is_routed and routing.base in _BY_HASH else ""
    most = "" if of.places is None else f" max_conns={of.places}"
    for _, address in of.addresses:
        yield f"server {address}{weight}{most} max_fails={EJECTED_AFTER} fail_timeout={LEFT_OUT_S}s;"
    yield "keepalive 64;"
    yield "keepalive_timeout 4s; # less than the servers', 5 s where uvicorn serves"


def _cookie(of: Balanced) -> Iterator[str]:
    if of.is_routed and of.plan.routing is Routing.SESSION_COOKIE:
        yield "userid on;"
        yield "userid_name session;"


def _retries(of: Balanced) -> Iterator[str]:
    if of.tries_again:
        yield f"proxy_next_upstream {of.retried(_RETRY_ON)} non_idempotent;"
        yield f"proxy_next_upstream_tries {of.clients.attempts};"
        if of.clients.undecided_s:
            yield f"proxy_next_upstream_timeout {timer(of.clients.undecided_s)}; # of all attempts together"
    else:
        yield "proxy_next_upstream error timeout; # a POST that was sent is not sent again"


def _full(of: Balanced) -> Iterator[str]:
    if of.places is not None:
        yield "error_page 502 = @refused;"


def _refusal(of: Balanced) -> str:
    """What nginx answers if no server has a place, which is 502 by itself, as for a server that failed."""
    if of.places is None:
        return ""
    return f"""
        location @refused {{
            if ($upstream_addr ~ "{of.name}$") {{ # no server was chosen
                return 503;
            }}
            return 502;
        }}
"""


def _notes(of: Balanced) -> Iterator[str]:
    yield from of.notes("nginx", ROUTINGS, _LEAST.rstrip(";"))
    if of.is_routed:
        yield from _routing_notes(of)
    if of.places is not None:
        yield (
            f"max_conns counts requests under way: {of.places} fill the queue and the batches of a server. If all are "
            "full, a request gets 503 at once. One that is full is passed over, where the plan counts a rejection."
        )
    if of.outstanding_max is not None:
        yield (
            f"The plan's {of.outstanding_max} outstanding requests at each server are not set: nginx answers 502 to a "
            "request that finds all servers at their max_conns, and holds none back. --target haproxy does."
        )
    if of.tries_again:
        yield "nginx sends a request to each server once at most, however many attempts are left."
    yield (
        f"nginx probes nothing by itself: after {EJECTED_AFTER} failures or timeouts it leaves a server out for one to "
        "two seconds, and then tries it by one request now and then until it answers; if all are out, as in an "
        "overload, requests get 502 at once, which lets queues drain. The plan did not evaluate that; capacity stress "
        "--ejection-rule nginx does. What it could not connect with goes to another server, so that one that drains "
        "must refuse new connections."
    )
    if of.slow_start_s and of.is_routed:
        yield (
            f"Open-source nginx has no slow start, so that a server that is back gets its whole share at once, and not "
            f"over {of.slow_start_s} s as in the plan: see --target haproxy, or give each server slow_start="
            f"{of.slow_start_s}s where nginx Plus runs."
        )
    if of.clients.timeout_s is not None and not of.tries_again:
        yield (
            "nginx counts a timeout only if the client still waits: let clients wait some 50 ms longer than "
            "proxy_read_timeout."
        )


def _routing_notes(of: Balanced) -> Iterator[str]:
    routing = of.plan.routing
    if routing.base is Routing.LEAST_OUTSTANDING and routing is not Routing.LEAST_OUTSTANDING_NGINX:
        yield (
            "Routing: least_conn gives ties to the next server in turn, and the plan was evaluated with another rule "
            f"for ties; {evaluate(Routing.LEAST_OUTSTANDING_NGINX)}"
        )
    if routing.base is Routing.POWER_OF_TWO and routing is not Routing.POWER_OF_TWO_NGINX:
        yield (
            "Routing: random two takes the second of two that have as many requests, and the plan was evaluated with "
            f"another rule; {evaluate(Routing.POWER_OF_TWO_NGINX)}"
        )
    if routing.base is Routing.SESSION:
        yield f"Routing: sessions are told apart by the header {SESSION_HEADER}; requests without it go in turn."
        yield from of.ring_notes("nginx", Routing.SESSION_NGINX)
        if not of.router.servers:
            yield (
                "nginx hashes the addresses of its servers as they stand here: others get other sessions, and other "
                "shares of them; plan with --routing session:nginx,servers=ADDRESS+ADDRESS to evaluate those."
            )
    if routing is Routing.SESSION_COOKIE:
        yield (
            "Routing: nginx picks the server by the hash of a cookie of its own, whatever the loads are, and the plan "
            f"sends a first turn to the least busy one; {evaluate(Routing.SESSION_NGINX)} Clients must send the cookie "
            "back."
        )
