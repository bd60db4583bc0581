"""Notes in deployment files: each appears where it is true, and not where it is false."""

from dataclasses import replace
from types import ModuleType
from typing import Any

import pytest
from planned import FOUND, fleet
from shown import unwrapped

from capacity.errors import InputError
from capacity.performance import Interval, Kind
from capacity.question.objective import Objective
from capacity.question.plan import Routing
from capacity.question.resilience import Spike, Survival
from capacity.render.deploy import (
    bentoml,
    compose,
    k6,
    kserve,
    kubernetes,
    prometheus,
    ray_serve,
    serve_api,
    triton,
)
from capacity.render.deploy.fleet import dns_label
from capacity.render.deploy.scaling import scaling_of
from capacity.traffic.workload import ClosedPopulation, Workload

MEAN = Objective.of(response_mean=0.05)
RANDOM = {"routing": Routing.RANDOM}


@pytest.mark.parametrize(
    ("target", "said", "there", "absent"),
    [
        (triton, "max_queue_size also counts requests whose batch still fills", {}, {"batch_wait_max_s": 0.0}),
        (triton, "A request that has waited 50 ms, the limit on the response, is", {}, {"objective": MEAN}),
        (triton, "The plan lets no request wait; Triton", {"queue_limit": 0}, {"queue_limit": 1}),
        (triton, "max_queue_size: 1 ", {"queue_limit": 0}, {"queue_limit": 2}),
        (triton, "3 x 2 are more replicas than the 5 of the plan", {"instances_per_device": 2}, {"instances_per_device": 5}),
        (triton, "5 servers with a GPU each, with 1 instance each", {}, {"kind": "cpu"}),
        (triton, "one server with 5 GPUs has the plan's 5 replicas behind one queue", {"routing": Routing.SHARED_QUEUE}, {}),
        (triton, "Triton takes a GPU where there is one (KIND_AUTO)", {"kind": None}, {}),
        (
            triton,
            "closes the next batch at the first preferred size that it comes to while all instances are busy (4)",
            {"preferred_sizes": (4, 8), "batch_wait_max_s": 0.0},
            {"preferred_sizes": (4, 8)},
        ),
        (triton, "as evaluated", {"preferred_sizes": (16,), "batch_wait_max_s": 0.0}, {}),
        (serve_api, "the server's default, SERVE_QUEUE_MAX=1024, applies", {"queue_limit": None}, {}),
        (serve_api, "The plan lets no request wait; the server lets one.", {"queue_limit": 0}, {"queue_limit": None}),
        (serve_api, "SERVE_QUEUE_MAX=1 ", {"queue_limit": 0}, {}),
        (serve_api, "SERVE_DEADLINE=50ms", {}, {"objective": MEAN}),
        (serve_api, "SERVE_DEADLINE is the limit on the response", {}, {"queue_limit": None}),
        (serve_api, "SERVE_DEADLINE=1ms", {"objective": Objective.of(response={0.99: 0.0001})}, {}),
        (serve_api, "The server has no preferred sizes, and the plan has", {"preferred_sizes": (4,)}, {}),
        (serve_api, "has random, and the plan was evaluated with round-robin", {}, RANDOM),
        (serve_api, "The plan is 1 server with", {"replicas": 1}, {}),
        (serve_api, "Routing:", {}, {"replicas": 1}),
        (bentoml, "max_latency_ms=50)", {}, {"objective": MEAN}),
        (bentoml, "max_latency_ms=1)", {"objective": Objective.of(response={0.99: 0.0011})}, {}),
        (bentoml, "BentoML has no batch wait", {"batch_size_max": 2}, {"batch_size_max": 1}),
        (bentoml, 'traffic={"max_concurrency": 80}', {}, {"queue_limit": None}),
        (bentoml, 'resources={"gpu": 1},', {}, {"kind": "cpu"}),
        (bentoml, "--scaling-min 5 --scaling-max 10.", {}, {"replicas": 4}),
        (compose, "Each server has a GPU of its own", {"replicas": 2}, {"replicas": 1}),
        (compose, "Each server has a GPU of its own", {}, {"kind": "cpu"}),
        (compose, "start_period: 60s", {}, {"survival": Survival(spike=Spike(factor=1.5, startup_time_s=20.0))}),
        (compose, "start_period: 20s", {"survival": Survival(spike=Spike(factor=1.5, startup_time_s=20.0))}, {}),
        (compose, 'device_ids: ["4"]', {}, {"replicas": 4}),
        (kserve, "timeout: 60 seconds", {"objective": MEAN}, {}),
        (kserve, "timeout: 1 seconds", {}, {"objective": Objective.of(response={0.99: 1.001})}),
        (kserve, "timeout: 2 seconds", {"objective": Objective.of(response={0.99: 1.001})}, {}),
        (kserve, "containerConcurrency: 80 ", {}, {"queue_limit": None}),
        (kserve, "containerConcurrency: 0 ", {"queue_limit": None}, {}),
        (kserve, "nvidia.com/gpu: 1", {}, {"kind": "cpu"}),
        (kubernetes, "failureThreshold: 60 ", {}, {"survival": Survival(spike=Spike(factor=1.5, startup_time_s=20.0))}),
        (kubernetes, "failureThreshold: 8 ", {"survival": Survival(spike=Spike(factor=1.5, startup_time_s=20.0))}, {}),
        (kubernetes, "as many as the plan can lose", {"survival": Survival(spare=1)}, {}),
        (kubernetes, "topologySpreadConstraints", {"replicas": 6, "survival": Survival(zones=3)}, {}),
        (ray_serve, "has power-of-two, and the plan was", {}, {"routing": Routing.POWER_OF_TWO}),
        (ray_serve, "num_gpus: 0.5}", {"instances_per_device": 2, "replicas": 6}, {}),
        (ray_serve, "num_gpus: 0}", {"kind": "cpu"}, {}),
        (prometheus, "The plan has no queue limit; the queue's threshold is", {"queue_limit": None}, {}),
        (prometheus, "No alert on the mean batch", {"found": replace(FOUND, batch_size_mean=None)}, {}),
        (prometheus, "limit is 1.", {"queue_limit": 0}, {"queue_limit": 2}),
        (k6, "rate: 1000,", {}, {"workload": Workload(arrival_rate_rps=900.0)}),
    ],
)  # fmt: skip
def test_notes(target: ModuleType, said: str, there: dict[str, Any], absent: dict[str, Any]) -> None:
    assert said in unwrapped(target.render(fleet(**there)))
    assert said not in unwrapped(target.render(fleet(**absent)))


def test_the_header_has_what_was_evaluated_and_found() -> None:
    text = unwrapped(triton.render(fleet()))
    assert (
        "Written by: capacity render plan.json --target triton Planned by: capacity plan --profile resnet50 "
        "--rate 1000rps --slo-p99 50ms "
    ) in text
    assert (
        "Evaluated: 5 replicas of resnet50, batches up to 16, wait 5 ms (from the arrival of the oldest request), "
        "round-robin routing, queue limit 64, at 1000 rps. "
        "Found: P99 20 ms (19 ms to 21 ms), mean batch 4, by simulation, seed 5; objective P99 <= 50 ms: met. "
    ) in text
    bare = replace(FOUND, kind=Kind.EXACT, batch_size_mean=None, response_quantiles_s={})
    text = unwrapped(triton.render(fleet(found=bare, replicas=1, queue_limit=None, preferred_sizes=(4, 8))))
    assert "preferred sizes 4, 8, round-robin routing, no queue limit, at 1000 rps." in text
    assert "Found: by an exact law, seed 5; objective" in text
    users = fleet(workload=ClosedPopulation(users=8, think_time_s=0.1), queue_limit=None)
    assert "no queue limit, with 8 users." in unwrapped(triton.render(users))


def test_one_machine_has_at_most_sixteen_gpus() -> None:
    assert compose.render(fleet(replicas=16)).count("device_ids") == 16
    with pytest.raises(InputError, match=r"the plan needs 17 GPUs \(at most 16\); use --target kubernetes"):
        compose.render(fleet(replicas=17))
    assert "replicas: 17}" in compose.render(fleet(replicas=17, kind="cpu"))


def test_k6_needs_a_finite_quantile_of_the_response() -> None:
    """The response time sets the number of users, so a plan needs its quantile, and a finite one."""
    with pytest.raises(InputError, match=r"plan.json has no quantile of the response; make the plan again"):
        k6.render(fleet(found=replace(FOUND, response_quantiles_s={})))
    lost = replace(FOUND, response_quantiles_s={0.99: Interval.exact(float("inf"))})
    planned = fleet()
    with pytest.raises(
        InputError, match=r"plan.json loses too many requests to load it; plan for a lower rate"
    ):
        k6.render(replace(planned, performance=lost))
    open_ended = Interval(value=0.02, low=0.01, high=float("inf"))
    open_one = replace(planned, performance=replace(FOUND, response_quantiles_s={0.99: open_ended}))
    assert open_one.response_s == 0.02
    assert planned.response_s == 0.021


def test_k6_has_users_by_littles_law() -> None:
    """1000 rps times 21 ms are 21, and 21 + 3 sqrt(21) = 34.7; twice 50 ms are 100, and 100 + 3 * 10 = 130."""
    text = k6.render(fleet())
    assert "preAllocatedVUs: 35," in text
    assert "maxVUs: 130," in text
    assert "1000 rps x 21 ms are 21 requests in progress; 35 has room for their number" in unwrapped(text)
    unlimited = k6.render(fleet(objective=MEAN))
    assert "maxVUs: 70," in unlimited  # twice 35; twice 21 ms take only 62
    assert '"http_req_duration{expected_response:true}": ["avg<=50"]' in unlimited


def test_rates_of_an_autoscaler() -> None:
    """Planned for 1000 rps and good up to 1280: it acts at the geometric mean, 1131, so its target is 1131 / 1.1 / 5."""
    scaling = scaling_of(fleet())
    assert scaling.asking_rps == pytest.approx(1000.0 * 1.28**0.5)
    assert scaling.hpa_target_rps == pytest.approx(1000.0 * 1.28**0.5 / 1.1 / 5)
    assert kserve.scale_target(scaling) == 226  # 226.3 on each pod
    assert kserve.scale_target(replace(scaling, asking_rps=1004.0)) == 200
    assert kserve.scale_target(replace(scaling, asking_rps=1003.0, planned_rps=1001.0)) == 201
    told = " ".join(scaling.notes())
    assert (
        "the plan holds up to 1280 rps, 256 rps on each of 5; planned are 1000 rps, 200 rps on each." in told
    )
    assert (
        "acts from 1131 rps (it ignores 10 % above the target); from there traffic may grow by 13 % until"
        in told
    )
    assert (
        "ready, after 60 s of the metric's window and 15 s between looks, and its start-up; plan with" in told
    )
    assert "(it ignores" not in " ".join(scaling.notes(tolerance=0.0))
    little = " ".join(replace(scaling, headroom_rps=1050.0, asking_rps=1025.0).notes())
    assert (
        "Too little headroom: the autoscaler acts from 1100 rps (it ignores 10 % above the target), beyond"
        in little
    )
    wide = " ".join(replace(scaling, headroom_rps=4000.0, asking_rps=2000.0).notes())
    assert (
        "acts from 2000 rps (it ignores 10 % above the target); from there traffic may grow by 100 % until"
        in wide
    )
    even = " ".join(replace(scaling, headroom_rps=1100.0, asking_rps=1049.0).notes())
    assert "traffic may grow by 0 % until" in even


def test_growth_during_the_start_up_time() -> None:
    survival = Survival(spike=Spike(factor=3.0, startup_time_s=20.0))
    scaling = scaling_of(fleet(survival=survival))
    assert (scaling.growth, scaling.startup_s, scaling.asking_rps) == (3.0, 20.0, 1000.0)
    assert scaling.servers_max == 15  # three times the rate
    assert (
        "after 95 s: 60 s of the metric's window and 15 s between looks, and 20 s of start-up."
        in " ".join(scaling.notes())
    )
    assert scaling_of(fleet()).servers_max == 10
    assert scaling_of(fleet(headroom_rps=None)).headroom_rps == 1000.0


def test_alerts_have_the_numbers_of_the_plan() -> None:
    """The mean batch is 4 within a factor of 1.25, while the rate is within a tenth of 200 rps on each server."""
    text = unwrapped(prometheus.render(fleet()))
    assert (
        '(capacity:batch_size_mean{model="resnet50"} < 3.2 or capacity:batch_size_mean{model="resnet50"} > 5)'
        in text
    )
    assert "> 180 and" in text
    assert "< 220 for: 15m" in text
    assert "> 256 for: 2m" in text
    assert 'max{model="resnet50"}[1m]) >= 64 for: 1m' in text
    small = unwrapped(prometheus.render(fleet(found=replace(FOUND, batch_size_mean=1.1))))
    assert '{model="resnet50"} < 1 or' in small


def test_ray_serve_has_its_target_by_littles_law() -> None:
    """1131 rps on 5 replicas times a mean of 10 ms, or the upper end of P99, or the mean less the overhead."""
    planned = fleet()
    scaling = scaling_of(planned)
    assert ray_serve.target_ongoing(planned, scaling) == "2.262"
    no_mean = replace(planned, performance=replace(FOUND, response_mean_s=None))
    assert ray_serve.target_ongoing(no_mean, scaling) == "4.751"
    assert ray_serve.target_ongoing(fleet(request_overhead_s=0.005), scaling) == "1.131"


def test_a_name_has_at_most_forty_letters() -> None:
    """A DNS label may have 63; the rest is for words that tools append."""
    assert dns_label("A" * 40) == dns_label("a" * 41) == "a" * 40
    assert dns_label("a" * 39 + "_b") == "a" * 39
    assert dns_label("7b") == "model-7b"
    assert dns_label("__") == "model"
