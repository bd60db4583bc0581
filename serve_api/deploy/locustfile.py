"""Users in a closed loop: each asks for a prediction, waits for the answer, thinks, and asks again.

    locust -f serve_api/deploy/locustfile.py --host http://127.0.0.1:8000 --headless \\
        --users 200 --spawn-rate 200 --run-time 60s --think-time 480ms

How many users offer a rate? By Little's law a user takes one answer and one think time for each request, so
that users = rate x (response + think): at 400 requests a second that are answered within 20 ms on average

>>> rate_rps, response_mean_s, think_time_s = 400, 0.020, 0.480
>>> rate_rps * (response_mean_s + think_time_s)
200.0

What it cannot show: how long requests wait once the service falls behind. A user who waits does not ask, so
that the load gives way just when the service is slow, and the requests that would have waited longest are
never sent (coordinated omission). Its percentiles are those of users who are that polite; they flatter a
service whose requests come from people or systems that do not know of each other. Hold a promise about an
arrival rate against an open loop, which sends on time whatever comes back. What a closed loop does show:
throughput and response of so many users, as `capacity plan --users 200 --think-time 480ms` has it.
"""

import argparse
import json
import random
from typing import Any

from locust import FastHttpUser, events, task
from locust.argument_parser import LocustArgumentParser

from capacity.errors import InputError
from capacity.units import parse_duration_s

FEATURES = 30  # of a row, as the models take them


def duration_s(text: str) -> float:
    """A duration with its unit, as argparse wants to be told."""
    try:
        return parse_duration_s(text)
    except InputError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def row_count(text: str) -> int:
    """Rows of a request, one at least."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number from 1 on, got {text!r}; 1 is usual")
    return int(text)


def add_options(parser: LocustArgumentParser) -> None:
    """What is ours beside locust's own options."""
    parser.add_argument(
        "--think-time", type=duration_s, default="480ms", help="Mean think time of a user: 480ms."
    )
    parser.add_argument("--rows", type=row_count, default="1", help="Rows of each request.")


events.init_command_line_parser.add_listener(add_options)


class ClosedLoopUser(FastHttpUser):
    """One of them."""

    connection_timeout = 5.0
    network_timeout = 30.0  # beyond the server's own deadline: nobody hangs

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.rows: int = self.environment.parsed_options.rows
        self.think_time_mean_s: float = self.environment.parsed_options.think_time

    def wait_time(self) -> float:
        """Think: for an exponential time, so that users who began together do not ask together for ever."""
        return random.expovariate(1.0 / self.think_time_mean_s) if self.think_time_mean_s else 0.0

    @task
    def predict(self) -> None:
        """Ask; anything but one prediction for each row is a failure, and makes locust end with 1."""
        # Values do not matter to how long a dense network takes.
        body = {"instances": [[0.5] * FEATURES] * self.rows}
        with self.client.post("/predict", json=body, catch_response=True) as answer:
            # Without a status there was no answer, which locust counts and names itself.
            if answer.status_code and prediction_count(answer.text) != self.rows:
                answer.failure(f"status {answer.status_code} without {self.rows} predictions")


def prediction_count(text: str) -> int:
    """How many predictions an answer has; none where it has another form."""
    try:
        return len(json.loads(text)["predictions"])
    except (KeyError, TypeError, ValueError):
        return 0
