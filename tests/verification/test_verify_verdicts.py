"""`capacity verify` from end to end in virtual time: of a server whose queue is known there is one right verdict."""

import asyncio
import json
from contextlib import asynccontextmanager

import pytest
from virtual_time import VirtualClock, VirtualLoop

import cli
from capacity.verification.run import TIMED_OUT
from capacity.verification.send import Sent

SERVICE_S, TIMEOUT_S = 0.002, 10.0
PROFILE = "batch_size,mean_ms\n1,2\n4,4\n"
FLAGS = ["--body", "body.json", "--url", "http://127.0.0.1:9/predict", "--metrics", "none", "--json"]
QUICK = ["--request-overhead", "0ms", "--precision", "0.05", "--warm-up", "1s"]


class OneServer:
    """FIFO, one at a time, each for the same time; each n-th never answers, or is refused; gone after some runs.

    From an instant on it may be slower.
    """

    def __init__(self, service_s=SERVICE_S, silent=None, refused=None, runs_max=99, slower_s=None):
        self.service_s, self.silent, self.refused, self.runs_max = service_s, silent, refused, runs_max
        self.slower_s = slower_s or {}
        self.free_s, self.asked, self.runs = 0.0, 0, 0

    async def __call__(self, replica):
        self.asked += 1
        if self.runs > self.runs_max:
            return 503
        if self.silent and self.asked % self.silent == 0:
            await asyncio.sleep(TIMEOUT_S)
            return TIMED_OUT
        if self.refused and self.asked % self.refused == 0:
            return 503
        now_s = asyncio.get_running_loop().time()
        slower_s = (more_s for start_s, more_s in self.slower_s.items() if start_s <= now_s)
        self.free_s = max(now_s, self.free_s) + self.service_s + sum(slower_s)
        await asyncio.sleep(self.free_s - now_s)
        return 200


@pytest.fixture
def verify(tmp_path, monkeypatch, capsys):
    """Exit code and answer of the command against a server of this process, in no time."""
    (tmp_path / "two.csv").write_text(PROFILE, encoding="utf-8")
    (tmp_path / "body.json").write_text('{"instances": [[1.0]]}', encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    # A loop whose time jumps is never at rest.
    monkeypatch.setattr("capacity.verification.validity.CPU_SHARE_MAX", 2.0)
    monkeypatch.setattr(
        "capacity.verification.load_test.precise_runner", lambda: asyncio.Runner(loop_factory=VirtualLoop)
    )

    def run(server, *arguments, stalls_s=None):
        monkeypatch.setattr("capacity.verification.load_test.WallClock", lambda: VirtualClock(stalls_s))

        @asynccontextmanager
        async def connected(target):
            server.runs, server.free_s = server.runs + 1, 0.0

            async def send(replica, tokens=None):
                return Sent(await server(replica))

            yield send

        monkeypatch.setattr("capacity.verification.load_test.connected", connected)
        return command("verify", *FLAGS, *arguments)

    def command(*arguments):
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            cli.app(arguments)
        told = capsys.readouterr()
        assert told.out, told.err
        return ended.value.code or 0, json.loads(told.out)

    def plan(*promises):
        code, _ = command(
            "plan", "--profile", "two.csv", "--rate", "200rps", "--batch-size-max", "1", "--replicas-max", "1",
            *promises, "-o", "plan.json", "--json",
        )  # fmt: skip
        assert code == 0
        return "--plan", "plan.json", *QUICK[2:]

    run.plan = plan
    return run


PLAN = ("--profile", "two.csv", "--batch-size-max", "1", "--rate", "200rps", *QUICK)


def verdicts(answer):
    return {row["quantity"]: row["stationary"]["verdict"] for row in answer["rows"]}


def test_the_server_that_was_profiled_agrees(verify):
    code, answer = verify(OneServer(), *PLAN, "--duration", "10s")
    assert (code, answer["verdict"], answer["doubts"]) == (0, "agree", [])
    assert [run["faults"] for run in answer["runs"]] == [[]]
    assert verdicts(answer)["p50"] == "agree"
    replayed = {row["quantity"]: row["replay"]["error"] for row in answer["rows"]}
    assert replayed["mean"] == pytest.approx(0.0, abs=0.02)
    assert replayed["p95"] == pytest.approx(0.0, abs=0.03)


@pytest.mark.parametrize("service_s", [0.0016, 0.0024])
def test_a_server_of_another_speed_disagrees(verify, service_s):
    code, answer = verify(OneServer(service_s), *PLAN, "--duration", "10s")
    assert (code, answer["verdict"]) == (4, "disagree")
    found = verdicts(answer)
    assert found["mean"] == found["p50"] == "disagree"


def test_a_promise_that_was_not_measured_is_not_kept(verify):
    """P99 takes 5000 answers: that everything else agrees is no proof of it."""
    code, answer = verify(OneServer(), *verify.plan("--slo-p99", "20ms"), "--duration", "10s")
    assert (code, answer["verdict"]) == (4, "unsure")
    (doubt,) = answer["doubts"]
    answered = answer["runs"][0]["answered"]
    assert doubt.startswith(
        f"P99 <= 20 ms was not measured: that needs 5000 answers, and there were {answered}; "
    )
    assert "--runs 3 may tell" in doubt
    assert answer["predicted"]["planned_s"]["P99"] > SERVICE_S


def test_runs_that_follow_each_other_prove_what_one_cannot(verify):
    code, answer = verify(OneServer(), *verify.plan("--slo-p99", "20ms"), "--duration", "9s", "--runs", "3")
    assert (code, answer["verdict"]) == (0, "agree")
    (promise,) = answer["promises"]
    assert promise["verdict"] == "met"
    assert max(run["answered"] for run in answer["runs"]) < 5000
    assert answer["measured"]["response_quantiles_s"]["0.99"]["high"] < 0.02
    counted, windows_s = (sum(run[name] for run in answer["runs"]) for name in ("counted", "window_s"))
    replay = answer["predicted"]["replay"]
    assert replay["throughput_rps"] == pytest.approx(counted / windows_s, rel=1e-3)  # of all runs together


def test_whatever_quantile_was_promised_is_measured(verify):
    code, answer = verify(OneServer(), *verify.plan("--slo-p90", "20ms"), "--duration", "10s")
    assert (code, answer["verdict"]) == (0, "agree")
    assert verdicts(answer)["p90"] in ("agree", "unsure")
    assert [promise["verdict"] for promise in answer["promises"]] == ["met"]


def test_requests_that_time_out_break_a_promise_of_the_mean(verify):
    """Four in a thousand for ten seconds are 40 ms of the mean, however quick the others are."""
    plan = verify.plan("--slo-mean", "10ms")
    code, answer = verify(OneServer(silent=250), *plan, "--duration", "10s")
    assert (code, answer["verdict"]) == (3, "missed")
    measured = answer["measured"]["intervals"]["response_mean_s"]
    assert (measured["low"] > 0.01, measured["high"]) == (True, None)


def test_time_outs_are_no_losses_of_a_full_queue(verify):
    few = verify(OneServer(refused=25), *PLAN, "--duration", "10s")[1]
    given_up = verify(OneServer(silent=25), *PLAN, "--duration", "10s")[1]
    measured = [
        (x["measured"]["loss_probability"], x["measured"]["abandon_probability"]) for x in (few, given_up)
    ]
    assert measured == [(pytest.approx(0.04, abs=0.001), 0.0), (0.0, pytest.approx(0.04, abs=0.001))]
    for name, found in (("given-up", ["agree", "disagree"]), ("loss", ["disagree", "agree"])):
        assert [verdicts(few)[name], verdicts(given_up)[name]] == found


def test_runs_before_a_server_failed_are_told_and_the_exit_is_that_of_the_failure(verify, tmp_path):
    saved = ("--runs", "3", "-o", "part.json")
    code, answer = verify(OneServer(runs_max=2), *PLAN, "--duration", "3s", *saved)
    assert (code, answer["verdict"], answer["exit_code"]) == (5, "stopped", 5)
    assert "answered the first request with status 503" in answer["stopped_by"]
    assert len(answer["runs"]) == 2
    assert verdicts(answer)["p50"] == "agree"  # of what there is
    assert json.loads((tmp_path / "part.json").read_text(encoding="utf-8")) == answer


def test_of_a_load_generator_that_fell_behind_nothing_is_said(verify):
    """The server is the one that was profiled; the second that nothing was sent in is not its own."""
    code, answer = verify(OneServer(), *PLAN, "--duration", "10s", stalls_s={5.0: 1.0})
    assert (code, answer["verdict"]) == (4, "invalid")
    ((fault,),) = (run["faults"] for run in answer["runs"])
    assert fault.startswith("the load generator fell behind: P99 of its lag is ")
    assert set(verdicts(answer).values()) == {"void"}


def test_of_a_server_that_becomes_slower_midway_nothing_is_said(verify):
    code, answer = verify(OneServer(slower_s={15.0: 0.001}), *PLAN, "--duration", "30s")
    assert (code, answer["verdict"]) == (4, "invalid")
    ((fault,),) = (run["faults"] for run in answer["runs"])
    assert fault.startswith("the run was not stationary: the mean response of its second half differs by +")


def test_of_a_tail_that_the_load_generator_made_nothing_is_said(verify):
    """Each run has one request in two hundred that is late: too few for a fault of its own."""
    stalls_s = {3.0: 0.03}
    code, answer = verify(OneServer(), *PLAN, "--duration", "10s", "--runs", "3", stalls_s=stalls_s)
    assert (code, answer["verdict"]) == (4, "invalid")
    assert [run["faults"] for run in answer["runs"]] == [[], [], []]
    (fault,) = answer["pool_faults"]
    assert fault.startswith("the load generator determined P99: ")


def test_a_metronome_ticks_the_same_in_every_run(verify):
    _, answer = verify(OneServer(), *PLAN, "--arrivals", "deterministic", "--duration", "2s", "--runs", "2")
    assert answer["runs"][0]["scheduled"] == answer["runs"][1]["scheduled"]
