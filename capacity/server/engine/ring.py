"""Ring: the points of servers on a balancer's ring of hashes, where a session is on it, and the share of each server.

Hashes go from 0 to 2**32 - 1 and around. HAProxy gives one to the server whose point is nearest, before it or after it;
nginx to that of the next point. Weights are those that `capacity render` writes: fewer points have less even shares.

Source:
    HAProxy 3.0.11, src/lb_chash.c (chash_compute_server_key, chash_compute_node_key, chash_get_server_hash),
    include/haproxy/intops.h (__full_hash, after Bob Jenkins), src/hash.c (hash_sdbm), src/backend.c (gen_hash).
    nginx 1.26.3, src/http/modules/ngx_http_upstream_hash_module.c (ngx_http_upstream_init_chash,
    ngx_http_upstream_find_chash_point).
"""

import re
import zlib
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from capacity.question.plan import Routing
from capacity.server.engine.plan import TokenPlan

RING = 2**32
RINGS = (Routing.SESSION_HAPROXY, Routing.SESSION_NGINX)
HAPROXY_WEIGHT = 256
NGINX_WEIGHT = 16
_HAPROXY_POINTS, _NGINX_POINTS = 16 * HAPROXY_WEIGHT, 160 * NGINX_WEIGHT

Integers = npt.NDArray[np.int64]
Words = npt.NDArray[np.uint32]


class Ring(NamedTuple):
    """The points of all servers, rising, and the place of each point's server; shape `(points,)`.

    Attributes:
        is_nearest: whether a hash belongs to the nearest point, and to the one before it of two as near; if not, to the
            next point, which may be where it is itself.
    """

    points: Integers
    servers: Integers
    is_nearest: bool

    @property
    def shares(self) -> tuple[float, ...]:
        """Share of all hashes that each server has."""
        hashes = np.diff(self.points, prepend=self.points[-1] - RING)  # after a point, up to the next one
        before = hashes // 2 if self.is_nearest else np.zeros_like(hashes)
        count = int(self.servers.max()) + 1
        found = np.bincount(self.servers, hashes - before, count)
        found += np.bincount(np.roll(self.servers, 1), before, count)
        return tuple((found / RING).tolist())


@lru_cache(maxsize=64)
def ring_of(routing: Routing, replicas: int, servers: tuple[str, ...] = ()) -> Ring:
    """The ring of a balancer in front of some replicas.

    Args:
        servers: their addresses in the balancer's file, which nginx hashes; HAProxy numbers them.

    Raises:
        ValueError: nginx, and fewer addresses.
    """
    if routing is Routing.SESSION_NGINX:
        if len(servers) < replicas:
            raise ValueError(f"nginx's ring has {len(servers)} addresses for {replicas} replicas")
        points = np.array([_nginx_points(one) for one in servers[:replicas]], dtype=np.int64)
    else:
        points = np.array([_haproxy_points(number) for number in range(1, replicas + 1)], dtype=np.int64)
    owners = np.repeat(np.arange(replicas), points.shape[1])
    order = np.argsort(points.ravel(), kind="stable")
    return Ring(points.ravel()[order], owners[order], routing is Routing.SESSION_HAPROXY)


def even_replicas(plan: TokenPlan) -> float:
    """How many replicas with equal shares would saturate at the rate at which the busiest one of a fleet does."""
    if plan.routing not in RINGS:
        return plan.replicas
    return 1.0 / max(ring_of(plan.routing, plan.replicas, plan.router_told.servers).shares)


def spot_of(routing: Routing, name: str) -> int:
    """Where the ring of a balancer has a session that its header calls by this name."""
    return _haproxy_spot(name.encode()) if routing is Routing.SESSION_HAPROXY else zlib.crc32(name.encode())


def _haproxy_points(number: int) -> Words:
    """Points of the server with this number, from 1 on, in HAProxy's file."""
    places = np.arange(_HAPROXY_POINTS, dtype=np.uint32)
    return full_hash(places + full_hash(np.array([number], dtype=np.uint32)))


def _haproxy_spot(name: bytes) -> int:
    """`hash-type consistent sdbm avalanche`."""
    word = 0
    for byte in name:
        word = (byte + (word << 6) + (word << 16) - word) % RING
    return int(full_hash(np.array([word], dtype=np.uint32))[0])


def full_hash(words: Words) -> Words:
    """HAProxy's hash of words, which wrap around."""
    a = words
    a = (a + np.uint32(0x7ED55D16)) + (a << np.uint32(12))
    a = (a ^ np.uint32(0xC761C23C)) ^ (a >> np.uint32(19))
    a = (a + np.uint32(0x165667B1)) + (a << np.uint32(5))
    a = (a + np.uint32(0xD3A2646C)) ^ (a << np.uint32(9))
    a = (a + np.uint32(0xFD7046C5)) + (a << np.uint32(3))
    a = (a ^ np.uint32(0xB55A4F09)) ^ (a >> np.uint32(16))
    return a * np.uint32(3221225473)


def _nginx_points(address: str) -> list[int]:
    """Points of a server in nginx's file: hashes of its host and its port, each with the hash before it."""
    found = re.fullmatch(r"(?i:unix:)(?P<path>.*)|(?P<host>.*):(?P<port>\d*)", address, re.DOTALL)
    host, port = (found["path"] or found["host"], found["port"] or "") if found else (address, "")
    base, point, points = zlib.crc32(f"{host}\0{port}".encode()), 0, []
    for _ in range(_NGINX_POINTS):
        point = zlib.crc32(point.to_bytes(4, "little"), base)
        points.append(point)
    return points
