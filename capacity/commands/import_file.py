"""`capacity import`: reads files of other tools, and writes what `capacity` takes."""

from pathlib import Path

import typer

from capacity.commands.options import verb
from capacity.commands.output import Format, emit, run


@verb("import")
def import_(context: typer.Context, *, file: str | None, output: Format, as_json: bool) -> None:
    """Read what other tools have measured, and write what plan, workload and audit take.

    Files are recognised by what they hold: Triton's statistics and config.pbtxt, Prometheus (text and queries),
    OTLP metrics, perf_analyzer, Model Analyzer, genai-perf, MLPerf LoadGen, inference-perf, vllm bench, guidellm,
    aiperf, Locust, k6, JMeter, vegeta, oha, hey, wrk and wrk2, ApacheBench, siege, fortio, ghz, autocannon, Gatling,
    logs of nginx, Apache, ingress-nginx and HAProxy, Dynamo's forward pass metrics, and vLLM's log of iterations.
    Each may be packed by gzip.

    Service times become a profile for plan --profile, reports of load generators a load test for audit, and logs
    of requests a workload for --arrivals trace:FILE.

    Sweeps over the server of a language model become its profile: prompts of several lengths with one output
    token, one at a time; short prompts at 1 to the most requests at once; long prompts at some of these; and a
    run with requests always waiting, by which the profile is checked. Steps that the engine recorded itself, under
    traffic, are enough alone; so are three loads or more, from low to near saturation, each of which is simulated.

    Examples:
      capacity import statistics.json --kind gpu -o profile.json
      capacity import http://127.0.0.1:8000/v2/models/resnet/stats -o profile.json
      capacity import bench.json --as load-test -o test.json
      capacity import access.log --as workload -o trace.csv
      capacity import sweeps/*.json --kv-tokens 535040 --sequences-max 64 --batched-tokens-max 2048 -o m.json
      capacity import forward_passes.jsonl --kv-tokens 535040 -o m.json
    """
    import capacity
    from capacity.answers.evidence import ImportAnswer
    from capacity.api.files import is_of_engines
    from capacity.files import check_target
    from capacity.profile.load import profile_name

    path = None if file is None else Path(file)
    if path is not None:
        check_target(path, "what was read", (".json", ".csv"))
        if context.params["kind"] is None and is_of_engines(context.params["files"]):
            context.params["name"] = context.params["name"] or profile_name(path)
    answer = run(capacity.import_file, context)
    if path is not None:
        if isinstance(answer, ImportAnswer):
            answer.write(path)
        else:
            answer.write_profile(path)
    emit(answer, output, as_json=as_json)
