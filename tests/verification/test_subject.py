"""What is verified: a saved plan, at its own workload or another, and where its servers are."""

import json
from dataclasses import replace

import pytest
from planned import saved_plan

from capacity.errors import InputError
from capacity.question.objective import Objective
from capacity.question.plan import Routing
from capacity.server.batch.plan import BatchPlan
from capacity.traffic.workload import ClosedPopulation, DeterministicArrivals, PoissonArrivals, Workload
from capacity.verification.subject import check_urls, metrics_addresses, read_request_body, saved_subject

PLAN = BatchPlan(profile="five", replicas=3, batch_size_max=1, routing=Routing.ROUND_ROBIN)
URLS = [f"http://127.0.0.1:800{number}/predict?key=secret" for number in range(3)]
ANSWER = {
    "performance": {
        "response_mean_s": 0.01,
        "response_quantiles_s": {
            "0.5": {"value": 0.008},
            "0.9": {"value": 0.02},
            "0.99": {"value": None},
            "0.95": 7.0,
        },
    }
}


def saved(demand, answer=ANSWER):
    objective = Objective.of(response={0.9: 0.03})
    return replace(saved_plan(workload=demand, objective=objective, queue_limit=None), answer=answer)


def test_a_saved_plan_is_verified_as_it_was_planned():
    file = saved(Workload(arrival_rate_rps=20.0))
    found = saved_subject(file, None, None)
    assert (found.profile.name, found.plan, found.workload.arrival_rate_rps) == ("resnet50", file.plan, 20.0)
    assert found.objective == Objective.of(response={0.9: 0.03})
    assert found.planned_s == {"mean": 0.01, "P50": 0.008, "P90": 0.02}


@pytest.mark.parametrize("answer", [{}, {"performance": None}, {"performance": {"response_mean_s": None}}])
def test_an_answer_without_figures_is_a_plan_without_predictions(answer):
    assert saved_subject(saved(Workload(arrival_rate_rps=20.0), answer), None, None).planned_s == {}


@pytest.mark.parametrize(
    ("arrivals", "rate_rps", "has_planned"),
    [(None, 30.0, False), (DeterministicArrivals(), None, False), (PoissonArrivals(), 20.0, True)],
)
def test_predictions_of_the_plan_hold_for_its_own_workload(arrivals, rate_rps, has_planned):
    found = saved_subject(saved(Workload(arrival_rate_rps=20.0)), arrivals, rate_rps)
    assert found.workload.arrival_rate_rps == (rate_rps or 20.0)
    assert isinstance(found.workload.arrivals, type(arrivals or PoissonArrivals()))
    assert bool(found.planned_s) == has_planned


def test_a_plan_for_a_closed_loop_is_refused():
    with pytest.raises(
        InputError, match="plan.json was planned for users in a closed loop, but this load test"
    ):
        saved_subject(saved(ClosedPopulation(users=3, think_time_s=1.0)), None, None)


def test_urls_are_those_of_each_replica_or_of_one_balancer():
    assert check_urls(URLS, PLAN) == ()
    assert check_urls(URLS[:1], PLAN) == (
        "the server behind the one url is assumed to route by round-robin to 3 replicas",
    )
    with pytest.raises(InputError, match="2 urls for 3 replicas; give --url once for each"):
        check_urls(URLS[:2], PLAN)
    with pytest.raises(InputError, match="one --url is given twice; each replica needs its own"):
        check_urls([URLS[0], URLS[1], URLS[0]], PLAN)


def test_metrics_are_at_the_urls_or_at_given_addresses():
    addresses, note = metrics_addresses([], URLS, PLAN)
    assert ([one.url for one in addresses], note) == (
        [f"http://127.0.0.1:800{number}/metrics" for number in range(3)],
        None,
    )
    given = [f"http://10.0.0.{number}/m?a=b" for number in range(3)]
    addresses, note = metrics_addresses(given, URLS[:1], PLAN)
    assert ([one.target for one in addresses], note) == (["/m?a=b"] * 3, None)
    with pytest.raises(InputError, match="2 --metrics for 3 replicas; give one for each, or none at all"):
        metrics_addresses(given[:2], URLS, PLAN)
    assert metrics_addresses([], URLS[:1], PLAN) == (
        (), "mean batch and utilization are not known; give --metrics of each replica",
    )  # fmt: skip
    assert metrics_addresses(["none"], URLS, PLAN) == (
        (), "mean batch and utilization were not requested (--metrics none)",
    )  # fmt: skip


@pytest.mark.parametrize("document", [{"instances": [[1, 2]]}, {"instances": 3}, {"inputs": [1, 2]}])
def test_a_request_body_is_sent_without_blanks(tmp_path, document):
    path = tmp_path / "body.json"
    path.write_text(json.dumps(document, indent=2), encoding="utf-8")
    assert read_request_body(path) == json.dumps(document).replace(" ", "").encode()


def test_a_request_body_has_at_most_16_mebibytes(tmp_path):
    path = tmp_path / "body.json"
    path.write_bytes(b"{}" + b" " * (2**24 - 2))
    assert read_request_body(path) == b"{}"
    path.write_bytes(b"{}" + b" " * (2**24 - 1))
    with pytest.raises(InputError, match=r"body\.json"):
        read_request_body(path)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"instances": [1, 2]}', "body.json has 2 instances; predictions are for requests of one row"),
        ('{"instances": []}', "body.json has 0 instances"),
        ("[1]", "body.json: a request is a JSON object"),
    ],
)
def test_a_request_body_has_one_row(tmp_path, text, said):
    path = tmp_path / "body.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=said):
        read_request_body(path)
