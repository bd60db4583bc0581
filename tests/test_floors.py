"""The staircase of imports: downwards only, and nothing heavy before it is needed."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
CAPACITY_FLOORS = [
    ["errors"],
    ["units", "interrupts", "performance", "reading", "share_interval", "versions"],
    ["json_reading", "writing", "standard_streams"],
    [f"numerics.{name}" for name in ("absorption", "counts", "fourier", "mills", "mmatrix", "tail")],
    ["numerics.banded"],
    ["queues.domain"],
    [
        "objective",
        "survival",
        "spells",
        "burstiness",
        "contention",
        "measured_quantization",
        "queues.durations",
        "queues.erlang",
        "service_law",
    ],
    [
        "profile",
        "workload",
        "quantization",
        "scalability_csv",
        "daily_curve",
        "poisson_tests",
        "trace_stamps",
    ],
    ["plausibility", "irregularity", "profile_sampling"],
    ["caveats"],
    ["plan"],
    ["comparison"],
    # Parts of laws, then the laws.
    ["queues.general.whitt", "queues.general.delay", "queues.general.gaps", "queues.general.residual"],
    ["queues.general.compounding", "queues.general.convolution", "queues.general.smooth"],
    ["queues.general.pieces", "queues.general.backlog", "queues.phases.occupancy"],
    ["queues.empirical", "queues.phases.qbd"],
    ["queues.general.rough", "queues.phases.phase_queue"],
    ["queues.general.roads", "queues.departures", "queues.closed_sums", "queues.priority_wait"],
    ["queues.offered_wait", "queues.priority_class", "queues.joined"],
    [
        f"queues.batches.{name}"
        for name in ("chain", "states", "load", "users", "jitter_chain", "jitter_gamma")
    ],
    [f"queues.batches.{name}" for name in ("ages", "tagged", "jitter_lines", "jitter_mesh")],
    ["queues.batches.window", "queues.batches.jitter_law"],
    ["queues.batches.oldest"],
    ["queues.batches.rule"],
    ["queues.little", "queues.mm1", "queues.mmc", "queues.mminf", "queues.mgcc", "queues.relaxation"],
    [f"queues.{name}" for name in ("mmck", "erlang_a", "priority", "mg1", "mdc", "gimc", "mphc", "mmpp")],
    [f"queues.{name}" for name in ("closed", "closed_network", "shortest_queue", "power_of_choices")],
    [
        f"queues.{name}"
        for name in ("inoue", "bulk", "bulk_closed", "bulk_ctmc", "bulk_jitter", "bulk_markov")
    ],
    ["queues.general.ggc_wait", "queues.scalability", "queues.modified_offered_load", "queues.time_varying"],
    ["queues.general.ggc_errors", "queues.scalability_fit", "queues.offered_load_curve", "queues.routing"],
    ["contention_fit", "queues.ggc", "queues.staffing", "queues.bulk_question"],
    ["analytic", "profile_csv", "trace_csv", "trace_description"],
    ["traffic"],
    ["profile_json"],
    ["profile_files", "stability", "judge", "saved_profile", "saved_workload"],
    ["screen", "exact", "question", "sweep", "workbench"],
    ["headroom", "search", "sweep_grid"],
    ["schedule"],
    ["cheapest"],
    ["certificate", "plan_caveats", "random_routing"],
    ["planner", "curves", "knee", "what_if"],
    ["rates", "binding", "sensitivity"],
    ["rate_search", "render.curves", "render.plot"],
    ["explain", "report", "render.charts", "render.figures"],
    [
        "findings",
        "plan_report",
        "tables",
        "assumptions",
        "savings",
        "saved_question",
    ],
    ["plan_tables", "schedule_report"],
    ["sweep_table", "trace_report", "plan_file", "reasons", "rates_text"],
    ["gate_inputs", "contenders", "comparison_report", "reasons_text", "reasons_document", "rates_document"],
    ["gate", "plan_answer"],
    ["gate_report"],
    ["sweep_file"],
    ["sweep_journal"],
    ["sweep_rows"],
    ["strict"],
    ["command_line", "guarded"],
    ["queue_options"],
    ["plan_options"],
    [
        "plan_commands",
        "rate_commands",
        "queue_commands",
        "general_commands",
        "batch_commands",
        "sizing_commands",
    ],
    ["gate_commands"],
    ["compare_commands", "explain_commands"],
    # Measuring a profile.
    [f"measurement.{name}" for name in ("environment", "http", "intervals", "rounds")],
    ["measurement.correlation", "measurement.scrape"],
    ["measurement.histogram"],
    ["measurement.overhead"],
    ["measurement.users"],
    ["measurement.findings"],
    [f"measurement.{name}" for name in ("callable", "counted", "endpoint", "report")],
    # Verifying a plan.
    [f"verification.{name}" for name in ("clock", "promises", "quantities")],
    ["verification.subject", "verification.watch"],
    ["verification.run"],
    [f"verification.{name}" for name in ("measured", "prediction", "send", "validity")],
    ["verification.calibrate"],
    ["verification.load_test"],
    ["verification.verification"],
    ["verification.report", "verification.verifier"],
    ["commands.measure", "commands.verify"],
]
SIMULATIONS_FLOORS = [
    ["clock", "compiled", "records", "worker_processes", "relaxation"],
    ["phase_clock", "spells"],
    ["arrivals", "parallel", "returns", "service_table", "tally", "tournament"],
    [
        "agreement_times",
        "cluster_executor",
        "device",
        "kernel_recursion",
        "kernel_state",
        "reduction",
        "service",
    ],
    ["kernel_devices", "kernel_own", "kernel_shared", "replica", "sample"],
    ["kernel", "pool", "router"],
    ["population"],
    ["cluster"],
    ["replication"],
    ["case", "agreement_system"],
    ["estimate"],
    ["spike", "verdict"],
    ["profile_error", "agreement", "agreement_laws"],
    ["agreement_bulk", "agreement_devices", "agreement_fleets"],
    ["agreement_grid", "judge", "simulate"],
    ["paired", "sweep"],
]
# The service that is measured knows nothing of who plans it.
SERVE_API_FLOORS: list[list[str]] = [
    ["models.metadata", "deploy.locustfile", "deploy.requirements"],
    ["models.dataset", "models.store"],
    ["models.graph"],
    ["train", "quantize"],
    # The server.
    ["server.breaker", "server.log", "server.refusal", "server.settings"],
    ["server.backend", "server.metrics"],
    ["server.versions"],
    ["server.batcher"],
    ["server.app"],
    ["server.process"],
    ["commands"],
    ["__main__"],
    # The loop around it.
    ["replica"],
    ["loop"],
]
PACKAGES = [
    ("capacity", CAPACITY_FLOORS),
    ("simulations", SIMULATIONS_FLOORS),
    ("serve_api", SERVE_API_FLOORS),
]
# What simulations may take from capacity: nouns, and how stable a plan is; agreement the laws too.
SHARED_NOUNS = {
    "errors", "units", "performance", "plan", "profile", "share_interval", "workload", "service_law", "stability",
    "screen", "judge", "sweep", "objective", "survival", "comparison", "spells",
    "profile_sampling",
}  # fmt: skip
HEAVY = (
    "simpy",
    "pandas",
    "matplotlib",
    "scipy",
    "numpy",
    "plotext",
    "numba",
    "distributed",
    "pyarrow",
    "aiohttp",
)


def modules(package: str) -> dict[str, Path]:
    """Modules of a package by dotted name within it."""
    folder = ROOT / package
    return {
        ".".join(path.relative_to(folder).with_suffix("").parts): path
        for path in folder.rglob("*.py")
        if path.name != "__init__.py"
    }


def imports(path: Path) -> set[str]:
    """Every module that a file imports, at any depth of the code."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            named = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name for name in named if is_module(name)} or {node.module}
        elif isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
    return found


def is_module(name: str) -> bool:
    return (ROOT / name.replace(".", "/")).with_suffix(".py").exists()


def floor_of(floors: list[list[str]]) -> dict[str, int]:
    return {name: level for level, names in enumerate(floors) for name in names}


@pytest.mark.parametrize(("package", "floors"), PACKAGES)
def test_every_module_has_a_floor(package, floors):
    assert set(floor_of(floors)) == set(modules(package))


@pytest.mark.parametrize(("package", "floors"), PACKAGES)
def test_imports_run_down(package, floors):
    level = floor_of(floors)
    upward = [
        f"{name} imports {imported}"
        for name, path in modules(package).items()
        for imported in imports(path)
        if imported.startswith(f"{package}.") and level[imported.removeprefix(f"{package}.")] >= level[name]
    ]
    assert upward == []


@pytest.mark.parametrize(
    ("package", "strangers"),
    [
        ("capacity", {"simulations", "serve_api", "cli"}),
        ("simulations", {"serve_api", "cli"}),
        ("serve_api", {"simulations", "cli"}),
    ],
)
def test_packages_know_nothing_of_those_beside_them(package, strangers):
    for name, path in modules(package).items():
        met = {i for i in imports(path) if i.split(".")[0] in strangers}
        if package == "capacity" and name.startswith("commands."):  # where questions meet the simulator
            met = {i for i in met if not i.startswith("simulations.")}
        assert not met, name


def test_simulations_take_nouns_only():
    for name, path in modules("simulations").items():
        taken = {i.removeprefix("capacity.") for i in imports(path) if i.startswith("capacity.")}
        if name.startswith("agreement"):
            taken = {i for i in taken if not i.startswith("queues.") and i not in ("tables", "profile_files")}
        assert taken <= SHARED_NOUNS, name


def test_only_cli_knows_both():
    both = [
        name
        for package in ("capacity", "simulations")
        for name, path in modules(package).items()
        if {"cli"} & {i.split(".")[0] for i in imports(path)}
    ]
    assert both == []
    known = {i.split(".")[0] for i in imports(ROOT / "cli.py")}
    assert {"capacity", "simulations"} <= known


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["plan", "--help"],
        ["queue", "mm1", "--arrival-rate", "3rps", "--service-rate", "5rps"],
        ["queue", "mmc", "--arrival-rate", "9rps", "--service-rate", "5rps", "--servers", "2", "--json"],
        ["queue", "bulk", "--help"],
        ["sweep", "--help"],
        ["verify", "--help"],
        ["profile", "--help"],
    ],
    ids=" ".join,
)
def test_start_up_is_light(arguments):
    program = (
        "import sys, cli\n"
        f"sys.argv = ['capacity', *{arguments!r}]\n"
        "try: cli.app()\n"
        "except SystemExit as end: assert not end.code, end.code\n"
        f"heavy = [name for name in {HEAVY!r} if name in sys.modules]\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
