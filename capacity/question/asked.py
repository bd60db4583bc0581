"""Asked: the table of all flags, each of which is an option of commands and a keyword of verbs.

It gives the options of the commands with their help, the keywords of the verbs with their signatures and
descriptions, the keys of `capacity.toml` and of the environment, completion, and the flags that one kind of server
refuses. To add a flag, see the recipe in CONTRIBUTING.
"""

from collections.abc import Iterator, Mapping

from capacity.question.flag import (
    ARRIVALS,
    CALLED,
    CONFIDENCE,
    COUNT,
    DURATION,
    FACTOR,
    FILE,
    LENGTHS,
    NUMBER,
    OBJECTIVE,
    ON_OFF,
    PRICES,
    PROFILE,
    QUANTILE,
    RATE,
    REQUIRED,
    SESSIONS,
    SHARE,
    SIZES,
    TEXT,
    Flag,
    Reads,
    switch,
)
from capacity.question.plan import ANY_ROUTINGS, PLAIN_ROUTINGS, Routing

# Former flags and their replacements, for commands that have the first flag of the replacement.
GONE = {
    "--plot": "-o with the ending of a picture: -o plan.svg",
    "--slo-wait": "--slo-wait-p99 5ms, and so for each quantile",
    "--target": "--autoscale utilization:0.6",
}

# Flags that ask for a plan with room for trouble, and what asks how a fleet fares in it, in commands without them.
TRIGGERS = {
    "--spike": "--trigger spike:2x,30s",
    "--pause": "--trigger pause:500ms,10/min",
}

# Beginnings of the values of a former flag, if other commands have a flag of that name.
OLD_VALUES = {"--target": ("utilization", "concurrency")}


def _panel(title: str, **flags: Flag) -> Iterator[tuple[str, Flag]]:
    for name, flag in flags.items():
        yield name, flag.but(panel=title)


ROUTINGS = tuple(one.value for one in PLAIN_ROUTINGS)
_HELP = {"random": "random (a Kubernetes Service)"}
_ANY = tuple(one.value for one in ANY_ROUTINGS)
ROUTINGS_IN_WORDS = (
    f"{', '.join(_HELP.get(one, one) for one in _ANY[:-1])} or {_ANY[-1]}; as balancers have them, "
    f"{', '.join(one for one in ROUTINGS if one not in _ANY)}; with --sessions also "
    f"{', '.join(one.value for one in Routing if one.needs_sessions)}"
)
_PROFILE_NAMES = "capacity.profile.load:all_bundled_names"
QUANTILES = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99, "p999": 0.999}
STATISTICS = (*QUANTILES, "mean")
TOKEN_MEASURES = {
    "ttft": "the time to the first token",
    "tpot": "the time per output token",
    "itl": "the time between two output tokens",
    "session": "a session, from its first turn to its last answer",
}
_SHORT = {"p50": "median", "p90": "P90", "p95": "P95", "p99": "P99", "p999": "P99.9", "mean": "mean"}
_SUCH = {"p50": ": 50ms", "p99": ": 200ms"}
_SUCH_WAIT = {"p99": ": 5ms"}

_BATCHES = "an engine puts a new batch together for each step; its limits are --sequences-max and --batched-tokens-max"
_NO_WAIT = "an engine starts a step as soon as the one before has ended, and never waits for a batch to fill"
_NO_FORMING = "it says how a server forms batches; an engine's rules are --engine-policy"
_TROUBLE = "what goes wrong with engines is simulated by capacity stress alone; give it the plan, saved by -o"

FLAGS: Mapping[str, Flag] = dict(
    (
        *_panel(
            "Profile and traffic",
            profile=Flag(
                PROFILE,
                REQUIRED,
                "Measured service times: the name of a bundled profile, or a .json or .csv file.",
                reads=Reads.INPUT,
                values=_PROFILE_NAMES,
            ),
            rate=Flag(
                RATE, None, "Arrival rate with its unit: 500rps, 500qps, 30000/min. A trace has its own."
            ),
            arrivals=Flag(
                ARRIVALS,
                "poisson",
                "How requests arrive: poisson, deterministic, gamma:cv=2, mmpp:ratio=5,burst=10s,calm=60s "
                "or trace:FILE.",
                reads=Reads.ARRIVALS,
                values=(
                    "poisson",
                    "deterministic",
                    "gamma:cv=2",
                    "mmpp:ratio=5,burst=10s,calm=60s",
                    "trace:",
                ),
            ),
            daily=Flag(
                FILE,
                None,
                "Rates over a day, instead of --rate: a .csv of time,rate_rps.",
                reads=Reads.INPUT,
            ),
            between=Flag(
                TEXT.named("FROM-TO"),
                None,
                "Part of the day to look at: 07:00-11:30. Default: all of it.",
            ),
            users=Flag(
                COUNT,
                None,
                "Number of users in a closed loop, instead of --rate; with --think-time.",
            ),
            think_time=Flag(DURATION, None, "Mean think time of a user: 300ms."),
            loop=Flag(
                TEXT.named("OPEN|CLOSED"),
                None,
                "What decided when a request was sent, if the report does not say: open (a schedule) or closed.",
                values=("open", "closed"),
            ),
        ),
        *_panel(
            "Objective",
            **{
                f"slo_{one}": Flag(
                    DURATION,
                    None,
                    f"Limit on the {_SHORT[one]} response time{_SUCH.get(one, '')}.",
                )
                for one in STATISTICS
            },
            **{
                f"slo_wait_{one}": Flag(
                    DURATION,
                    None,
                    f"Limit on the {_SHORT[one]} of the time in queue{_SUCH_WAIT.get(one, '')}.",
                    engines_lack="a request waits until its first token, which --slo-ttft-p99 limits",
                )
                for one in QUANTILES
            },
            loss_max=Flag(
                SHARE,
                None,
                "Largest share of requests that may be rejected, with --queue-limit: 0.1%.",
            ),
            utilization_max=Flag(
                SHARE,
                None,
                "Largest share of time that a replica may be busy: 80%.",
                engines_lack="an engine is busy as long as one request runs, so that its utilization says little; give "
                "limits of latency",
            ),
            tier=Flag(
                TEXT.named("TIER"),
                None,
                "Preset limits: interactive, batch or background.",
                values=("interactive", "batch", "background"),
                engines_lack="tiers are limits of a whole response; give --slo-ttft-p99, --slo-tpot-p99 or --slo-p99",
            ),
            objective=Flag(
                OBJECTIVE,
                None,
                "Instead of all keywords of limits: an `Objective`.",
                is_typed=False,
            ),
            **{
                f"slo_{measure}_{one}": Flag(
                    DURATION, None, f"Limit on the {_SHORT[one]} of {what}.", of_engines=True
                )
                for measure, what in TOKEN_MEASURES.items()
                for one in STATISTICS
            },
            goodput_min=Flag(
                SHARE,
                None,
                "Language models: share of requests that must meet all limits at once: 99%.",
                of_engines=True,
            ),
        ),
        *_panel(
            "Fleet",
            fleet=Flag(
                TEXT.named("FLEET"),
                None,
                "A fleet: replicas=4,batch=16,wait=2ms, of a language model replicas=4,sequences=128,tokens=2048; "
                "also routing=random, profile=NAME; repeatable.",
                is_many=True,
            ),
            replicas=Flag(COUNT, REQUIRED, "Number of replicas."),
            batch_size_max=Flag(
                COUNT, None, "Largest batch. Default: the largest in the profile.", engines_lack=_BATCHES
            ),
            batch_wait=Flag(
                DURATION,
                "0ms",
                "How long the oldest request may wait for its batch to fill: 2ms.",
                engines_lack=_NO_WAIT,
            ),
            batching=Flag(
                TEXT.named("BATCHING"),
                "triton",
                "Whose rule starts a batch: triton (TensorFlow Serving and the reference server have it too; the "
                "oldest request has waited), torchserve (a free worker has waited) or ray-serve (batches are "
                "collected ahead).",
                values=("triton", "torchserve", "ray-serve"),
                engines_lack=_NO_FORMING,
            ),
            preferred_sizes=Flag(
                SIZES,
                None,
                "Triton's preferred_batch_size, which start at once: 4,8.",
                engines_lack=_NO_FORMING,
            ),
            # Former name of --batching.
            timer=Flag(TEXT.named("TIMER"), None, is_hidden=True, engines_lack=_NO_WAIT),
            routing=Flag(
                TEXT.named("ROUTING"),
                "round-robin",
                f"{ROUTINGS_IN_WORDS}.",
                values=tuple(one.value for one in Routing),
            ),
            queue_limit=Flag(
                COUNT,
                None,
                "Queue capacity per replica; requests that find it full are rejected.",
            ),
            outstanding_max=Flag(
                COUNT,
                None,
                "Most requests at a replica, in its batch and its queue; further ones wait at the balancer.",
                engines_lack="that requests wait at a balancer is not simulated for engines",
            ),
            replicas_max=Flag(COUNT, 1024, "Largest number of replicas to consider."),
            hourly_usd=Flag(
                PRICES,
                None,
                "Price of a device in USD per hour; with several profiles NAME=PRICE: resnet50-t4-fp16=0.526.",
                is_many=True,
            ),
            request_overhead=Flag(
                DURATION, None, "Time spent outside the server, added to each response: 5ms."
            ),
            instances_per_device=Flag(
                COUNT,
                None,
                "Replicas that share one device.",
                engines_lack="an engine has its devices for itself, as many as its profile says",
            ),
        ),
        *_panel(
            "Language models",
            lengths=Flag(
                LENGTHS,
                None,
                "Input and output tokens of requests: azure-conversation-2023, a .csv of input_tokens,output_tokens, "
                "or input=lognormal:mean=512,cv=1;output=geometric:mean=200.",
                reads=Reads.INPUT,
                values=("azure-conversation-2023", "input=lognormal:mean=512,cv=1;output=geometric:mean=200"),
                of_engines=True,
            ),
            sessions=Flag(
                SESSIONS,
                None,
                "Sessions whose turns repeat what came before, in place of --lengths: a file of turns, or laws: "
                "turns=geometric:mean=5;think=exponential:mean=20s;system=1200;first=lognormal:mean=800,cv=1;"
                "user=lognormal:mean=200,cv=1;output=geometric:mean=250.",
                reads=Reads.INPUT,
                of_engines=True,
            ),
            allow_bistable=switch(
                "With --sessions: take a fleet that serves them while its caches are warm, though it would not come "
                "back from empty ones and a backlog."
            ).but(of_engines=True),
            cached_share=Flag(
                SHARE,
                None,
                "Share of each prompt that is assumed to be in the prefix cache: 30%.",
                of_engines=True,
            ),
            context_tokens_max=Flag(
                COUNT, None, "Longest request the engine takes; longer ones are left out.", of_engines=True
            ),
            kv_tokens=Flag(
                COUNT, None, "Tokens that the engine's KV cache holds, as its log says.", of_engines=True
            ),
            block_tokens=Flag(COUNT, None, "Tokens of a block of the KV cache.", of_engines=True),
            engine_policy=Flag(
                TEXT.named("POLICY"),
                None,
                "How the engine composes its steps: vllm-v1 (as 0.33 does), vllm-v1@0.19, sglang or llama-cpp.",
                values=("vllm-v1", "vllm-v1@0.19", "sglang", "llama-cpp"),
                of_engines=True,
            ),
            prefix_caching=Flag(
                ON_OFF,
                None,
                "Whether the engine keeps blocks of requests that are gone: on or off.",
                values=("on", "off"),
                of_engines=True,
            ),
            async_scheduling=Flag(
                ON_OFF,
                None,
                "Whether it composes a step while it computes the last: on or off.",
                values=("on", "off"),
                of_engines=True,
            ),
            chunked_prefill=Flag(
                ON_OFF,
                None,
                "Whether it computes prompts in parts: on or off.",
                values=("on", "off"),
                of_engines=True,
            ),
            long_prefill_tokens=Flag(
                COUNT,
                None,
                "Most tokens of one prompt in a step, while there are other requests. Default: all that fit.",
                of_engines=True,
            ),
            watermark=Flag(
                SHARE,
                None,
                "Share of the KV cache that stays free when a request starts beside others: 2%. Default: none.",
                of_engines=True,
            ),
            mixed_chunk=Flag(
                ON_OFF,
                None,
                "Whether SGLang computes answers in steps of prompts too: on or off.",
                values=("on", "off"),
                of_engines=True,
            ),
            draft_tokens=Flag(
                COUNT,
                None,
                "Tokens drafted for each request in a step, up to the profile's; 0 turns speculation off.",
                of_engines=True,
            ),
            sequences_max=Flag(
                COUNT,
                None,
                "Most requests that run at once in an engine. Default: as measured.",
                of_engines=True,
            ),
            batched_tokens_max=Flag(
                COUNT,
                None,
                "Most tokens of a step of the engine. Default: as measured; in plans with a limit on ITL also half of "
                "it and less.",
                of_engines=True,
            ),
            replay=switch(
                "Serve exactly the requests of the --arrivals trace, from an empty fleet.",
            ).but(of_engines=True),
        ),
        *_panel(
            "Autoscaler",
            autoscale=Flag(
                TEXT,
                None,
                "What the autoscaler holds: utilization:0.6 (default), share of time busy, or concurrency:4, requests "
                "at a replica.",
                values=("utilization:0.6", "concurrency:4"),
            ),
            replicas_min=Flag(
                COUNT,
                None,
                "Fewest replicas; with 0 the last one leaves after 300 s without requests. Default: 1.",
            ),
            metric_lag=Flag(
                DURATION,
                None,
                "Age of the metrics that it decides with: 30s. Default: 0 s.",
            ),
            stabilization=Flag(
                DURATION,
                None,
                "It shrinks to the largest recommendation of this time. Default: 300s, as the HPA's.",
            ),
        ),
        *_panel(
            "Failures and spikes",
            spare=Flag(COUNT, 0, "Replicas that may fail while the objective is still met."),
            survive=Flag(
                TEXT,
                None,
                "Failures under which the objective is still met: n-1, n-2, zone:3; repeatable.",
                is_many=True,
                values=("n-1", "n-2", "zone:3"),
            ),
            rolling_update=Flag(
                TEXT,
                None,
                "Meet the objective during a rolling update: max-unavailable=25%.",
            ),
            spike=Flag(
                FACTOR,
                None,
                "Sudden jump in traffic to handle: 2x; with --startup-time.",
                engines_lack=_TROUBLE,
            ),
            startup_time=Flag(
                DURATION,
                None,
                "Time until a new replica is ready: 120s; with --spike, or for a --trigger.",
                engines_lack=_TROUBLE,
            ),
            mtbf=Flag(
                DURATION,
                None,
                "Mean time that a replica runs until it fails: 264d; with --recovery-time.",
            ),
            recovery_time=Flag(
                DURATION,
                None,
                "Mean time until a failed replica runs again: 5min; with --mtbf.",
            ),
            pause=Flag(
                TEXT,
                None,
                "Pauses of each replica: how long, and how often: 200ms,6/min.",
                engines_lack=_TROUBLE,
            ),
            request_class=Flag(
                TEXT,
                None,
                "Requests that take longer than the profile says: long:share=0.02,scale=8; repeatable.",
                ("--class",),
                is_many=True,
                engines_lack="requests of a language model differ by their lengths; give --lengths",
            ),
            recover_within=Flag(
                DURATION,
                None,
                "Also recover within this time after a --trigger, with clients that have a --timeout: 60s.",
            ),
            trigger=Flag(
                TEXT,
                None,
                "What goes wrong: spike:2x,30s, lose:1,60s, crash:1,30s, hang:1,60s, restart:1,20s, "
                "restart:all,20s, spot:1,2min,10min, pause:500ms,10/min, straggler:3x,60s or rollout.",
                values=(
                    "spike:2x,30s",
                    "lose:1,60s",
                    "crash:1,30s",
                    "hang:1,60s",
                    "restart:all,20s",
                    "spot:1,2min,10min",
                    "pause:500ms,10/min",
                    "straggler:3x,60s",
                    "rollout",
                ),
            ),
            detection=Flag(
                DURATION,
                None,
                "From a crash or a hang until the balancer sends nothing there any more. Default: 30s.",
            ),
            slow_start=Flag(
                DURATION,
                None,
                "How long the weight of a replica that is back grows, as HAProxy's slowstart: 30s. Default: 0s.",
            ),
            cold_batches=Flag(
                TEXT,
                None,
                "The first batches of a replica that has come back, and how much longer they take: 20:3x.",
            ),
            horizon=Flag(DURATION, "10min", "How long after the trigger the fleet may take to recover."),
        ),
        *_panel(
            "Clients",
            client=Flag(
                TEXT,
                None,
                "Settings of a well-known client: istio, envoy, grpc, aws, linkerd or finagle.",
                values=("istio", "envoy", "grpc", "aws", "linkerd", "finagle"),
            ),
            timeout=Flag(DURATION, None, "How long a client waits for the reply to one attempt: 500ms."),
            deadline=Flag(DURATION, None, "How long it waits for all attempts of a request together."),
            attempts=Flag(COUNT, None, "Attempts at a request, the first one included. Default: 1."),
            backoff=Flag(
                TEXT, None, "Wait before the first retry, doubled up to the longest: 50ms:10s; full jitter."
            ),
            retry_budget=Flag(
                FACTOR,
                None,
                "What retries are paid from: 0.1 (of first tries), successes:0.5, concurrent:0.2, throttle:10,0.1.",
            ),
            retry_burst=Flag(
                NUMBER, None, "Tokens that the retry budget holds at most, and at first. Default: 100."
            ),
            retry_on=Flag(TEXT, None, "Failures that are tried again. Default: rejected,timed_out,crashed."),
            hedge=Flag(
                DURATION, None, "Send another attempt beside the first after this long without a reply: 50ms."
            ),
        ),
        *_panel(
            "Protection",
            shed=Flag(
                TEXT,
                None,
                "Which requests are turned away: none (default), late, late:50ms, codel, lifo, or new:8 (sessions that "
                "begin where 8 wait).",
                values=("none", "late", "late:50ms", "codel", "lifo", "new:8"),
            ),
            abandoned=Flag(
                TEXT,
                None,
                "What becomes of attempts no client waits for: served, dropped or stopped. Default: served, and "
                "stopped by engines of language models.",
                values=("served", "dropped", "stopped"),
            ),
            ejection=switch("The balancer leaves out replicas that fail five times, by the rule of Envoy."),
            ejection_rule=Flag(
                TEXT,
                None,
                "The same by another rule: envoy (five in a row, for 30 s and more) or nginx (for a second or two).",
                values=("envoy", "nginx"),
            ),
        ),
        *_panel(
            "Simulation",
            seed=Flag(COUNT, 0, "Random seed; the same seed and input give the same bytes."),
            confidence=Flag(CONFIDENCE, 0.95, "Confidence of intervals and verdicts."),
            precision=Flag(NUMBER, 0.02, "Relative half-width to reach for the decisive quantile."),
            requests_max=Flag(COUNT, 100_000_000, "Most requests to simulate for one plan."),
            engine=Flag(
                TEXT.named("ENGINE"),
                "kernel",
                "kernel (compiled) or simpy (readable, slow); both give the same bytes.",
                values=("kernel", "simpy"),
            ),
            workers=Flag(COUNT, None, "Threads. Default: all cores. The answer does not depend on it."),
            cluster=Flag(
                TEXT.named("URL"),
                None,
                "Dask scheduler to send the work to instead: tcp://HOST:8786.",
                engines_lack="engines are simulated on this machine alone",
            ),
        ),
        *_panel(
            "Output",
            explain=switch(
                "Also show what limits the plan, what the answer depends on, and what would save most.",
            ),
            quantile=Flag(QUANTILE, None, "Quantile to report: 0.999; repeatable.", is_many=True),
            fresh=switch("Start over, ignoring the rows that an interrupted run left."),
            verbose=switch(
                "Show every figure, all notes, and what was considered.",
                "--verbose",
                "-v",
            ).but(keyword=""),
            before=Flag(
                CALLED,
                None,
                "Called with the question before any work; may raise to refuse it.",
                is_typed=False,
            ),
            progress=Flag(CALLED, None, "Called with each step of the work, in words.", is_typed=False),
        ),
    )
)
