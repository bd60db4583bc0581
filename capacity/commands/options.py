"""Options: the flags of commands, and those that several share.

Everything heavy is imported inside the function that needs it, so that help and `queue` start at once.
"""

import os
import stat
from collections.abc import Callable, Mapping
from functools import wraps
from inspect import Parameter, Signature, signature
from typing import Annotated, Any, NamedTuple

import typer

from capacity.commands.defaults import variable_of
from capacity.commands.help import metavar_of, panel_of
from capacity.commands.output import Format
from capacity.errors import InputError
from capacity.files import JOURNAL_SUFFIX, printable

_FILES = "capacity.files"  # where a command's context keeps what its flags read and write


def option(*names: str, help: str, metavar: str | None = None, callback: Any = None) -> Any:  # noqa: A002
    """A flag by its names, with one sentence of help; for commands that write out their signature."""
    return typer.Option(
        *names,
        help=help,
        metavar=metavar,
        callback=callback,
        show_default=True,
        envvar=variable_of(*names),
        show_envvar=False,
    )


def note_input(
    context: typer.Context, parameter: typer.CallbackParam, value: str | list[str] | None
) -> str | list[str] | None:
    """What looks at the value of a flag or an argument that may name files to read."""
    for text in [value] if isinstance(value, str) else value or []:
        for name in {text, text.removeprefix("trace:"), text.partition("=")[2]}:
            _note(context, parameter, name, is_output=False)
    return value


def _note_arrivals(
    context: typer.Context, parameter: typer.CallbackParam, value: str | None
) -> str | list[str] | None:
    """Of `trace FILE` all that would be said is that the file was not expected."""
    if value == "trace":
        raise InputError("--arrivals trace needs a file, in the same word: --arrivals trace:FILE")
    return note_input(context, parameter, value)


def note_output(context: typer.Context, parameter: typer.CallbackParam, value: str | None) -> str | None:
    """What looks at the value of a flag that names a file to write."""
    if value is not None:
        for name in (value, value + JOURNAL_SUFFIX):
            _note(context, parameter, name, is_output=True)
    return value


def _note(context: typer.Context, parameter: typer.CallbackParam, name: str, *, is_output: bool) -> None:
    """Keep what a flag names, where that is a file; by whatever name, none is written that is read too.

    Raises:
        InputError: it would replace an input of the command, or another output.
    """
    try:
        found = os.stat(name)  # noqa: PTH116  (a path may be empty)
    except (OSError, ValueError):
        return
    if not stat.S_ISREG(found.st_mode):
        return
    flag = "/".join(parameter.opts)
    noted = context.meta.setdefault(_FILES, [])
    for other, other_flag, is_other_output in noted:
        if (is_output or is_other_output) and os.path.samestat(found, other):
            writer, reader = (flag, other_flag) if is_output else (other_flag, flag)
            does = "writes" if is_output and is_other_output else "reads"
            raise InputError(
                f"{writer} would replace {printable(name)}, which {reader} {does}; write to another file"
            )
    noted.append((found, flag, is_output))


REQUIRED = Parameter.empty


class Flag(NamedTuple):
    """A flag of a command; one without a default is required.

    Attributes:
        names: as they are typed, where that is not `--` and the parameter's name.
        callback: looks at the value before all else: `note_input` where it may name a file to read, which no
            output of the same command may replace, one of its own where it names one to write.
        argument: what it is instead, where it is typed without a name.
        is_hidden: it works, but help has another name for it.
    """

    kind: Any
    default: Any
    help: str = ""
    names: tuple[str, ...] = ()
    callback: Callable[..., Any] | None = None
    argument: Any = None
    is_hidden: bool = False

    def parameter(self, name: str) -> Parameter:
        """As Typer reads it from a signature."""
        names = self.names or (f"--{name.replace('_', '-')}",)
        info = self.argument or typer.Option(
            *names,
            help=self.help,
            callback=self.callback,
            metavar=metavar_of(name, self.kind),
            rich_help_panel=panel_of(name),
            show_default=True,
            hidden=self.is_hidden,
            envvar=variable_of(*names),
            show_envvar=False,
        )
        kind = self.kind | None if self.default is None else self.kind
        return Parameter(name, Parameter.KEYWORD_ONLY, annotation=Annotated[kind, info], default=self.default)


def reads(kind: Any, default: Any, help: str) -> Flag:  # noqa: A002
    """A flag that may name a file to read."""
    return Flag(kind, default, help, callback=note_input)


def writes(help: str, *names: str) -> Flag:  # noqa: A002
    """A flag that names a file to write; -o where it is the command's only one."""
    return Flag(str, None, help, names or ("-o", "--output"), note_output)


def argument(kind: Any, default: Any, help: str, **settings: Any) -> Flag:  # noqa: A002
    """A file to read that is typed without a flag."""
    info = typer.Argument(help=help, callback=note_input, **{"metavar": "FILE", **settings})
    return Flag(kind, default, argument=info)


FLAGS: Mapping[str, Flag] = {
    "profile": reads(
        str, REQUIRED, "Measured service times: the name of a bundled profile, or a .json or .csv file."
    ),
    "replicas": Flag(int, REQUIRED, "Number of replicas."),
    "rate": Flag(str, None, "Arrival rate with its unit: 500rps, 500qps, 30000/min. A trace has its own."),
    "slo_p50": Flag(str, None, "Limit on the median response time: 50ms."),
    "slo_p90": Flag(str, None, "Limit on the P90 response time."),
    "slo_p95": Flag(str, None, "Limit on the P95 response time."),
    "slo_p99": Flag(str, None, "Limit on the P99 response time: 200ms."),
    "slo_p999": Flag(str, None, "Limit on the P99.9 response time."),
    "slo_mean": Flag(str, None, "Limit on the mean response time."),
    "slo_ttft_p50": Flag(str, None, "Limit on the median of the time to the first token."),
    "slo_ttft_p90": Flag(str, None, "Limit on the P90 of the time to the first token."),
    "slo_ttft_p95": Flag(str, None, "Limit on the P95 of the time to the first token."),
    "slo_ttft_p99": Flag(str, None, "Limit on the P99 of the time to the first token."),
    "slo_ttft_p999": Flag(str, None, "Limit on the P99.9 of the time to the first token."),
    "slo_ttft_mean": Flag(str, None, "Limit on the mean of the time to the first token."),
    "slo_tpot_p50": Flag(str, None, "Limit on the median of the time per output token."),
    "slo_tpot_p90": Flag(str, None, "Limit on the P90 of the time per output token."),
    "slo_tpot_p95": Flag(str, None, "Limit on the P95 of the time per output token."),
    "slo_tpot_p99": Flag(str, None, "Limit on the P99 of the time per output token."),
    "slo_tpot_p999": Flag(str, None, "Limit on the P99.9 of the time per output token."),
    "slo_tpot_mean": Flag(str, None, "Limit on the mean of the time per output token."),
    "slo_itl_p50": Flag(str, None, "Limit on the median of the time between two output tokens."),
    "slo_itl_p90": Flag(str, None, "Limit on the P90 of the time between two output tokens."),
    "slo_itl_p95": Flag(str, None, "Limit on the P95 of the time between two output tokens."),
    "slo_itl_p99": Flag(str, None, "Limit on the P99 of the time between two output tokens."),
    "slo_itl_p999": Flag(str, None, "Limit on the P99.9 of the time between two output tokens."),
    "slo_itl_mean": Flag(str, None, "Limit on the mean of the time between two output tokens."),
    "goodput_min": Flag(str, None, "Share of requests that must meet all token limits at once: 99%."),
    "lengths": reads(
        str,
        None,
        "Input and output tokens of requests: azure-conversation-2023, a .csv of input_tokens,output_tokens, or "
        "input=lognormal:mean=512,cv=1;output=geometric:mean=200.",
    ),
    "cached_share": Flag(str, None, "Share of each prompt that is assumed to be in the prefix cache: 30%."),
    "context_tokens_max": Flag(int, None, "Longest request the engine takes; longer ones are left out."),
    "sequences_max": Flag(int, None, "Most requests that run at once in an engine. Default: as measured."),
    "batched_tokens_max": Flag(int, None, "Most tokens of a step of the engine. Default: as measured."),
    "kv_tokens": Flag(int, None, "Tokens that the engine's KV cache holds, as its log says."),
    "block_tokens": Flag(int, None, "Tokens of a block of the KV cache."),
    "engine_policy": Flag(str, None, "How the engine composes its steps: vllm-v1 or llama-cpp."),
    "prefix_caching": Flag(
        str, None, "Whether the engine keeps blocks of requests that are gone: on or off."
    ),
    "async_scheduling": Flag(str, None, "Whether it composes a step while it computes the last: on or off."),
    "chunked_prefill": Flag(str, None, "Whether it computes prompts in parts: on or off."),
    "replay": Flag(bool, False, "Serve exactly the requests of the --arrivals trace, from an empty fleet."),
    "slo_wait": Flag(list[str], None, "Limit on a quantile of the time in queue: p99=5ms; repeatable."),
    "loss_max": Flag(str, None, "Largest share of requests that may be rejected, with --queue-limit: 0.1%."),
    "utilization_max": Flag(str, None, "Largest share of time that a replica may be busy: 80%."),
    "tier": Flag(str, None, "Preset limits: interactive, batch or background."),
    "batch_size_max": Flag(int, None, "Largest batch. Default: the largest in the profile."),
    "batch_wait": Flag(str, "0ms", "How long the oldest request may wait for its batch to fill: 2ms."),
    "batching": Flag(
        str,
        "triton",
        "Whose rule starts a batch: triton (TensorFlow Serving and the reference server have it too; the "
        "oldest request has waited), torchserve (a free worker has waited) or ray-serve (batches are collected ahead).",
    ),
    "preferred_sizes": Flag(str, None, "Triton's preferred_batch_size, which start at once: 4,8."),
    "timer": Flag(str, None, is_hidden=True),  # what --batching was called
    "routing": Flag(
        str,
        "round-robin",
        "round-robin, random, least-outstanding, power-of-two or shared-queue.",
    ),
    "queue_limit": Flag(int, None, "Queue capacity per replica; requests that find it full are rejected."),
    "arrivals": Flag(
        str,
        "poisson",
        "How requests arrive: poisson, deterministic, gamma:cv=2, mmpp:ratio=5,burst=10s,calm=60s "
        "or trace:FILE.",
        callback=_note_arrivals,
    ),
    "users": Flag(int, None, "Number of users in a closed loop, instead of --rate; with --think-time."),
    "think_time": Flag(str, None, "Mean think time of a user: 300ms."),
    "request_overhead": Flag(str, None, "Time spent outside the server, added to each response: 5ms."),
    "instances_per_device": Flag(int, None, "Replicas that share one device."),
    "quantile": Flag(list[float], None, "Quantile to report: 0.999; repeatable."),
    "trigger": Flag(
        str,
        None,
        "What goes wrong: spike:2x,30s, lose:1,60s, crash:1,30s, hang:1,60s, spot:1,2min,10min, "
        "pause:500ms,10/min, straggler:3x,60s or rollout.",
    ),
    "detection": Flag(
        str, None, "From a crash or a hang until the balancer sends nothing there any more. Default: 30s."
    ),
    "client": Flag(
        str, None, "Settings of a well-known client: istio, envoy, grpc, aws, linkerd or finagle."
    ),
    "timeout": Flag(str, None, "How long a client waits for the reply to one attempt: 500ms."),
    "deadline": Flag(str, None, "How long it waits for all attempts of a request together."),
    "attempts": Flag(int, None, "Attempts at a request, the first one included. Default: 1."),
    "backoff": Flag(
        str, None, "Wait before the first retry, doubled up to the longest: 50ms:10s; full jitter."
    ),
    "retry_budget": Flag(
        str,
        None,
        "What retries are paid from: 0.1 (of first tries), successes:0.5, concurrent:0.2, throttle:10,0.1.",
    ),
    "retry_burst": Flag(
        float, None, "Tokens that the retry budget holds at most, and at first. Default: 100."
    ),
    "retry_on": Flag(str, None, "Failures that are tried again. Default: rejected,timed_out,crashed."),
    "shed": Flag(
        str, None, "Which waiting requests are turned away: none (default), late, late:50ms, codel or lifo."
    ),
    "seed": Flag(int, 0, "Random seed; the same seed and input give the same bytes."),
    "confidence": Flag(float, 0.95, "Confidence of intervals and verdicts."),
    "precision": Flag(float, 0.02, "Relative half-width to reach for the decisive quantile."),
    "requests_max": Flag(int, 100_000_000, "Most requests to simulate for one plan."),
    "engine": Flag(str, "kernel", "kernel (compiled) or simpy (readable, slow); both give the same bytes."),
    "workers": Flag(int, None, "Threads. Default: all cores. The answer does not depend on it."),
    "cluster": Flag(str, None, "Dask scheduler to send the work to instead: tcp://HOST:8786."),
    "verbose": Flag(bool, False, "Show every figure, and how much work the search did.", ("--verbose", "-v")),
    "output": Flag(Format, Format.TABLE, "What to print.", ("--format",)),
    "as_json": Flag(bool, False, "Same as --format json.", ("--json",)),
}
OBJECTIVE = "slo_p50 slo_p90 slo_p95 slo_p99 slo_p999 slo_mean slo_wait loss_max utilization_max tier"
TOKEN_OBJECTIVE = " ".join(
    f"slo_{measure}_{one}"
    for measure in ("ttft", "tpot", "itl")
    for one in ("p50", "p90", "p95", "p99", "p999", "mean")
)
BATCHING = "batching preferred_sizes timer"
LLM_WORKLOAD = (
    "lengths cached_share context_tokens_max kv_tokens block_tokens engine_policy prefix_caching async_scheduling "
    "chunked_prefill"
)
LLM = f"{LLM_WORKLOAD} sequences_max batched_tokens_max"
CLIENTS = "client timeout deadline attempts backoff retry_budget retry_burst retry_on"
EFFORT = "seed confidence precision requests_max engine workers cluster"

Command = Callable[..., None]


def flags(names: str | None = None, /, **own: Flag) -> Callable[[Command], Command]:
    """Give a command its flags in this order, once it is built; `output` and `as_json` are always the last.

    The command takes those that it looks at by itself; all are in its context.

    Args:
        names: of its flags, where it does not take each of them.
        own: those that are not as in `FLAGS`.
    """

    def decorate(command: Command) -> Command:
        taken = signature(command).parameters
        takes_all = any(one.kind is Parameter.VAR_KEYWORD for one in taken.values())
        listed = list(taken) if names is None else names.split()
        ordered = [name for name in listed if name not in ("context", "output", "as_json")]

        @wraps(command)
        def flagged(**given: Any) -> None:
            command(**{name: value for name, value in given.items() if takes_all or name in taken})

        def add_flags() -> None:
            parameters = [
                (own.get(name) or FLAGS[name]).parameter(name) for name in (*ordered, "output", "as_json")
            ]
            if "context" in taken:
                parameters.append(Parameter("context", Parameter.KEYWORD_ONLY, annotation=typer.Context))
            flagged.__signature__ = Signature(parameters)  # type: ignore[attr-defined]
            flagged.__annotations__ = {one.name: one.annotation for one in parameters}

        flagged.add_flags = add_flags  # type: ignore[attr-defined]
        return flagged

    return decorate
