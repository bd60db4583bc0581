"""`capacity autoscale`: cost and response time of a fleet that follows its load."""

from capacity.commands.options import answering


@answering("capacity:autoscale")
def autoscale() -> None:
    """Autoscaled beside fixed: cost and response time of a fleet that follows its load, and of one that does not.

    Examples:
      capacity autoscale --profile mine.csv --daily day.csv --slo-p99 300ms --startup-time 2min --metric-lag 30s
      capacity autoscale --profile mine.csv --rate 90rps --between 00:00-02:00 --slo-p99 300ms --autoscale concurrency:4
    """
