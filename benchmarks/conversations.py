"""Conversations: emulated engines behind a real router, sessions predicted beside measured; half an hour a router.

    python benchmarks/conversations.py -o docs/measurements/conversations.jsonl    # what the file lacks
    python benchmarks/conversations.py -o docs/measurements/conversations.jsonl --table

Three engines are emulated, with one cache of prefixes each. What `capacity render` writes of a plan stands in front
of them, with their addresses, and `capacity verify` acts sessions out through it. Profiles of predictions have the
time that one request at a time takes outside of the engine, as measured just before; nothing else is fitted.
As root, client, router and engines go before other work of the machine.
"""

import argparse
import asyncio
import json
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median
from typing import Any

from real_balancers import rendered

import capacity as cap
from capacity.api.work import Work, at_work
from capacity.doors import ask
from capacity.measurement.completions import Prompt, complete, completions_address
from capacity.measurement.findings import machine
from capacity.measurement.http import parse_address, session
from capacity.question.arguments import silent
from capacity.question.budget import Effort
from serve_api.balancer import balanced
from serve_api.replica import Replica, behind, in_front, running

PROFILE: dict[str, Any] = {
    "schema_version": 1,
    "kind": "llm",
    "name": "talks",
    "model": "talks",
    "kv": {"tokens": 24576, "block_tokens": 16},
    "limits_measured": {"sequences_max": 16, "batched_tokens_max": 1024, "context_tokens_max": 4096},
    "coefficients": {
        "base_s": 0.03,
        "per_prefill_token_s": 1e-4,
        "per_decode_request_s": 5e-4,
        "per_kv_token_s": 1e-7,
    },
}
SESSIONS = (
    "turns=geometric:mean=5; think=exponential:mean=4s; system=200; first=lognormal:mean=300,cv=0.7; "
    "user=lognormal:mean=80,cv=0.7; output=geometric:mean=12"
)
RATE, REPLICAS = "20rps", 3
SIZES = {"sequences_max": 16, "batched_tokens_max": 1024}
WARM_UP, DURATION = "40s", "400s"
CELLS = tuple(
    (target, routing)
    for routing in ("round-robin", "session-cookie", "session")
    for target in ("haproxy", "nginx")
)
# Quantities of the page: its columns, and how far a prediction should be off at most.
SHOWN = {"ttft-mean": 0.03, "ttft-p99": 0.08, "tpot-mean": 0.03, "tpot-p99": 0.08, "hits": 0.02}
_LONE = 60


def question(**more: Any) -> dict[str, Any]:
    """What every verb is asked."""
    return {"sessions": SESSIONS, "rate": RATE, **SIZES, **more}


def lone_s(url: str) -> float:
    """What one request at a time takes outside of its engine: the median of some. [s]"""
    address = completions_address(parse_address(url, "--url"))

    async def ask() -> list[float]:
        found = []
        async with session(60.0) as client:
            for number in range(_LONE):
                prompt = Prompt(model="talks", tokens=tuple(range(number + 1, number + 17)), output_tokens=1)
                seen = await complete(client, address, prompt)
                found.append(seen.first_s - seen.start_s)
        return found

    step = PROFILE["coefficients"]
    return median(asyncio.run(ask())) - step["base_s"] - 16 * step["per_prefill_token_s"]


@contextmanager
def aside(effort: Effort) -> Iterator[Work]:
    """Workers for a prediction, which does not go before other work, as what is measured does."""
    with behind(), at_work(effort, report=silent) as work:
        yield work


def evaluated(target: str, routing: str, urls: Sequence[str]) -> str:
    """The routing as it is planned: where a header is hashed, on the ring of the balancer."""
    if routing != "session":
        return routing
    servers = "+".join(url.removeprefix("http://") for url in urls)
    return "session:haproxy" if target == "haproxy" else f"session:nginx,servers={servers}"


def measure(target: str, routing: str) -> dict[str, Any]:
    """A row: what was measured behind a router, and both predictions."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        profile = folder / "talks.json"
        profile.write_text(json.dumps(PROFILE), encoding="utf-8")
        flags = [
            part for name, value in SIZES.items() for part in (f"--{name.replace('_', '-')}", str(value))
        ]
        engine = Replica(emulate=profile, flags=flags)
        stack.enter_context(in_front())
        urls = [stack.enter_context(running(engine, folder / f"{n}.log")) for n in range(REPLICAS)]
        asked = question(profile=str(profile), routing=evaluated(target, routing, urls))
        with behind():
            text = rendered(target, REPLICAS, **asked | {"rate": "4rps", "slo_ttft_p99": "2s"})
        url = stack.enter_context(balanced(target, text, urls, folder, probe="/health"))
        overhead_s = lone_s(url)
        profile.write_text(json.dumps(PROFILE | {"overhead": {"request_s": overhead_s}}), encoding="utf-8")
        # nginx has no cookie that names a server: it hashes one of its own, as `session` does a header.
        hashes = (target, routing) == ("nginx", "session-cookie")
        asked |= {"replicas": REPLICAS} | ({"routing": "session"} if hashes else {})
        load = {
            "url": [url],
            "metrics": ["none"],
            "warm_up": WARM_UP,
            "duration": DURATION,
            "precision": 0.02,
        }
        found = ask(cap.verify, {**load, **asked}, workbench=aside)
    told = found.document()
    (run,) = told["runs"]
    return {
        "target": target,
        "routing": routing,
        "evaluated": asked["routing"],
        "overhead_s": overhead_s,
        "rows": {
            row["quantity"]: {
                "measured": row["measured"],
                **{name: row[name] and row[name]["predicted"] for name in ("stationary", "replay")},
            }
            for row in told["rows"]
            if row["quantity"] in SHOWN
        },
        "sent": run["sent"],
        "statuses": run["statuses"],
        "faults": run["faults"],
        "lag_p99_s": run["lag_s"]["0.99"],
        "machine": machine()["cpu"],
        "date": time.strftime("%Y-%m-%d"),
    }


def table(rows: list[dict[str, Any]]) -> str:
    """The rows as a table in Markdown, and how many predictions are within what is allowed."""
    head = ["router", "routing", *(f"{name} | replay | long run" for name in SHOWN), "lag P99", "date"]
    lines = [f"| {' | '.join(head)} |", "|---" * (2 + 3 * len(SHOWN) + 2) + "|"]
    lines += [f"| {' | '.join(cells(row))} |" for row in rows]
    said = (
        f"{sum(found)} of {len(found)} predictions by the {which} are within what is allowed"
        for which, found in within(rows).items()
    )
    return "\n".join([*lines, "", f"{'; '.join(said)}."])


def within(rows: list[dict[str, Any]]) -> dict[str, list[bool]]:
    """Whether each prediction of the rows is as near as wanted."""
    return {
        name: [abs(error(row, one, which)) <= most for row in rows for one, most in SHOWN.items()]
        for name, which in (("replay", "replay"), ("long run", "stationary"))
    }


def cells(row: dict[str, Any]) -> Iterator[str]:
    """The cells of a row; bold is what is farther off than wanted."""
    yield from (row["target"], row["routing"])
    for name, most in SHOWN.items():
        value = row["rows"][name]["measured"]["value"]
        yield f"{100 * value:.1f} %" if name == "hits" else f"{1e3 * value:.1f} ms"
        for which in ("replay", "stationary"):
            off = error(row, name, which)
            said = f"{100 * off:+.1f} {'pp' if name == 'hits' else '%'}"
            yield said if abs(off) <= most else f"**{said}**"
    yield f"{1e3 * row['lag_p99_s']:.2f} ms"
    yield row["date"]


def error(row: dict[str, Any], name: str, which: str) -> float:
    """Error of a prediction: a share of what was measured, of shares the difference."""
    found = row["rows"][name]
    value, predicted = found["measured"]["value"], found[which]["value"]
    return float(predicted - value if name == "hits" else predicted / value - 1.0)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--table", action="store_true")
    options = parser.parse_args()
    lines = options.output.read_text("utf-8").splitlines() if options.output.exists() else []
    rows = [json.loads(line) for line in lines]
    if options.table:
        print(table(rows))
        return
    for target, routing in CELLS:
        if any((row["target"], row["routing"]) == (target, routing) for row in rows):
            continue
        row = measure(target, routing)
        with options.output.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
        print(f"{row['date']} {target} {routing}: lag P99 {1e3 * row['lag_p99_s']:.2f} ms", flush=True)


if __name__ == "__main__":
    main()
