"""A server that ends, without a process: what each signal does, in virtual time, and its port."""

import asyncio
import json
import signal
import socket
import sys
from types import SimpleNamespace

import pytest
from serving import MadeUp, a_store, service_of, settings
from virtual_time import run as virtual

from capacity.errors import InputError
from serve_api.server import process
from serve_api.server.app import create_app
from serve_api.server.process import DrainingServer, _port
from serve_api.server.settings import Settings


def server_of(**given):
    service = service_of(MadeUp(), **given)
    return DrainingServer(create_app(service), service), service


def test_connections_are_kept_longer_than_proxies_keep_them():
    """Load balancers close idle connections after 60 s by default; uvicorn drains for whole seconds."""
    server, _ = server_of(drain_max_s=12.5)
    assert (server.config.timeout_keep_alive, server.config.timeout_graceful_shutdown) == (75, 12)
    assert (server.config.access_log, server.config.server_header) == (False, False)
    assert (server.config.ws, server.config.lifespan, server.config.backlog) == ("none", "on", 4096)


def test_after_the_first_signal_a_server_is_not_ready_and_ends_after_the_delay(capsys):
    server, service = server_of(drain_delay_s=2.0)

    async def story():
        server.handle_exit(signal.SIGTERM, None)
        assert (service.draining, service.ready, server.should_exit) == (True, False, False)
        await asyncio.sleep(1.75)
        server.handle_exit(signal.SIGTERM, None)
        assert (server.should_exit, server.force_exit) == (False, False)
        await asyncio.sleep(0.5)
        assert (server.should_exit, server.force_exit) == (True, False)
        server.handle_exit(signal.SIGTERM, None)
        assert (server.should_exit, server.force_exit) == (True, False)

    virtual(story())
    (line,) = capsys.readouterr().err.splitlines()
    assert {"event": "draining", "in_flight": 0}.items() <= json.loads(line).items()


def test_a_second_ctrl_c_ends_a_draining_server_at_once():
    server, _ = server_of(drain_delay_s=2.0)

    async def story():
        server.handle_exit(signal.SIGINT, None)
        assert (server.should_exit, server.force_exit) == (False, False)
        server.handle_exit(signal.SIGINT, None)
        assert (server.should_exit, server.force_exit) == (True, True)

    virtual(story())


def test_a_port_in_use_is_refused():
    with _port(settings(host="127.0.0.1", port=0)) as bound:
        assert bound.family == socket.AF_INET
        number = bound.getsockname()[1]
        with pytest.raises(
            InputError, match=f"cannot listen on 127.0.0.1:{number}: .*; choose others with --host"
        ):
            _port(settings(host="127.0.0.1", port=number))


@pytest.mark.parametrize(("host", "shown"), [("127.0.0.1", "127.0.0.1"), ("::1", "[::1]")])
def test_a_server_prints_its_address(monkeypatch, capsys, host, shown):
    async def started(server, sockets):
        name = (host, 8123, 0, 0) if ":" in host else (host, 8123)
        server.servers = [SimpleNamespace(sockets=[SimpleNamespace(getsockname=lambda: name)])]

    monkeypatch.setattr("uvicorn.Server.startup", started)
    asyncio.run(server_of()[0].startup([]))
    assert capsys.readouterr().err == f"listening on http://{shown}:8123\n"


@pytest.mark.parametrize(
    ("hung", "abandoned", "is_left"), [(False, False, False), (True, False, True), (False, True, True)]
)
def test_a_thread_that_hangs_does_not_keep_the_process(monkeypatch, capsys, hung, abandoned, is_left):
    left, frozen, intervals, served = [], [], [], []
    nothing = SimpleNamespace(
        collect=lambda: frozen.append("collect"), freeze=lambda: frozen.append("freeze")
    )
    monkeypatch.setattr(process, "gc", nothing)
    monkeypatch.setattr(process.os, "_exit", left.append)
    monkeypatch.setattr(sys, "setswitchinterval", intervals.append)
    monkeypatch.setattr(DrainingServer, "run", lambda server, sockets: served.append(len(sockets)))
    service = service_of(MadeUp(), MadeUp("v1.1.0"), port=0)
    service.batcher.hung, service.batcher.abandoned = hung, abandoned
    process.run(service)
    assert left == ([0] if is_left else [])
    assert (frozen, intervals, served) == (["collect", "freeze"], [0.0005], [1])
    events = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [(one["event"], one.get("role"), one.get("version")) for one in events] == [
        ("loaded", "serving", "v1.0.0"),
        ("loaded", "canary", "v1.1.0"),
        ("ended", None, None),
    ]


def test_a_model_is_loaded_from_its_store_or_emulated_from_a_profile(monkeypatch, tmp_path):
    served, slept = [], []
    monkeypatch.setattr(process, "run", lambda *given: served.append(given))
    monkeypatch.setattr("serve_api.server.backend.time.sleep", slept.append)
    store = a_store(tmp_path)
    process.serve(settings(store.root))
    process.serve(Settings(emulate="resnet50-t4-fp16", batch_size_max=8))
    (stored, loader), (emulated,) = served
    assert (stored.versions.serving.version, loader.store.root) == ("v1.0.0", store.root)
    assert emulated.versions.serving.version == "resnet50-t4-fp16"
    assert len(slept) == 10  # the batches of the warm-up
