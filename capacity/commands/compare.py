"""`capacity compare`: fleets side by side under the same requests."""

import typer

from capacity.commands.options import EFFORT, LLM_WORKLOAD, Flag, argument, flags, reads
from capacity.commands.output import Format, emit, run


@flags(
    f"plans fleet profile rate arrivals request_overhead quantile {LLM_WORKLOAD} {EFFORT}",
    plans=argument(list[str], None, "Plans saved by capacity plan -o.", show_default=False),
    fleet=Flag(
        list[str],
        None,
        "A fleet: replicas=4,batch=16,wait=2ms, of a language model replicas=4,sequences=128,tokens=2048; also "
        "routing=random, profile=NAME; repeatable.",
    ),
    profile=reads(
        list[str],
        None,
        "Profile of each --fleet: a bundled name, or a .json or .csv file; repeatable.",
    ),
    seed=Flag(int, None, "Random seed. Default: that of the first plan, or 0."),
    confidence=Flag(float, None, "Confidence of intervals. Default: that of the first plan, or 0.95."),
    precision=Flag(float, None, "Relative half-width to reach for the highest quantile. Default: 0.02."),
    requests_max=Flag(int, None, "Most requests to simulate for one fleet. Default: 100000000."),
    engine=Flag(str, None, "kernel (default) or simpy; both give the same bytes."),
)
def compare(context: typer.Context, output: Format, *, as_json: bool) -> None:
    """Compare fleets side by side under the same requests, with how certain each difference is.

    Examples:
      capacity compare --profile resnet50-t4-fp16 --rate 1000rps --fleet replicas=2 --fleet replicas=3
      capacity compare old.json new.json
    """
    from capacity import api

    emit(run(api.compare, context), output, as_json=as_json)
