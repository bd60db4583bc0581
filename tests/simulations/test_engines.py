"""The race of the benchmarks: it finds a wrong P99 and a claim on speed that does not hold."""

import time

import engines
import numpy as np
import pytest
from systems import Contestant, System

from capacity.question.plan import Routing

pytestmark = pytest.mark.long

MM1 = System(
    name="M/M/1", rate_rps=0.5, replicas=1, routing=Routing.SHARED_QUEUE, warm_up=0, p99_s=-np.log(0.01) / 0.5
)


def engine(*, mean_s=2.0, slow_s=0.0):
    """Responses of M/M/1 at load 0.5: exponential with mean 2 s."""

    def serve(seed, requests):
        until_s = time.process_time() + slow_s
        while time.process_time() < until_s:
            pass
        return np.random.default_rng(seed).exponential(mean_s, requests)

    return serve


def race(monkeypatch, runs, musts=()):
    entered = [Contestant(name, MM1, 4_000, run) for name, run in runs.items()]
    monkeypatch.setattr(engines, "SYSTEMS", (MM1,))
    monkeypatch.setattr(engines, "contestants", lambda _: entered)
    monkeypatch.setattr(engines, "left_out", lambda _: {"absentee": "not installed"})
    monkeypatch.setattr(engines, "stay_on_one_core", lambda: None)  # the other tests are not to stay there
    monkeypatch.setattr(engines, "MUSTS", tuple(engines.Must(MM1, *must) for must in musts))
    monkeypatch.setattr("sys.argv", ["engines.py", "--quick"])
    return engines.main()


def test_equal_engines_pass(monkeypatch, capsys):
    assert race(monkeypatch, {"C": engine(), "other": engine()}) == 0
    printed = capsys.readouterr().out
    assert "all agree on P99" in printed
    assert "without absentee: not installed" in printed


def test_a_wrong_p99_fails(monkeypatch, capsys):
    assert race(monkeypatch, {"C": engine(), "other": engine(mean_s=2.2)}) == 1
    assert "SE DIFFERS" in capsys.readouterr().out


@pytest.mark.parametrize(("at_least", "verdict", "code"), [(1.5, "held", 0), (1e4, "MISSED", 1)])
def test_a_claim_is_held_or_missed(monkeypatch, capsys, at_least, verdict, code):
    runs = {"quick": engine(slow_s=0.002), "slow": engine(slow_s=0.01)}
    assert race(monkeypatch, runs, [("quick", "slow", at_least)]) == code
    assert verdict in capsys.readouterr().out


def test_a_claim_about_an_absent_engine_is_skipped(monkeypatch, capsys):
    assert race(monkeypatch, {"C": engine()}, [("kernel", "C", 1.0)]) == 0
    assert "skipped: kernel absent" in capsys.readouterr().out
