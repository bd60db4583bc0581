"""`capacity audit`: whether a load test can be believed."""

from capacity.commands.options import answering


@answering("capacity:audit")
def audit() -> None:
    """Whether a load test can be believed: laws that its own figures must obey, each with what to do.

    Checks Little's law, whether the loop was closed and what that hides (coordinated omission), whether the
    generator kept up, failures, samples behind percentiles, buckets, warm-up and drift. Exits with 0 if the
    figures can be used as they are, else with 4. With --profile or --plan it predicts each run.

    Examples:
      capacity audit run_stats.csv
      capacity audit perf.csv --profile resnet50-t4-fp16 --batch-size-max 8
    """
