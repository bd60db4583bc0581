"""Help: flags in groups, whole summaries, and examples as they are typed."""

from collections.abc import Iterator
from typing import Any, get_args

# The groups of help, in its order, and which flags stand in each; all others are the command's own.
PANELS = {
    "Profile and traffic": "profile rate arrivals daily between users think_time loop",
    "Objective": "slo_p50 slo_p90 slo_p95 slo_p99 slo_p999 slo_mean slo_wait loss_max utilization_max tier",
    "Objective of a language model": " ".join(
        f"slo_{one}_{q}"
        for one in ("ttft", "tpot", "itl")
        for q in ("p50", "p90", "p95", "p99", "p999", "mean")
    )
    + " goodput_min",
    "Fleet": "fleet replicas batch_size_max batch_wait batching preferred_sizes timer routing queue_limit replicas_max "
    "hourly_usd request_overhead instances_per_device",
    "Language models": "lengths cached_share context_tokens_max sequences_max batched_tokens_max kv_tokens "
    "block_tokens engine_policy prefix_caching async_scheduling chunked_prefill replay",
    "Autoscaler": "replicas_min metric_lag stabilization",
    "Failures and spikes": "spare survive rolling_update spike startup_time mtbf recovery_time pause "
    "request_class recover_within trigger detection cold_batches "
    "horizon",
    "Clients": "client timeout deadline attempts backoff retry_budget retry_burst retry_on hedge",
    "Protection": "shed abandoned ejection",
    "Simulation": "seed confidence precision requests_max engine workers cluster",
    "Output": "explain quantile file plot fresh verbose output as_json",
}
# What a flag takes, where that is more than a number or a text.
_METAVARS = {
    "PROFILE": "profile",
    "FILE": "body daily file plot plan plans baseline trace",
    "RATE": "rate arrival_rate service_rate",
    "RATE,RATE": "arrival_rates switch_rates",
    "DURATION": "slo_p50 slo_p90 slo_p95 slo_p99 slo_p999 slo_mean "
    + " ".join(
        f"slo_{one}_{q}"
        for one in ("ttft", "tpot", "itl")
        for q in ("p50", "p90", "p95", "p99", "p999", "mean")
    )
    + " batch_wait think_time startup_time mtbf recovery_time recover_within detection horizon deadline hedge "
    "metric_lag stabilization "
    "request_overhead request_work duration duration_max timeout patience service_time latency_mean "
    "latency_p50 latency_p90 latency_p95 latency_p99",
    "FROM-TO": "between",
    "QUANTILE=DURATION": "slo_wait",
    "OPEN|CLOSED": "loop",
    "ON|OFF": "prefix_caching async_scheduling chunked_prefill",
    "LENGTHS": "lengths",
    "POLICY": "engine_policy",
    "QUANTITY=SHARE": "tolerance",
    "SHARE": "loss_max utilization_max confidence cached_share goodput_min",
    "[NAME=]PRICE": "hourly_usd",
    "Q": "quantile",
    "N,N,...": "batch_sizes preferred_sizes",
    "URL": "url metrics counters cluster",
    "MODULE:FUNCTION": "callable_name",
    "NAME": "name model device runtime metric label",
    "KEY": "rows_key",
    "UNIT": "metric_unit",
    **{
        name.upper(): name
        for name in (
            "arrivals",
            "tier",
            "routing",
            "batching",
            "timer",
            "engine",
            "fleet",
            "grid",
            "kind",
            "formula",
        )
    },
}
_PANEL_OF = {name: panel for panel, names in PANELS.items() for name in names.split()}
_METAVAR_OF = {name: metavar for metavar, names in _METAVARS.items() for name in names.split()}
_KINDS = {int: "N", float: "NUMBER", str: "TEXT"}


def panel_of(name: str) -> str | None:
    """The group of a flag; None where it is the command's own."""
    return _PANEL_OF.get(name)


def metavar_of(name: str, kind: Any) -> str | None:
    """What a flag takes, as help names it; None where Typer does that."""
    plain = (get_args(kind) or (kind,))[0]
    if plain not in _KINDS:  # a choice, or nothing
        return None
    if plain is int and name not in ("fleet",):
        return "N"
    return _METAVAR_OF.get(name, _KINDS[plain])


_EXAMPLES = "\n\nExamples:\n"


class Helpful:
    """How a command or a group shows its help.

    Mixed into Typer's two classes, which have the methods that a type checker misses here.
    """

    def format_help_text(self, ctx: Any, formatter: Any) -> None:
        """What it does, without its examples, which come last."""
        formatter.write_paragraph()
        with formatter.indentation():
            formatter.write_text(_split(self)[0])

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Arguments and flags by group, and the commands of a group."""
        for title, rows in _panels(self, ctx):
            with formatter.section(title):
                formatter.write_dl(rows, col_max=28)
        entries: dict[str, Any] = getattr(self, "entries", {})
        for title in dict.fromkeys(_panel(one, "Commands") for one in entries.values()):
            with formatter.section(title):
                formatter.write_dl(
                    [
                        (name, _summary(one))
                        for name, one in entries.items()
                        if _panel(one, "Commands") == title
                    ]
                )

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        """Examples, to be copied as they stand."""
        examples = _split(self)[1]
        if examples:
            with formatter.section("Examples"):
                for line in examples.splitlines():
                    for part in _broken(line.strip(), formatter.width - 4):
                        formatter.write(f"{'':>{formatter.current_indent}}{part}\n")


def _split(command: Any) -> tuple[str, str]:
    """The text of a command's help, and its examples."""
    text, _, examples = (command.help or "").partition(_EXAMPLES)
    return text, examples


def _summary(command: Any) -> str:
    """The first paragraph of a command's help, whole."""
    return " ".join(_split(command)[0].split("\n\n")[0].split())


def _panel(one: Any, default: str) -> str:
    title = getattr(one, "rich_help_panel", None)
    return default if title is None or not isinstance(title, str) else str(title)


def _broken(command: str, width: int) -> Iterator[str]:
    """A command on lines of at most `width` columns, broken before its flags."""
    line, *flags = command.replace(" --", "\0--").split("\0")
    for flag in flags:
        if len(line) + len(flag) > width - 3:
            yield f"{line} \\"
            line = f"    {flag}"
        else:
            line = f"{line} {flag}"
    yield line


def _panels(command: Any, ctx: Any) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """Each group of parameters with its rows: arguments, what only this command has, then by group."""
    rows: dict[str, list[tuple[str, str]]] = {"Arguments": [], "Options": [], **{one: [] for one in PANELS}}
    for one in command.get_params(ctx):
        record = one.get_help_record(ctx)
        if record is not None:
            record = record[0].replace(" <list[str]>", "...").replace(" <str>", ""), record[1]
            is_flag = one.param_type_name == "option"
            rows[_panel(one, "Options") if is_flag else "Arguments"].append(record)
    *options, shows_help = rows["Options"]  # --help is last, and stands last
    rows["Options"] = options
    last = [title for title, found in rows.items() if found][-1:] or ["Options"]
    rows[last[0]].append(shows_help)
    yield from ((title, found) for title, found in rows.items() if found)
