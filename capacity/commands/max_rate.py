"""`capacity max-rate`: the arrival rates at which one plan meets the objective."""

from capacity.commands.options import answering


@answering("capacity:max_rate")
def max_rate() -> None:
    """What load a fleet can handle: the arrival rates that meet the objective, and P99 against the rate.

    A batch wait makes low rates slow, so the rates that meet the objective may start above 0, in several stretches.

    Examples:
      capacity max-rate --profile resnet50-t4-fp16 --replicas 2 --slo-p99 40ms
      capacity max-rate --profile mine.csv --replicas 4 --slo-p99 80ms -o curve.svg
    """
