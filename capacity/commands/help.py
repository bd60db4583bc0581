"""Help: lists flags in groups, with whole summaries, and examples as they are typed."""

from collections.abc import Iterator
from typing import Any

from capacity.question.asked import FLAGS

# Titles of the flags' groups, in this order; other flags are the command's own.
PANELS = tuple(dict.fromkeys(flag.panel for flag in FLAGS.values() if flag.panel is not None))

# The limits of an objective share one pattern, and one row.
_LIMITS = (
    "--slo-[MEASURE-]STATISTIC DURATION",
    "Limit on a mean, p50, p90, p95, p99 or p999: of the response, --slo-p99 200ms; or of a MEASURE: wait (time in "
    "queue), and of language models ttft (time to the first token), tpot (time per output token) or itl (time between "
    "two output tokens): --slo-ttft-p99 2s.",
)

_EXAMPLES = "\n\nExamples:\n"


class Helpful:
    """Formats the help of a command or a group.

    Mixed into Typer's two classes, which have the methods that the type checker misses here.
    """

    def format_help_text(self, ctx: Any, formatter: Any) -> None:
        """Write the description without its examples, which come last."""
        formatter.write_paragraph()
        with formatter.indentation():
            formatter.write_text(_split(self)[0])

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write arguments and flags by group, and the commands of a group."""
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
        """Write the examples, to be copied as they stand."""
        examples = _split(self)[1]
        if examples:
            with formatter.section("Examples"):
                for line in examples.splitlines():
                    for part in _broken(line.strip(), formatter.width - 4):
                        formatter.write(f"{'':>{formatter.current_indent}}{part}\n")


def _split(command: Any) -> tuple[str, str]:
    """Text and examples of a command's help."""
    text, _, examples = (command.help or "").partition(_EXAMPLES)
    return text, examples


def _summary(command: Any) -> str:
    """The whole first paragraph of a command's help."""
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
    """Each group of parameters with its rows: arguments, the command's own flags, then by group."""
    rows: dict[str, list[tuple[str, str]]] = {"Arguments": [], "Options": [], **{one: [] for one in PANELS}}
    for panel, record in _records(command, ctx):
        rows[panel].append(record)
    *options, shows_help = rows["Options"]  # --help is last, and stays last
    rows["Options"] = options
    last = [title for title, found in rows.items() if found][-1:] or ["Options"]
    rows[last[0]].append(shows_help)
    yield from ((title, found) for title, found in rows.items() if found)


def _records(command: Any, ctx: Any) -> Iterator[tuple[str, tuple[str, str]]]:
    """Group and row of each parameter; all limits on durations share one row."""
    params = command.get_params(ctx)
    limits = [one for one in params if one.name.startswith("slo_")]
    for one in params:
        record = one.get_help_record(ctx)
        panel = _panel(one, "Options") if one.param_type_name == "option" else "Arguments"
        if one in limits:
            if one is limits[0]:
                yield panel, _LIMITS
        elif record is not None:
            yield panel, (record[0].replace(" <list[str]>", "...").replace(" <str>", ""), record[1])
