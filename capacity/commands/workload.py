"""`capacity workload`: how heavy and bursty recorded arrivals are, and what recorded sessions repeat."""

from capacity.commands.options import answering


@answering("capacity:describe_workload")
def workload() -> None:
    """How heavy and how bursty recorded traffic is, and what assuming Poisson arrivals would get wrong.

    Of sessions it says how they grow and go on, and how much of their prompts caches would find at best.

    Examples:
      capacity workload docs/examples/bursts.csv
      capacity workload mooncake-conversation-2025
      capacity workload trace.csv --profile mine.csv --replicas 2 --quantile 0.95
    """
