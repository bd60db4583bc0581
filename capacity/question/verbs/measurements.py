"""Verbs that send load to what is measured: a profile from a server, and a plan beside one."""

from collections.abc import Mapping

from capacity.question.asked import FLAGS
from capacity.question.flag import (
    CALLED,
    COUNT,
    DURATION,
    FILE,
    NAME,
    PLAN,
    PRICE,
    REQUIRED,
    SIZES,
    TEXT,
    Flag,
    reads,
    switch,
    writes,
)
from capacity.question.verbs.verb import Verb, verb_of

# Flags that describe a plan if no saved one does.
DESCRIBED = (
    "profile",
    "replicas",
    "batch_size_max",
    "batch_wait",
    "routing",
    "queue_limit",
    "outstanding_max",
    "request_overhead",
    "lengths",
    "sessions",
    "cached_share",
    "context_tokens_max",
    "kv_tokens",
    "block_tokens",
    "engine_policy",
    "prefix_caching",
    "async_scheduling",
    "chunked_prefill",
    "long_prefill_tokens",
    "watermark",
    "sequences_max",
    "batched_tokens_max",
)

# Drafts of an engine that is measured, where its server does not count them.
DRAFTED = FLAGS["draft_tokens"].but(
    help="Tokens that the engine drafts for each request in a step, where its server does not count them."
)

MEASUREMENTS: Mapping[str, Verb] = {
    "profile": verb_of(
        "callable_name function url body rows_key counters metrics llm duration metric label metric_unit batch_sizes "
        "samples warm_up rests seed duration_max timeout confidence name model device devices kind precision runtime "
        "hourly_usd request_overhead request_work kv_tokens block_tokens sequences_max batched_tokens_max "
        "context_tokens_max engine_policy prefix_caching async_scheduling chunked_prefill draft_tokens file progress",
        callable_name=Flag(
            TEXT.named("MODULE:FUNCTION"),
            None,
            "Time calls of a Python function that takes the batch size: module:function.",
            ("--callable",),
        ),
        function=Flag(
            CALLED, None, "Time calls of this function, which takes the batch size.", is_typed=False
        ),
        url=Flag(TEXT.named("URL"), None, "Time requests, one batch each: http://127.0.0.1:8000/predict."),
        body=reads(FILE, None, "With --url: a .json file with a request; its first row is repeated."),
        rows_key=Flag(TEXT.named("KEY"), "instances", "With --url: key of the rows in the request."),
        counters=Flag(
            TEXT.named("URL"),
            None,
            "With --url: the server's metrics, to separate work on requests from work on batches.",
        ),
        metrics=Flag(
            TEXT.named("URL"),
            None,
            "Read a server's own histograms while it serves traffic: http://127.0.0.1:8000/metrics.",
        ),
        llm=Flag(
            TEXT,
            None,
            "Measure the steps of a language model's engine at an OpenAI-compatible server: http://127.0.0.1:8000.",
        ),
        duration=Flag(DURATION, None, "With --metrics: how long to watch. Default: 30s."),
        metric=Flag(NAME, "serve_batch_seconds", "With --metrics: name of the histogram of batch times."),
        label=Flag(NAME, "batch_size", "With --metrics: the label that holds the batch size."),
        metric_unit=Flag(
            TEXT.named("UNIT"), None, "With --metric: its unit if the name does not end in _seconds: ms."
        ),
        batch_sizes=Flag(SIZES, "1,2,4,8,16,32,64", "Batch sizes to measure."),
        samples=Flag(COUNT, 500, "Batches of each size."),
        warm_up=Flag(COUNT, 20, "Warm-up batches of each size, not counted."),
        rests=switch("Also time batches that start after an idle pause.", "--rests/--no-rests").but(
            default=True
        ),
        duration_max=Flag(DURATION, "10min", "Stop after this long and keep what was measured."),
        timeout=Flag(DURATION, "10s", "Longest time to wait for a response; of --llm 10min.", panel=""),
        name=Flag(NAME, None, "Name of the profile. Default: that of the file."),
        model=Flag(NAME, None, "Name of the model; with --llm as the server knows it."),
        device=Flag(NAME, None, "Device of the replicas: T4, c6i.xlarge."),
        devices=Flag(COUNT, 1, "With --llm: devices that the server runs on, as one replica."),
        kind=Flag(TEXT.named("KIND"), None, "cpu or gpu."),
        precision=Flag(TEXT, None, "fp32, fp16, int8, ...", panel=""),
        runtime=Flag(NAME, None, "Runtime of the model, with its version."),
        hourly_usd=Flag(PRICE, None, "Price of one device in USD per hour.", panel=""),
        request_work=Flag(DURATION, None, "Time a replica spends on each request outside batches: 200us."),
        sequences_max=FLAGS["sequences_max"].but(
            help="Most requests that the engine runs at once, as it was started."
        ),
        batched_tokens_max=FLAGS["batched_tokens_max"].but(
            help="Most tokens of a step of the engine, as it was started."
        ),
        context_tokens_max=FLAGS["context_tokens_max"].but(
            help="Longest request to measure, input and output tokens together."
        ),
        draft_tokens=DRAFTED,
        file=writes("Write the profile as .json."),
    ),
    "verify": verb_of(
        f"url body model plan {' '.join(DESCRIBED)} rate arrivals duration warm_up runs timeout requests_max metrics "
        "tolerance seed confidence precision workers file progress",
        "plan",
        url=Flag(
            TEXT.named("URL"),
            REQUIRED,
            "Endpoint to load: http://127.0.0.1:8000/predict; repeat for each replica.",
            is_many=True,
        ),
        body=reads(FILE, None, "A .json file with one request of one row, for a server that batches."),
        model=Flag(NAME, None, "Language model to ask for, as its server knows it. Default: the profile's."),
        plan=reads(PLAN, None, "A plan saved by capacity plan -o, with its rate and objective."),
        profile=FLAGS["profile"].but(
            default=None, help="Instead of --plan: a bundled name, or a .json or .csv file."
        ),
        replicas=FLAGS["replicas"].but(default=None, help="Number of replicas. Default: one per --url."),
        batch_wait=FLAGS["batch_wait"].but(
            default=None,
            help="How long the oldest request may wait for its batch to fill: 2ms. Default: 0ms.",
        ),
        routing=FLAGS["routing"].but(
            default=None, help="How requests are spread over several --url. Default: round-robin."
        ),
        rate=FLAGS["rate"].but(help="Arrival rate: 300rps. A plan and a trace have their own."),
        arrivals=FLAGS["arrivals"].but(
            default=None, help="poisson (default), gamma:cv=2, trace:FILE, as in simulate."
        ),
        duration=Flag(DURATION, "60s", "Measured time of each run."),
        warm_up=Flag(DURATION, "5s", "Warm-up before each run, not counted."),
        runs=Flag(COUNT, 1, "Number of load tests, each with its own random arrivals."),
        timeout=Flag(
            DURATION, "10s", "Timeout of each request; of a language model 600s unless given.", panel=""
        ),
        requests_max=Flag(COUNT, 1_000_000, "Most requests to send, warm-up included.", panel=""),
        metrics=Flag(
            TEXT.named("URL"),
            None,
            "Metrics address of each replica, or none. Default: /metrics at each --url.",
            is_many=True,
        ),
        tolerance=Flag(
            TEXT.named("QUANTITY=SHARE"),
            None,
            "How far a prediction may be off: p99=15%; repeatable.",
            is_many=True,
        ),
        file=writes("Also write the answer as .json."),
    ),
}
