"""Users in a closed loop: each asks for a prediction, waits for the answer, thinks, and asks again.

    locust -f serve_api/deploy/locustfile.py --host http://127.0.0.1:8000 --headless \\
        --users 200 --spawn-rate 200 --run-time 60s --think-time 480ms

By Little's law users = rate x (response + think): at 400 requests a second, answered within 20 ms on average,

>>> rate_rps, response_mean_s, think_time_s = 400, 0.020, 0.480
>>> rate_rps * (response_mean_s + think_time_s)
200.0

A user who waits does not ask, so the load falls when the service is slow (coordinated omission). Check an objective
at an arrival rate by an open loop (`capacity verify`); compare this one with `capacity plan --users 200 --think-time
480ms`.
"""

import argparse
import random

from locust import FastHttpUser, events, task
from locust.argument_parser import LocustArgumentParser

from capacity.errors import InputError
from capacity.units import parse_duration_s

FEATURES = 30  # numbers in a row, as the models take them


def duration_s(text: str) -> float:
    """Seconds from a duration with its unit, as a converter for argparse."""
    try:
        return parse_duration_s(text)
    except InputError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


@events.init_command_line_parser.add_listener  # type: ignore[untyped-decorator]
def add_options(parser: LocustArgumentParser) -> None:
    """Add our options to locust's own."""
    parser.add_argument("--think-time", type=duration_s, default="480ms", help="Mean think time: 480ms.")
    parser.add_argument("--rows", type=int, default=1, help="Rows of each request.")


class ClosedLoopUser(FastHttpUser):
    """A user of the closed loop."""

    network_timeout = 30.0  # beyond the server's own deadline

    def wait_time(self) -> float:
        """Think time, exponential so that users who began together do not stay together."""
        mean_s: float = self.environment.parsed_options.think_time
        return random.expovariate(1.0 / mean_s) if mean_s else 0.0

    @task
    def predict(self) -> None:
        """Ask for a prediction; an answer other than 200 is a failure."""
        # A dense network takes the same time for any values.
        self.client.post(
            "/predict", json={"instances": [[0.5] * FEATURES] * self.environment.parsed_options.rows}
        )
