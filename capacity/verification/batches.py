"""Batches: what a load test sends to servers that batch, and what is compared."""

from pathlib import Path

from capacity.errors import InputError
from capacity.measurement.http import Address, parse_address
from capacity.question.arguments import Asked
from capacity.server.batch.stability import require_answerable
from capacity.traffic.workload import is_trace
from capacity.verification.quantities import QUANTITIES
from capacity.verification.send import Target
from capacity.verification.subject import Subject, read_request_body
from capacity.verification.watch import batching_notes, look


class Batches:
    """A `capacity.verification.kinds.Kind` of servers that batch."""

    quantities = QUANTITIES
    is_calibrated = True
    told_by_metrics = "mean batch and utilization"

    def require_answerable(self, subject: Subject) -> None:
        """Refuse a plan whose queue would grow; a trace has its replay in any case."""
        if not is_trace(subject.workload):
            require_answerable(subject.profile, subject.workload, subject.plan)

    def target(self, asked: Asked, subject: Subject) -> Target:
        """The same body for every request."""
        if asked.model is not None:
            raise InputError("--model is of a language model; leave it out")
        if asked.body is None:
            raise InputError("give --body FILE.json: one request of one row, which is sent again and again")
        return Target(
            addresses=tuple(parse_address(each, "--url") for each in asked.url),
            body=read_request_body(Path(asked.body)),
            timeout_s=asked.timeout,
        )

    def look(
        self, addresses: tuple[Address, ...], subject: Subject
    ) -> tuple[tuple[Address, ...], tuple[str, ...]]:
        """All addresses, whose histograms tell mean batch and utilization."""
        return addresses, batching_notes(addresses, look(addresses), subject.plan)
