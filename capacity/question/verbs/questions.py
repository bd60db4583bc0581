"""Verbs that answer questions: the flags of each, in the order of its help, and where one differs from the table."""

from collections.abc import Mapping

from capacity.question.asked import FLAGS, QUANTILES, ROUTINGS, ROUTINGS_IN_WORDS, STATISTICS, TOKEN_MEASURES
from capacity.question.flag import (
    ARRIVALS,
    CONFIDENCE,
    COUNT,
    COUNTS,
    DURATION,
    FILE,
    NAME,
    NUMBER,
    PLAN,
    PRICE,
    PROFILE,
    QUANTILE,
    RATE,
    REQUIRED,
    SHARE,
    TEXT,
    Flag,
    argument,
    reads,
    switch,
    writes,
)
from capacity.question.verbs.measurements import DRAFTED
from capacity.question.verbs.verb import NOTHING, Verb, answer_file, verb_of

_ROUTINGS = ROUTINGS_IN_WORDS.replace(",", " (default),", 1)
_LIMITS = " ".join(f"slo_{one}" for one in STATISTICS)
_TOKEN_LIMITS = " ".join(f"slo_{measure}_{one}" for measure in TOKEN_MEASURES for one in STATISTICS)
_JUDGED = " ".join(f"slo_{one} slo_ttft_{one}" for one in QUANTILES)
_WAITS = " ".join(f"slo_wait_{one}" for one in QUANTILES)
_ALL_LIMITS = f"{_LIMITS} {_WAITS} loss_max utilization_max {_TOKEN_LIMITS} goodput_min"
OBJECTIVE = f"{_LIMITS} {_WAITS} loss_max utilization_max tier {_TOKEN_LIMITS} goodput_min objective"
BATCHING = "batching preferred_sizes timer"
_LIMITED = "queue_limit outstanding_max"
_OF_REQUESTS = "lengths sessions allow_bistable cached_share context_tokens_max"
_OF_ENGINE = (
    "kv_tokens block_tokens engine_policy prefix_caching async_scheduling chunked_prefill long_prefill_tokens "
    "watermark mixed_chunk draft_tokens"
)
LLM_WORKLOAD = f"{_OF_REQUESTS} {_OF_ENGINE}"
LLM = f"{LLM_WORKLOAD} sequences_max batched_tokens_max"
CLIENTS = "client timeout deadline attempts backoff retry_budget retry_burst retry_on hedge"
FAILURES = "spare survive rolling_update mtbf recovery_time"
CONTROLLER = "autoscale replicas_min startup_time metric_lag stabilization"
EFFORT = "seed confidence precision requests_max engine workers cluster"
# Settings of an autoscaler, in verbs that have one only if it is asked for.
_OF_CONTROLLER = {"autoscale": CONTROLLER.removeprefix("autoscale ")}

_TRACE_AGAIN = reads(ARRIVALS, None, "trace:FILE again, if the plan's trace was too long to save.")
_DAYS = Flag(COUNT, 5, "Independent days behind each figure.")
# An autoscaler as part of any scenario: figures are then those of whole days.
_CONTROLLED = {
    "autoscale": FLAGS["autoscale"].but(
        help="With --daily: an autoscaler sizes the fleet up to its replicas, and figures are those of whole days: "
        "utilization:0.6, share of time busy, or concurrency:4, requests at a replica.",
    ),
    "startup_time": Flag(
        DURATION,
        None,
        "From its decision until a new replica serves: 2min. Default: 0 s.",
        panel="Autoscaler",
    ),
}
_SAVED = argument(PLAN, REQUIRED, "A plan saved by capacity plan -o.")
# Failures of a fleet whose figures are asked for; those of its plan are the same.
_IN_FAILURE = {
    "spare": FLAGS["spare"].but(help="Figures are those of the fleet with this many replicas gone."),
    "survive": FLAGS["survive"].but(
        help="Figures are those of what the worst of these failures leaves: n-1, n-2, zone:3; repeatable."
    ),
    "rolling_update": FLAGS["rolling_update"].but(
        help="Figures are those during a rolling update: max-unavailable=25%."
    ),
    "mtbf": FLAGS["mtbf"].but(
        help="Mean time that a replica runs until it fails: 264d; with --recovery-time. Figures are those of the "
        "replicas that are up for all but 0.01 % of the time."
    ),
}
_BESIDE_A_PROFILE = {
    "replicas": Flag(COUNT, 1, "With --profile: number of replicas."),
    "batch_size_max": Flag(
        COUNT, None, "With --profile: largest batch. Default: the largest in the profile."
    ),
    "batch_wait": Flag(
        DURATION, "0ms", "With --profile: how long the oldest request may wait for its batch to fill."
    ),
    "routing": FLAGS["routing"].but(help="With --profile: how requests are spread over the replicas."),
}
QUESTIONS: Mapping[str, Verb] = {
    "plan": verb_of(
        f"profile rate {OBJECTIVE} batch_size_max batch_wait {BATCHING} routing {_LIMITED} replicas_max hourly_usd "
        "arrivals daily autoscale metric_lag stabilization runs users think_time spare survive rolling_update "
        "startup_time spike mtbf recovery_time pause "
        f"request_class recover_within trigger detection slow_start {CLIENTS} shed request_overhead "
        f"instances_per_device {LLM} {EFFORT} explain out verbose before progress",
        "profile",
        {"autoscale": "metric_lag stabilization runs", "recover_within": "trigger detection slow_start shed"},
        NOTHING,
        f"rate users think_time {_ALL_LIMITS} batch_size_max batch_wait queue_limit replicas_max spare "
        "startup_time mtbf recovery_time recover_within timeout deadline attempts hedge request_overhead "
        "instances_per_device cached_share context_tokens_max kv_tokens sequences_max batched_tokens_max",
        {
            "explain": "it explains one plan",
            "autoscale": "the table has the costs of fixed fleets",
        },
        profile=reads(
            PROFILE,
            REQUIRED,
            "Measured service times: the name of a bundled profile, or a .json or .csv file. "
            "Repeat to choose between several.",
            is_many=True,
        ),
        autoscale=FLAGS["autoscale"].but(
            default=None,
            help="With --daily: find the autoscaler that holds the objective over the day at least cost: any, or the "
            "bounds of one target, utilization:0.6 or concurrency:4.",
            values=("any", "utilization:0.6", "concurrency:4"),
        ),
        runs=_DAYS.but(panel="Autoscaler"),
        batch_size_max=Flag(COUNT, None, "Largest batch to consider. Default: the largest in the profile."),
        batch_wait=Flag(
            DURATION,
            None,
            "How long the oldest request may wait for its batch to fill: 2ms. Default: several are tried.",
            is_many=True,
        ),
        routing=FLAGS["routing"].but(
            default=None,
            help=f"{_ROUTINGS}. Repeat, or give any, to choose between several; any has no balancer's own.",
            is_many=True,
            values=(*ROUTINGS, "any"),
        ),
        sequences_max=Flag(
            COUNT,
            None,
            "Most requests that run at once in an engine (vLLM: --max-num-seqs); repeat to choose. "
            "Default: as measured, or fewer where that saves an engine.",
            is_many=True,
        ),
        batched_tokens_max=Flag(
            COUNT,
            None,
            "Most tokens of a step of the engine; repeat to choose. Default: as measured.",
            is_many=True,
        ),
        out=answer_file("the plan as .json, for check, compare and explain", ", its page as .html"),
    ),
    "max-rate": verb_of(
        f"profile replicas {OBJECTIVE} batch_size_max batch_wait {BATCHING} routing {_LIMITED} arrivals daily "
        f"between {CONTROLLER} users think_time request_overhead instances_per_device {CLIENTS} {FAILURES} {LLM} "
        f"{EFFORT} out verbose progress",
        "profile replicas",
        _OF_CONTROLLER,
        **_CONTROLLED,
        **_IN_FAILURE,
        users=FLAGS["users"].but(
            help="Find the number of users in a closed loop, instead of the rate; this number is tried too."
        ),
    ),
    "simulate": verb_of(
        f"profile replicas rate batch_size_max batch_wait {BATCHING} routing arrivals daily between "
        f"{CONTROLLER} users think_time {_LIMITED} request_overhead instances_per_device {CLIENTS} {FAILURES} "
        f"quantile {LLM} replay {EFFORT} out verbose progress",
        "profile replicas",
        _OF_CONTROLLER,
        **_CONTROLLED,
        **_IN_FAILURE,
    ),
    "predict": verb_of(
        f"profile replicas rate batch_size_max batch_wait {BATCHING} routing request_overhead instances_per_device "
        "quantile",
        "profile replicas",
    ),
    "sweep": verb_of(
        f"profile replicas rate batch_size_max batch_wait routing {BATCHING} {_LIMITED} arrivals daily "
        f"between {CONTROLLER} users think_time request_overhead instances_per_device {CLIENTS} {FAILURES} quantile "
        f"{LLM} {EFFORT} limit out fresh output progress",
        "profile replicas",
        _OF_CONTROLLER | {"output": "fresh"},
        **_CONTROLLED,
        **_IN_FAILURE,
        profile=reads(
            PROFILE,
            REQUIRED,
            "The name of a bundled profile, or a .json or .csv file; repeatable.",
            is_many=True,
        ),
        replicas=Flag(
            COUNTS, REQUIRED, "Number of replicas: 4, 1,2,4, 1:8 or 2:16:2; repeatable.", is_many=True
        ),
        rate=Flag(
            RATE,
            None,
            "Arrival rates: 500rps,1krps or 100rps:1000rps:100rps; repeatable.",
            is_many=True,
        ),
        users=Flag(
            COUNTS,
            None,
            "Users in a closed loop, instead of --rate: 40, 10,20 or 10:100:10; repeatable.",
            is_many=True,
        ),
        batch_size_max=Flag(
            COUNTS,
            None,
            "Largest batch: 16, 4,8,16 or 8:32:8; repeatable. Default: the largest in each profile.",
            is_many=True,
        ),
        sequences_max=Flag(
            COUNTS,
            None,
            "Language models: most requests that run at once in an engine: 64 or 64:256:64; repeatable.",
            is_many=True,
        ),
        batched_tokens_max=Flag(
            COUNTS,
            None,
            "Language models: most tokens a step: 2048 or 512:2048:512; repeatable.",
            is_many=True,
        ),
        batch_wait=Flag(
            DURATION,
            None,
            "How long the oldest request may wait for its batch to fill: 0ms,2ms or 0ms:10ms:2ms; repeatable. "
            "Default: 0ms.",
            is_many=True,
        ),
        routing=FLAGS["routing"].but(
            default=None,
            help=f"{_ROUTINGS}; repeatable.",
            is_many=True,
        ),
        limit=Flag(
            DURATION,
            None,
            "Limit of the highest quantile, which the picture marks: 25ms.",
            panel="Output",
        ),
        out=answer_file("the rows as .json"),
        output=Flag(
            FILE,
            None,
            "A .csv, .json or .parquet file for the rows; an interrupted run goes on there.",
            is_typed=False,
        ),
    ),
    "compare": verb_of(
        f"plans fleet profile rate arrivals daily between {CONTROLLER} users think_time {BATCHING} {_LIMITED} "
        f"request_overhead instances_per_device {CLIENTS} {FAILURES} quantile {LLM_WORKLOAD} {EFFORT} out progress",
        "plans",
        _OF_CONTROLLER
        | {
            "fleet": f"profile {BATCHING} {_LIMITED}",
            "profile": f"request_overhead {_OF_ENGINE}",
        },
        {
            "plans": f"daily between {CONTROLLER} users think_time instances_per_device {CLIENTS} {_OF_REQUESTS}"
        },
        **_CONTROLLED,
        **_IN_FAILURE,
        plans=argument(PLAN, None, "Plans saved by capacity plan -o.", is_many=True),
        profile=reads(
            PROFILE,
            None,
            "Profile of each --fleet: a bundled name, or a .json or .csv file; repeatable.",
            is_many=True,
        ),
        seed=Flag(COUNT, None, "Random seed. Default: that of the first plan, or 0."),
        confidence=Flag(
            CONFIDENCE, None, "Confidence of intervals. Default: that of the first plan, or 0.95."
        ),
        precision=Flag(NUMBER, None, "Relative half-width to reach for the highest quantile. Default: 0.02."),
        requests_max=Flag(COUNT, None, "Most requests to simulate for one fleet. Default: 100000000."),
        engine=FLAGS["engine"].but(default=None, help="kernel (default) or simpy; both give the same bytes."),
    ),
    "curve": verb_of(
        f"y x service_rate servers profile replicas arrivals daily between {CONTROLLER} users think_time "
        f"batch_size_max batch_wait {BATCHING} routing {_LIMITED} request_overhead instances_per_device {CLIENTS} "
        f"{FAILURES} quantile {LLM} seed confidence precision requests_max workers out progress",
        "profile replicas",
        _OF_CONTROLLER,
        **_CONTROLLED,
        **_IN_FAILURE,
        y=Flag(
            TEXT,
            "queue-length",
            "queue-length, wait-probability, wait, response or p99.",
            keyword="",
            values=("queue-length", "wait-probability", "wait", "response", "p99"),
        ),
        x=Flag(
            TEXT,
            "utilization",
            "utilization or arrival-rate.",
            keyword="",
            values=("utilization", "arrival-rate"),
        ),
        service_rate=Flag(
            RATE, None, "Service rate of a server: 10rps; repeatable.", is_many=True, keyword=""
        ),
        servers=Flag(COUNT, None, "Number of servers; repeatable.", is_many=True, keyword=""),
        profile=reads(
            PROFILE, None, "Draw the response time of a fleet with this profile instead, by simulation."
        ),
        **_BESIDE_A_PROFILE,
        users=FLAGS["users"].but(
            help="With --profile: ever more users in a closed loop, instead of rates; this number is among them."
        ),
        quantile=Flag(QUANTILE, 0.99, "With --profile: quantile of the response time."),
        precision=FLAGS["precision"].but(default=0.05),
    ),
    "check": verb_of(
        "plan profile rate baseline arrivals without_recovery requests_max workers cluster out progress",
        "plan",
        plan=reads(PLAN, REQUIRED, "A plan saved by capacity plan -o."),
        profile=reads(
            PROFILE,
            None,
            "New measurements in place of the saved ones: FILE, or NAME=FILE for one of several.",
            is_many=True,
        ),
        rate=Flag(RATE, None, "Arrival rate in place of the saved one: 500rps."),
        baseline=reads(
            PLAN, None, "A saved plan whose replicas must still be enough. Default: the plan itself."
        ),
        arrivals=_TRACE_AGAIN,
        without_recovery=switch("Leave out whether the plan still recovers from trouble in time."),
        requests_max=Flag(COUNT, None, "Most requests to simulate, in place of the saved budget."),
    ),
    "explain": verb_of(
        "plan arrivals workers cluster out progress",
        "plan",
        plan=argument(
            PLAN,
            REQUIRED,
            "A plan saved by capacity plan -o; Triton's statistics or /metrics, or perf_analyzer's results; or a URL.",
            "FILE|URL",
        ),
        arrivals=_TRACE_AGAIN,
    ),
    "report": verb_of(
        "plan file arrivals workers cluster progress",
        "plan file",
        plan=_SAVED,
        file=writes("The page to write, as .html.", keyword="output").but(default=REQUIRED),
        arrivals=_TRACE_AGAIN,
    ),
    "stress": verb_of(
        f"plan profile rate replicas batch_size_max batch_wait {BATCHING} routing {_LIMITED} arrivals "
        "request_overhead instances_per_device trigger detection startup_time slow_start cold_batches mtbf "
        f"recovery_time spare survive rolling_update horizon {CLIENTS} shed abandoned ejection ejection_rule "
        f"replicas_max only_verdict spike_map {LLM} runs seed confidence workers out verbose progress",
        "profile",
        NOTHING,
        {
            "plan": f"{BATCHING} arrivals request_overhead instances_per_device {LLM}",
            "only_verdict": "replicas_max spike_map",
        },
        plan=reads(
            PLAN, None, "A plan that capacity plan -o has saved, instead of --profile, --rate and --replicas."
        ),
        profile=FLAGS["profile"].but(default=None),
        replicas=FLAGS["replicas"].but(default=None),
        batch_wait=FLAGS["batch_wait"].but(default=None),
        routing=FLAGS["routing"].but(default=None),
        arrivals=FLAGS["arrivals"].but(
            help="How requests arrive: poisson, deterministic, gamma:cv=2 or mmpp:ratio=5,burst=10s,calm=60s."
        ),
        trigger=FLAGS["trigger"].but(default=REQUIRED),
        **{name: _IN_FAILURE[name] for name in ("spare", "survive", "rolling_update")},
        startup_time=Flag(
            DURATION, None, "What a replica needs to serve, after an outage or in a rollout: 90s."
        ),
        mtbf=Flag(
            DURATION,
            None,
            "Beside the trigger, mean time that a replica runs until it crashes: 6h; with --recovery-time.",
        ),
        recovery_time=Flag(
            DURATION, None, "How long a replica that crashed by itself is down: 5min; with --mtbf."
        ),
        replicas_max=Flag(COUNT, 1024, "Most replicas to try in the search for the smallest fleet."),
        only_verdict=switch("Leave out the smallest fleet, what would help, and the spikes."),
        spike_map=switch(
            "Find the longest spikes that are survived for seven heights, as a map for -o.", "--map"
        ),
        runs=Flag(COUNT, 20, "Independent runs behind each verdict."),
    ),
    "autoscale": verb_of(
        f"plan profile rate daily between arrivals {_JUDGED} autoscale replicas_min replicas_max startup_time "
        f"metric_lag stabilization batch_size_max batch_wait {BATCHING} instances_per_device routing queue_limit "
        f"hourly_usd request_overhead {CLIENTS} {FAILURES} {LLM} only_verdict runs seed confidence workers out verbose "
        "progress",
        "profile",
        NOTHING,
        {"plan": f"{BATCHING} instances_per_device {LLM}"},
        plan=reads(
            PLAN,
            None,
            "A plan that capacity plan -o has saved, instead of --profile: its server, day, autoscaler and limit, as "
            "far as other flags do not replace them.",
        ),
        profile=FLAGS["profile"].but(default=None),
        arrivals=FLAGS["arrivals"].but(
            default=None, help="How requests arrive: poisson (default), deterministic or gamma:cv=2."
        ),
        slo_p99=Flag(DURATION, None, "Limit on the P99 of all requests of that time: 200ms."),
        replicas_max=Flag(COUNT, None, "Most replicas. Default: 10."),
        routing=FLAGS["routing"].but(default=None),
        startup_time=Flag(
            DURATION, None, "From the decision until a new replica serves: 2min. Default: 0 s."
        ),
        batch_wait=FLAGS["batch_wait"].but(default=None),
        hourly_usd=Flag(
            FLAGS["hourly_usd"].kind,
            None,
            "Price of one device in USD per hour: 0.526. Default: the profile's.",
        ),
        only_verdict=switch("Leave out the fixed fleet, and what would hold the limit."),
        runs=_DAYS,
    ),
    "audit": verb_of(
        f"file loop users think_time rate profile plan replicas batch_size_max batch_wait routing {_LIMITED} "
        "request_overhead lengths sequences_max batched_tokens_max kv_tokens prefix_caching seed precision workers "
        "out verbose progress",
        "file",
        {
            "profile": f"replicas batch_size_max batch_wait routing {_LIMITED} request_overhead sequences_max "
            "batched_tokens_max kv_tokens prefix_caching",
            "profile plan": "lengths",
        },
        file=argument(FILE, REQUIRED, "A report of a load generator, or its URL.", "FILE|URL"),
        users=Flag(NUMBER, None, "Users of a closed loop, if the report does not say how many there were."),
        think_time=Flag(
            DURATION,
            None,
            "Mean time between an answer and the next request of a user: shows a generator that is slow itself.",
        ),
        rate=Flag(RATE, None, "Arrival rate of the requests, if the report does not say: 100rps."),
        profile=reads(
            PROFILE, None, "Predict each run by this profile, and lay that beside what was measured."
        ),
        plan=reads(
            PLAN,
            None,
            "Predict by a plan saved by capacity plan -o instead; or, with --profile, by Triton's config.pbtxt.",
        ),
        **_BESIDE_A_PROFILE,
        precision=Flag(NUMBER, 0.05, "Relative half-width to reach for the highest quantile predicted."),
    ),
    "agreement": verb_of(
        "grid seed requests_max engine workers out progress",
        grid=Flag(
            TEXT.named("GRID"),
            "short",
            "short (one or two queues of each law) or full.",
            values=("short", "full"),
        ),
        requests_max=FLAGS["requests_max"].but(
            default=200_000_000, help="Most requests to simulate for one queue."
        ),
    ),
    "workload": verb_of(
        "trace profile replicas rate batch_size_max batch_wait routing request_overhead quantile "
        f"{EFFORT} out progress",
        "trace",
        {"profile": "rate batch_size_max batch_wait routing request_overhead quantile"},
        trace=argument(FILE, REQUIRED, "Recorded arrivals, as for --arrivals trace:FILE; or sessions."),
        profile=reads(
            PROFILE, None, "With --replicas: simulate this trace and Poisson arrivals, and compare."
        ),
        replicas=Flag(COUNT, None, "Number of replicas; with --profile, or of sessions."),
        quantile=Flag(QUANTILE, 0.99, "Quantile to compare."),
    ),
    "import": verb_of(
        "files kind profile every name model device devices device_kind precision runtime hourly_usd kv_tokens "
        "block_tokens "
        "sequences_max batched_tokens_max engine_policy prefix_caching async_scheduling chunked_prefill draft_tokens "
        "request_overhead in_flight_max cached_share file progress",
        "files",
        files=argument(
            FILE,
            REQUIRED,
            "Files of other tools, or a URL: Triton's statistics, Prometheus, perf_analyzer, Locust, k6 and others.",
            "FILE|URL...",
            is_many=True,
        ),
        kind=Flag(
            TEXT.named("KIND"),
            None,
            "What to read where there are several: profile, load-test, workload or plan.",
            ("--as",),
            values=("profile", "load-test", "workload", "plan"),
        ),
        profile=FLAGS["profile"].but(
            default=None,
            help="Add to this profile of a language model what its host takes for each step, by single requests.",
        ),
        every=Flag(
            COUNT,
            1,
            "With --profile: calibrate by each Nth request, and show the figures of the others.",
        ),
        name=Flag(NAME, None, "Name of the profile. Default: that in the file, or for sweeps that of -o."),
        model=Flag(NAME, None, "Name of the model; of a file with several, which of them."),
        device=Flag(NAME, None, "Device of the replicas: H100."),
        devices=Flag(COUNT, 1, "Devices that the measured server runs on, as one replica."),
        device_kind=Flag(
            TEXT, None, "cpu or gpu, for render; of batch times.", ("--kind",), values=("cpu", "gpu")
        ),
        precision=Flag(TEXT, None, "bf16, fp8, ...", panel=""),
        runtime=Flag(NAME, None, "The engine, with its version: vllm 0.19.0."),
        hourly_usd=Flag(PRICE, None, "Price of one device in USD per hour."),
        sequences_max=Flag(COUNT, None, "Most requests that the measured engine ran at once."),
        batched_tokens_max=Flag(COUNT, None, "Most tokens of a step of the measured engine."),
        request_overhead=Flag(
            DURATION,
            None,
            "Time of a request outside the engine: 18ms. Default: worked out from the shortest prompts.",
        ),
        in_flight_max=Flag(
            COUNT, None, "Most requests that the load generator had in flight, where it does not say so."
        ),
        cached_share=Flag(
            SHARE, None, "Share of each prompt of the loads that was in the prefix cache: 30%."
        ),
        draft_tokens=DRAFTED,
        file=writes("Write what was read, as .json; a workload also as .csv."),
    ),
}
