"""k6: an open-loop load test at the plan's rate, with the objective as its thresholds."""

import json
import math
from collections.abc import Iterator
from fractions import Fraction

from capacity.question.objective import Measure
from capacity.render.deploy.features import Coverage
from capacity.render.deploy.fleet import Fleet
from capacity.render.deploy.header import header
from capacity.render.deploy.scaling import in_progress
from capacity.units import format_duration

NAME = "k6"
FILE = "load-test.js"
PLANS = Fleet
COVERS = Coverage()
_UNIT_MAX_S = 3600
_TAIL = 3.0  # standard deviations


def render(plan: Fleet) -> str:
    """A script with one scenario of executor constant-arrival-rate."""
    count, unit_s = k6_rate(plan.rate_rps)
    ready = vus(plan.rate_rps, plan.response_s)
    late_s = plan.response_limit_s or plan.response_s
    most = max(2 * ready, vus(plan.rate_rps, 2.0 * late_s))
    return f"""\
{header(plan, NAME, _notes(plan, ready, most), mark="//")}\
import http from 'k6/http';
import {{ check }} from 'k6';
import {{ Rate }} from 'k6/metrics';

const TO = __ENV.URL || 'http://127.0.0.1:8000/predict'; // replace, or k6 run -e URL=...
const BODY = open(__ENV.BODY || './request.json'); // replace: what one request sends

export const options = {{
  scenarios: {{
    plan: {{
      executor: 'constant-arrival-rate',
      rate: {count},
      timeUnit: '{unit_s}s',
      duration: '5m',
      preAllocatedVUs: {ready},
      maxVUs: {most},
    }},
  }},
  discardResponseBodies: true,
  summaryTrendStats: ['avg', 'p(50)', 'p(95)', 'p(99)', 'max', 'count'],
  thresholds: {_thresholds(plan)},
}};

// A request that is not answered with a 2xx is lost, and a lost request is late.
http.setResponseCallback(http.expectedStatuses({{ min: 200, max: 299 }}));
const LATE = [ // of each limit: the share that is lost or takes longer, and the limit in milliseconds
{_late(plan)}];

export default function () {{
  const answer = http.post(TO, BODY, {{ headers: {{ 'Content-Type': 'application/json' }} }});
  const served = answer.status >= 200 && answer.status <= 299;
  check(answer, {{ 'status is 2xx': () => served }});
  for (const [share, limit] of LATE) share.add(!served || answer.timings.duration > limit);
}}
"""


def k6_rate(rate_rps: float) -> tuple[int, int]:
    """A rate in k6's form: a whole number of requests in a whole number of seconds.

    >>> k6_rate(3200.0), k6_rate(2.5), k6_rate(0.001)
    ((3200, 1), (5, 2), (1, 1000))
    """
    found = Fraction(rate_rps).limit_denominator(_UNIT_MAX_S)
    return max(found.numerator, 1), found.denominator if found else _UNIT_MAX_S


def vus(rate_rps: float, response_s: float) -> int:
    """Virtual users for an open loop: each is busy for one response, so as many are needed as are in progress.

    By Little's law that is rate x response on average. With a high quantile for the response and three standard
    deviations of a Poisson number on top (M/G/infinity), it is not exceeded while that quantile holds.

    Source:
        Little (1961), Operations Research 9(3); Kleinrock (1975), Queueing Systems vol. 1, sec. 3.4 (M/M/infinity).

    >>> vus(3200.0, 0.0127), vus(1.0, 0.01)
    (60, 1)
    """
    mean = in_progress(rate_rps, response_s)
    return max(1, math.ceil(mean + _TAIL * math.sqrt(mean)))


def _thresholds(fleet: Fleet) -> str:
    """The objective, and that k6 itself kept up, as JavaScript.

    P99 within a limit means what it means in the plan: at most 1 % are lost or take longer. The durations of served
    requests follow from that, and are informative.
    """
    objective = fleet.saved.question.objective
    found = {_late_name(q): [f"rate<={_share(1.0 - q)}"] for q in objective.by_quantile(Measure.RESPONSE)}
    durations = [
        f"p({100.0 * q:.6g})<={1000.0 * limit_s:.6g}"
        for q, limit_s in objective.by_quantile(Measure.RESPONSE).items()
    ]
    mean_s = objective.allowed(Measure.RESPONSE_MEAN)
    if mean_s is not None:
        durations.append(f"avg<={1000.0 * mean_s:.6g}")
    if durations:
        found["http_req_duration{expected_response:true}"] = durations
    found["http_req_failed"] = [f"rate<={_share(losses_max(fleet))}"]
    found["dropped_iterations"] = ["count==0"]
    return json.dumps(found)


def losses_max(fleet: Fleet) -> float:
    """Share of the requests that may be lost: what the objective allows; without a limit, the plan's own loss."""
    objective = fleet.saved.question.objective
    allowed = [
        1.0 - q for q in (*objective.by_quantile(Measure.RESPONSE), *objective.by_quantile(Measure.WAIT))
    ]
    lost = objective.allowed(Measure.LOSS)
    if lost is not None:
        allowed.append(lost)
    return min(allowed, default=fleet.performance.loss_probability or 0.0)


def _late_name(quantile: float) -> str:
    """A metric's name: letters, digits and underscores."""
    return f"late_p{100.0 * quantile:.6g}".replace(".", "_")


def _late(fleet: Fleet) -> str:
    limits = fleet.saved.question.objective.by_quantile(Measure.RESPONSE)
    return "".join(f"  [new Rate('{_late_name(q)}'), {1000.0 * s:.6g}],\n" for q, s in limits.items())


def _share(share: float) -> str:
    """A share without an exponent.

    >>> _share(1.0 - 0.99), _share(1.0 - 0.9999999), _share(0.0)
    ('0.01', '0.0000001', '0')
    """
    return f"{share:.9f}".rstrip("0").rstrip(".")


def _notes(fleet: Fleet, ready: int, most: int) -> Iterator[str]:
    yield (
        f"VUs: by Little's law {fleet.rate_rps:g} rps x {format_duration(fleet.response_s)} are "
        f"{in_progress(fleet.rate_rps, fleet.response_s):.3g} requests in progress; {ready} has room for their number "
        f"to vary, and {most} for responses of twice the limit. Beyond that k6 drops requests: dropped_iterations "
        "then says that it fell behind, and the result is about k6."
    )
    yield (
        "k6 sends at even intervals. Requests that arrive at random bunch up, so that an objective met here is met "
        "more easily than in the plan; `capacity verify` sends the plan's own arrivals."
    )
    yield "http_req_duration leaves out waiting for a connection; `capacity audit` looks at k6's summary."
    if fleet.saved.question.objective.by_quantile(Measure.WAIT):
        yield "Limits on the wait are not seen by a client, and have no threshold."
