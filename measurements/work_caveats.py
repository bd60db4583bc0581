"""What to know before betting on the work of a request."""

from collections.abc import Iterator

from capacity.caveats import Caveat, CaveatCode
from capacity.units import format_duration
from measurements.request_work import RequestWork

_ROWS_OF_NOTE = 0.02
_WAITED_OF_NOTE = 0.10


def work_caveats(work: RequestWork | None) -> Iterator[Caveat]:
    """Where requests are not rows, and where batches waited for the core that requests had."""
    if work is None:
        return
    if abs(work.rows - work.requests) > _ROWS_OF_NOTE * max(work.rows, work.requests):
        yield Caveat(
            code=CaveatCode.MEASURED_ROWS,
            message=f"{work.requests} requests held {work.rows} rows; request_work_s is that of one of the "
            "more numerous, and a plan counts rows; to tell a request's work send one row each, no errors",
        )
    if work.waited_share > _WAITED_OF_NOTE:
        yield Caveat(
            code=CaveatCode.MEASURED_CORE_SHARED,
            message=f"batches took {format_duration(work.batch_wall_s)} and computed for "
            f"{format_duration(work.batch_s)}; else others had the core, requests of the same server among "
            "them, whose work is then in the batch times and in request_work_s too; take batch times from "
            "--url on an idle server, and give it this --request-work",
        )
