"""k6's script: its options, and what its thresholds make of answers, with Node in the place of k6."""

import json
import re
import shutil
import subprocess
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
import yaml
from planned import FOUND, fleet

from capacity.question.objective import Objective
from capacity.render.deploy import k6
from capacity.traffic.workload import Workload

SLOW = Workload(arrival_rate_rps=0.01)
needs_node = pytest.mark.skipif(shutil.which("node") is None, reason="node is not on PATH")

# What k6 gives a script, as far as the rendered one uses it; one line for each value of a metric.
STUBS = {
    "package.json": '{"type": "module", "exports": {".": "./k6.js", "./http": "./http.js", "./metrics": "./metrics.js"}}',
    "k6.js": "export const check = (answer, checks) => Object.values(checks).every((one) => one(answer));",
    "metrics.js": """
export class Rate {
  constructor(name) { this.name = name; }
  add(value) { globalThis.samples.push([this.name, value ? 1 : 0]); }
}
""",
    "http.js": """
let expected = { min: 200, max: 399 };
const isExpected = (status) => status >= expected.min && status <= expected.max;
export default {
  expectedStatuses: (one) => one,
  setResponseCallback: (one) => { expected = one; },
  post: () => {
    const [status, duration] = globalThis.answers.shift();
    const good = isExpected(status);
    globalThis.samples.push(['http_req_failed', good ? 0 : 1], ['http_req_duration', duration]);
    if (good) globalThis.samples.push(['http_req_duration{expected_response:true}', duration]);
    return { status, timings: { duration } };
  },
};
""",
}
DRIVER = """
import { readFileSync } from 'node:fs';
Object.assign(globalThis, { __ENV: {}, open: () => '{}', samples: [], answers: JSON.parse(readFileSync(0, 'utf8')) });
const script = await import('./load-test.mjs');
while (globalThis.answers.length) script.default();
console.log(JSON.stringify({ thresholds: script.options.thresholds, samples: globalThis.samples }));
"""


def crossed(text: str, answers: list[tuple[int, float]], folder: Path) -> set[str]:
    """The thresholds that a run with these answers crosses: of each a status and a duration in milliseconds."""
    modules = folder / "node_modules" / "k6"
    modules.mkdir(parents=True, exist_ok=True)
    for name, stub in STUBS.items():
        (modules / name).write_text(stub, encoding="utf-8")
    (folder / "load-test.mjs").write_text(text, encoding="utf-8")
    (folder / "driver.mjs").write_text(DRIVER, encoding="utf-8")
    done = subprocess.run(
        ["node", "driver.mjs"],
        input=json.dumps(answers),
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    read = json.loads(done.stdout)
    values: dict[str, list[float]] = defaultdict(list)
    for name, value in read["samples"]:
        values[name].append(value)
    return {
        f"{name}: {rule}"
        for name, rules in read["thresholds"].items()
        for rule in rules
        if not holds(rule, sorted(values[name]))
    }


def holds(rule: str, values: list[float]) -> bool:
    """A threshold by the rules of k6: percentiles are interpolated between the two nearest values."""
    (what, how, limit) = re.fullmatch(r"(p\([\d.]+\)|avg|rate|count)(<=|==)([\d.]+)", rule).groups()  # type: ignore[union-attr]
    if what == "count":
        found = sum(values)
    elif what.startswith("p("):
        place = float(what[2:-1]) / 100.0 * (len(values) - 1)
        low = int(place)
        found = values[low] + (place - low) * (values[min(low + 1, len(values) - 1)] - values[low])
    else:
        found = sum(values) / len(values)
    return found <= float(limit) if how == "<=" else found == float(limit)


def answers(lost: int = 0, late: int = 0, of: int = 1000) -> list[tuple[int, float]]:
    """Answers to the plan of 50 ms: lost ones come at once, late ones after 80 ms, the others after 20."""
    return [(503, 1.0)] * lost + [(200, 80.0)] * late + [(200, 20.0)] * (of - lost - late)


@needs_node
def test_a_run_in_which_many_are_refused_is_no_success(tmp_path: Path) -> None:
    """29 % get 503 at once, and those that are served are all in time."""
    told = crossed(k6.render(fleet()), answers(lost=290), tmp_path)
    assert told == {"http_req_failed: rate<=0.01", "late_p99: rate<=0.01"}
    assert crossed(k6.render(fleet()), answers(), tmp_path) == set()


@needs_node
@pytest.mark.parametrize(
    ("lost", "late", "passes"),
    [(8, 2, True), (10, 0, True), (0, 10, True), (8, 4, False), (0, 11, False), (11, 0, False)],
)
def test_what_is_lost_is_late(lost: int, late: int, passes: bool, tmp_path: Path) -> None:
    """P99 within 50 ms: at most 1 % are lost or take longer, however they are shared out."""
    told = crossed(k6.render(fleet()), answers(lost, late), tmp_path)
    assert ("late_p99: rate<=0.01" not in told) is passes


@needs_node
def test_a_limit_on_losses_is_the_stricter_one(tmp_path: Path) -> None:
    strict = Objective.of(response={0.99: 0.05}, loss=0.001)
    assert crossed(k6.render(fleet(objective=strict)), answers(lost=2), tmp_path) == {
        "http_req_failed: rate<=0.001"
    }


@needs_node
def test_a_mean_is_of_what_was_served_and_nothing_else_may_be_lost(tmp_path: Path) -> None:
    """A plan with a limit on the mean alone, which lost nothing: fast refusals make no mean better."""
    mean = k6.render(fleet(objective=Objective.of(response_mean=0.05)))
    told = crossed(mean, answers(lost=500, late=500), tmp_path)
    assert told == {"http_req_failed: rate<=0", "http_req_duration{expected_response:true}: avg<=50"}
    assert crossed(mean, answers(), tmp_path) == set()


@needs_node
@pytest.mark.parametrize(
    "given",
    [{}, {"queue_limit": None}, {"objective": Objective.of(response_mean=0.02)}, {"workload": SLOW}],
    ids=["as usual", "no queue limit", "limit on the mean", "slow arrivals"],
)
def test_it_is_javascript(given: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "load-test.mjs"
    path.write_text(k6.render(fleet(**given)), encoding="utf-8")
    done = subprocess.run(["node", "--check", path], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def options(text: str) -> dict[str, Any]:
    """The options of a script: JavaScript that YAML can read."""
    (found,) = re.findall(r"export const options = (\{.*?\n\});", text, re.DOTALL)
    read: dict[str, Any] = yaml.safe_load(found)
    return read


def test_it_sends_at_the_rate_of_the_plan() -> None:
    found = options(k6.render(fleet()))
    (scenario,) = found["scenarios"].values()
    assert (scenario["executor"], scenario["rate"], scenario["timeUnit"]) == (
        "constant-arrival-rate",
        1000,
        "1s",
    )
    assert found["thresholds"] == {
        "late_p99": ["rate<=0.01"],
        "http_req_duration{expected_response:true}": ["p(99)<=50"],
        "http_req_failed": ["rate<=0.01"],
        "dropped_iterations": ["count==0"],
    }


def test_it_has_every_limit_it_can_tell() -> None:
    limits = Objective.of(response={0.999: 0.2, 0.5: 0.01}, response_mean=0.02, loss=0.001)
    found = {0.999: FOUND.response_quantiles_s[0.99]}
    text = k6.render(fleet(objective=limits, found=type(FOUND)(kind=FOUND.kind, response_quantiles_s=found)))
    thresholds = options(text)["thresholds"]
    served = thresholds["http_req_duration{expected_response:true}"]
    assert sorted(served) == ["avg<=20", "p(50)<=10", "p(99.9)<=200"]
    assert (thresholds["late_p99_9"], thresholds["late_p50"]) == (["rate<=0.001"], ["rate<=0.5"])
    assert "[new Rate('late_p99_9'), 200]" in text
    assert thresholds["http_req_failed"] == ["rate<=0.001"]


def test_it_says_that_no_client_sees_a_wait() -> None:
    limits = Objective.of(response={0.99: 0.05}, wait={0.95: 0.01})
    assert "Limits on the wait are not seen by a client" in k6.render(fleet(objective=limits))
    assert "Limits on the wait" not in k6.render(fleet())


@pytest.mark.parametrize("rate_rps", [0.01, 0.5, 2.5, 33.3, 1000.0, 123456.7])
def test_k6s_whole_numbers_are_the_rate(rate_rps: float) -> None:
    count, unit_s = k6.k6_rate(rate_rps)
    assert count / unit_s == pytest.approx(rate_rps, rel=1e-3)
    (scenario,) = options(k6.render(fleet(workload=Workload(arrival_rate_rps=rate_rps), headroom_rps=None)))[
        "scenarios"
    ].values()
    assert (scenario["rate"], scenario["timeUnit"]) == (count, f"{unit_s}s")
