"""`capacity simulate`: the performance of one plan."""

from capacity.commands.options import answering


@answering("capacity:simulate")
def simulate() -> None:
    """Latency, load and losses of one fleet, with intervals.

    Examples:
      capacity simulate --profile resnet50-t4-fp16 --rate 1500rps --replicas 2
      capacity simulate --profile engine.json --arrivals trace:requests.csv --replay --replicas 1 -o served.csv
      capacity simulate --profile resnet50-t4-fp16 --users 64 --think-time 100ms --replicas 1
    """
