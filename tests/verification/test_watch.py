"""Looks at metrics while requests are sent: at their instants, and a server that fails costs a look."""

import numpy as np
import pytest
from fake_server import Reply, metrics_page, serving

from capacity.measurement.http import parse_address
from capacity.measurement.intervals import SECTIONS_MAX
from capacity.verification.clock import WallClock, precise_runner
from capacity.verification.watch import MetricsWatch, look_instants_s, uses


def watched(urls, instants_s):
    addresses = tuple(parse_address(f"{url}/metrics", "--metrics") for url in urls)
    watch, clock = MetricsWatch(addresses, np.asarray(instants_s)), WallClock()
    with precise_runner() as runner:
        runner.run(watch.run(clock, clock.now_s()))
    return watch


@pytest.mark.parametrize(
    ("start_s", "end_s", "sections"),
    [(5.0, 65.0, SECTIONS_MAX), (5.0, 15.0, SECTIONS_MAX), (0.0, 5.0, 10), (1.0, 1.3, 1)],
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
    assert watch.failure.endswith("answered 503")


def test_a_redirect_is_not_followed():
    with serving(lambda *_: Reply()) as elsewhere:
        to = {"Location": f"{elsewhere.url}/metrics"}
        with serving(lambda *_: Reply(status=307, headers=to)) as server:
            watch = watched([server.url], [0.0])
        assert elsewhere.asked == []
    assert (watch.looks, watch.failure.endswith("answered 307")) == ([], True)
