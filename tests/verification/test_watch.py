"""What servers tell by their metrics: at the instants of looks, how busy they were, and how they batch."""

import asyncio
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from fake_server import Reply, metrics_page, serving
from virtual_time import VirtualClock, run

from capacity.errors import DependencyError
from capacity.measurement.http import parse_address
from capacity.measurement.metrics import Histogram, read_page
from capacity.measurement.sections import SECTIONS_MAX
from capacity.server.batch.plan import BatchPlan
from capacity.verification.clock import WallClock, precise_runner
from capacity.verification.watch import Look, MetricsWatch, ServerUse, batching_notes, look_instants_s, uses
from capacity.verification.watch import look as look_at


def watched(urls, instants_s):
    addresses = tuple(parse_address(f"{url}/metrics", "--metrics") for url in urls)
    watch, clock = MetricsWatch(addresses, np.asarray(instants_s)), WallClock()
    with precise_runner() as runner:
        runner.run(watch.run(clock, clock.now_s()))
    return watch


@pytest.mark.parametrize(
    ("start_s", "end_s", "sections"),
    [(5.0, 65.0, SECTIONS_MAX), (5.0, 15.0, SECTIONS_MAX), (0.0, 5.0, 10), (0.0, 4.9, 9), (1.0, 1.3, 1)],
)
def test_sections_are_not_too_short(start_s, end_s, sections):
    instants_s = look_instants_s(start_s, end_s)
    assert len(instants_s) == sections + 1
    assert (instants_s[0], instants_s[-1]) == (start_s, end_s)


def test_looks_are_at_their_instants_and_tell_what_was_done_between():
    served = []

    def answer(target, body):
        served.append(0.002)
        return Reply(body=metrics_page({4: served}))

    with serving(answer) as server:
        watch = watched([server.url], [0.05, 0.15, 0.3])
    assert [path for _, path, _ in server.asked] == ["/metrics"] * 3
    assert watch.failure is None
    instants_s = [look.instant_s for look in watch.looks]
    assert all(found >= wanted for found, wanted in zip(instants_s, (0.05, 0.15, 0.3), strict=True))
    found = uses(watch.looks)
    assert [(use.batches, use.requests) for use in found] == [(1, 4), (1, 4)]
    assert sum(use.lasting_s for use in found) == pytest.approx(instants_s[-1] - instants_s[0])


def test_a_look_that_fails_is_left_out_and_said():
    """At one of two replicas: what the other did meanwhile tells nothing of both."""
    asked = []

    def answer(target, body):
        asked.append(target)
        return Reply(status=503) if len(asked) == 2 else Reply(body=metrics_page({1: [0.001]}))

    with serving(answer) as one, serving(lambda *_: Reply(body=metrics_page({1: [0.001]}))) as other:
        watch = watched([one.url, other.url], [0.0, 0.05, 0.1])
    assert len(watch.looks) == 2
    assert all(len(look.pages) == 2 for look in watch.looks)
    assert watch.failure.endswith("answered 503: {}")


def test_the_instant_of_a_look_is_the_middle_of_its_duration(monkeypatch):
    """Two replicas answer after 0.25 s and 0.5 s; a look that falls due during another one follows at once."""
    asked_s = []

    async def fetch(client, address, *, slow):
        now_s = asyncio.get_running_loop().time()
        asked_s.append(now_s)
        await asyncio.sleep(0.25 * int(address.host[-1]))
        return SimpleNamespace(body=address.host.encode())

    waits_s = []

    @asynccontextmanager
    async def session(timeout_s):
        waits_s.append(timeout_s)
        yield None

    monkeypatch.setattr("capacity.verification.watch.fetch", fetch)
    monkeypatch.setattr("capacity.verification.watch.session", session)
    addresses = tuple(parse_address(f"http://10.0.0.{number}/metrics", "--metrics") for number in (1, 2))
    watch = MetricsWatch(addresses, np.array([1.0, 1.25, 5.0]))
    run(watch.run(VirtualClock(), 10.0))
    assert asked_s == pytest.approx([11.0, 11.0, 11.5, 11.5, 15.0, 15.0])
    assert [look.instant_s for look in watch.looks] == pytest.approx([1.25, 1.75, 5.25])
    assert watch.looks[0].pages == (b"10.0.0.1", b"10.0.0.2")
    assert waits_s == [5.0]


def test_a_look_asks_each_server_with_a_timeout_of_ten_seconds(monkeypatch):
    asked = []

    @contextmanager
    def exchange(address, *, timeout_s, slow):
        asked.append((address.host, timeout_s, slow))
        yield SimpleNamespace(ask=lambda: SimpleNamespace(body=f"a {address.port}\n".encode()))

    monkeypatch.setattr("capacity.verification.watch.Exchange", exchange)
    addresses = [parse_address(f"http://h:{port}/metrics", "--metrics") for port in (81, 82)]
    assert [page.total("a") for page in look_at(addresses)] == [81.0, 82.0]
    assert asked == [("h", 10.0, "is it overloaded? its metrics must answer at once")] * 2


def test_a_redirect_is_not_followed():
    with serving(lambda *_: Reply()) as elsewhere:
        to = {"Location": f"{elsewhere.url}/metrics"}
        with serving(lambda *_: Reply(status=307, headers=to)) as server:
            watch = watched([server.url], [0.0])
        assert elsewhere.asked == []
    assert (watch.looks, "redirects to" in watch.failure) == ([], True)


PAGE = """# TYPE serve_batch_seconds histogram
serve_batch_seconds_bucket{{batch_size="{size}",le="+Inf"}} {count}
serve_batch_seconds_count{{batch_size="{size}"}} {count}
serve_batch_seconds_sum{{batch_size="{size}"}} {busy_s}
"""
EMPTY = b"# TYPE other gauge\nother 1\n"


def histogram(count, busy_s):
    return Histogram(bounds_s=(float("inf"),), counts=(count,), sum_s=busy_s)


def page(size, count, busy_s):
    return PAGE.format(size=size, count=count, busy_s=busy_s).encode()


def look(instant_s, *pages):
    return Look(instant_s=instant_s, pages=pages)


def test_batches_and_time_add_up_over_sizes_and_replicas():
    use = ServerUse.of([{1: histogram(10, 0.5), 4: histogram(5, 1.0)}, {2: histogram(5, 0.5)}], 4.0)
    assert use == ServerUse(batches=20, requests=40, busy_s=2.0, lasting_s=4.0)


def test_each_section_is_from_look_to_look():
    """A request that hangs on after the last look makes no section longer."""
    found = uses([look(5.0, page(2, 10, 1.0)), look(8.0, page(2, 20, 2.5)), look(12.0, page(2, 21, 2.6))])
    assert [(use.batches, use.requests, use.lasting_s) for use in found] == [(10, 20, 3.0), (1, 2, 4.0)]
    assert [use.busy_s for use in found] == pytest.approx([1.5, 0.1])


def test_a_server_that_has_served_nothing_yet_was_idle():
    found = uses([look(0.0, EMPTY), look(1.0, EMPTY), look(2.0, page(1, 3, 0.3))])
    assert [use.batches for use in found] == [0, 3]


@pytest.mark.parametrize(
    ("looks", "said"),
    [
        ([look(0.0, page(1, 1, 0.1))], "read at most once"),
        ([look(0.0, EMPTY), look(1.0, EMPTY)], "no histogram"),
        ([look(0.0, page(1, 9, 0.9)), look(1.0, page(1, 2, 0.2)), look(2.0, page(1, 19, 1.9))], "restart"),
        ([look(0.0, b"\xff"), look(1.0, EMPTY)], "not UTF-8"),
    ],
    ids=["one look", "no histogram", "restarted", "binary"],
)
def test_looks_that_tell_nothing(looks, said):
    with pytest.raises(DependencyError, match=said):
        uses(looks)


PLAN = BatchPlan(profile="mlp", replicas=3, batch_size_max=8, batch_wait_max_s=0.0037287)
AS_PLANNED = "serve_batch_size_max 8.0\nserve_batch_wait_max_seconds 0.003729\n"


def notes(*pages: str) -> tuple[str, ...]:
    addresses = [parse_address(f"http://10.0.0.{n}:80{n}/metrics", "--url") for n in range(len(pages))]
    return batching_notes(addresses, [read_page(page.encode()) for page in pages], PLAN)


@pytest.mark.parametrize(
    "page",
    [
        AS_PLANNED,
        "other 1\n",
        "serve_batch_size_max 8.0\n",
        "serve_batch_wait_max_seconds 0.0037\n",
        "serve_batch_size_max NaN\nserve_batch_wait_max_seconds -1\n",
        "serve_batch_size_max +Inf\n",
        f"serve_batch_size_max {2**53}\n",
        "serve_batch_wait_max_seconds 0.0038\n",
    ],
)
def test_servers_as_planned_and_servers_that_do_not_tell_need_no_note(page: str) -> None:
    assert notes(page) == ()


@pytest.mark.parametrize(
    ("page", "said"),
    [
        ("serve_batch_size_max 32.0\n", "batches up to 32 that wait up to 3.73 ms"),
        ("serve_batch_wait_max_seconds 0.0\n", "batches up to 8 that wait up to 0 s"),
        ("serve_batch_wait_max_seconds 0.0039\n", "batches up to 8 that wait up to 3.9 ms"),
    ],
)
def test_another_size_or_wait_is_told_with_both_and_the_mend(page: str, said: str) -> None:
    (note,) = notes(page)
    assert note.startswith(f"10.0.0.0:800 reports {said}, but the plan has batches up to 8 that wait up")
    assert "start it as planned, or verify it as it is with --profile, --rate, --batch-size-max" in note


def test_a_wait_is_told_as_the_flag_takes_it() -> None:
    (note,) = notes("serve_batch_size_max 32.0\nserve_batch_wait_max_seconds 0.005\n")
    assert note.endswith("--batch-size-max 32, --batch-wait 5ms and the rest of the plan")


@pytest.mark.parametrize(("told_s", "is_noted"), [("0.0000005", False), ("0.000002", True)])
def test_a_wait_of_a_microsecond_counts_as_none(told_s: str, is_noted: bool) -> None:
    plan = replace(PLAN, batch_wait_max_s=0.0)
    page = read_page(f"serve_batch_wait_max_seconds {told_s}\n".encode())
    assert bool(batching_notes([parse_address("http://h/", "--url")], [page], plan)) == is_noted


def test_the_largest_exact_whole_number_is_a_batch_size() -> None:
    (note,) = notes(f"serve_batch_size_max {2**53 - 1}\n")
    assert note.startswith("10.0.0.0:800 reports batches up to 9007199254740991 that")


def test_of_several_servers_the_first_that_differs_is_named() -> None:
    (note,) = notes(AS_PLANNED, AS_PLANNED + "x 1\n", AS_PLANNED.replace("8.0", "4.0"))
    assert note.startswith("10.0.0.2:802 reports batches up to 4 ")
