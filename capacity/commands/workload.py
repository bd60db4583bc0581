"""`capacity workload`: how heavy and bursty recorded arrivals are."""

from capacity.commands.options import answering


@answering("capacity:describe_workload")
def workload() -> None:
    """How heavy and how bursty recorded traffic is, and what assuming Poisson arrivals would get wrong.

    Examples:
      capacity workload docs/examples/bursts.csv
      capacity workload trace.csv --profile mine.csv --replicas 2 --quantile 0.95
    """
