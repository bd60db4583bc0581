"""The house: folders are floors, imports run down only, no circles, and nothing heavy before it is needed."""

import ast
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
# A file imports from its own folder or from one further up in its list.
CAPACITY = [
    ("errors", "units", "performance", "files", "json_text", "beta", "confidence"),
    ("profile", "traffic"),
    ("formats",),
    ("evidence",),
    ("question",),
    ("server",),
    ("recovery",),
    ("autoscaling",),
    ("queues",),
    ("search",),
    ("explanation",),
    ("answer",),
    ("render",),
    ("measurement", "verification"),
    (
        "doors", "api", "answers",
    ),
    ("commands",),
]  # fmt: skip
SIMULATIONS = [
    ("workers", "compiled", "cluster_executor"),
    ("draws", "rising"),
    ("routing",),
    ("kernel", "reference"),
    ("replication", "engine_replication", "case", "statistics", "scaler", "day"),
    (
        "looks", "judge", "simulate", "compare", "saturation", "calibration", "cold", "warm", "cases", "disturbed", "servers", "stress", "autoscaled",
    ),
    ("validation",),
]  # fmt: skip
MODULES_MAX = 17  # of a folder, but for those with a file for each command, format or target
HEAVY = ("numpy", "scipy", "simpy", "numba", "matplotlib", "pandas", "pyarrow", "aiohttp", "pydantic")


def modules(package: str) -> dict[str, Path]:
    """Modules of a package by dotted name."""
    return {
        ".".join(path.relative_to(ROOT).with_suffix("").parts): path
        for path in (ROOT / package).rglob("*.py")
        if path.name != "__init__.py"
    }


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


@cache
def imports(path: Path) -> set[str]:
    """Every module that a file imports, at any depth of the code."""
    found: set[str] = set()
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.ImportFrom) and node.module:
            named = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name for name in named if is_module(name)} or {node.module}
        elif isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
    return found


def is_module(name: str) -> bool:
    return (ROOT / name.replace(".", "/")).with_suffix(".py").exists()


@pytest.mark.parametrize(("package", "floors"), [("capacity", CAPACITY), ("simulations", SIMULATIONS)])
def test_imports_run_down(package: str, floors: list[tuple[str, ...]]) -> None:
    level = {name: number for number, names in enumerate(floors) for name in names}
    upward = [
        f"{name} imports {imported}"
        for name, path in modules(package).items()
        for imported in imports(path)
        if imported.split(".")[0] == package and "." in imported
        if level[imported.split(".")[1]] > level[name.split(".")[1]]
    ]
    assert upward == []


@pytest.mark.parametrize("package", ["capacity", "simulations", "serve_api"])
def test_no_imports_run_in_a_circle(package: str) -> None:
    """Those at the top of a file; what is imported within a function cannot meet itself half made."""
    graph = {name: at_the_top(path) for name, path in modules(package).items()}
    done: set[str] = set()

    def visit(name: str, path: tuple[str, ...] = ()) -> None:
        assert name not in path, " -> ".join((*path, name))
        if name not in done:
            for imported in graph.get(name, ()):
                visit(imported, (*path, name))
            done.add(name)

    for name in graph:
        visit(name)


@cache
def at_the_top(path: Path) -> set[str]:
    found: set[str] = set()
    for node in parsed(path).body:
        if isinstance(node, ast.ImportFrom) and node.module:
            named = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name for name in named if is_module(name)} or {node.module}
    return found


# What holds for any kind of server, but for the register of theories and what reads a profile that a user names.
FOR_ANY_SERVER = ("capacity.question", "capacity.search", "capacity.explanation")
NAME_KINDS = ("search.exact", "search.engines", "search.batches", "question.parse")
KINDS = (
    "capacity.server.batch",
    "capacity.server.engine",
    "capacity.profile.profile",
    "capacity.profile.llm",
)


def test_questions_searches_and_explanations_name_no_kind_of_server() -> None:
    named = {
        name: found
        for name, path in modules("capacity").items()
        if name.startswith(FOR_ANY_SERVER) and not name.endswith(NAME_KINDS)
        if (found := sorted(one for one in imports(path) if one.startswith(KINDS)))
    }
    assert named == {}


# The rooms of a kind of server, and one register a floor for what stands on it for each kind.
ROOMS = ("capacity.profile.", "capacity.traffic.", "capacity.server.", "capacity.formats.")
REGISTERS = (
    "search.exact", "answer.documents", "answer.saved_plan", "render.profiles", "render.deploy.fleet",
    "verification.kinds",
    "answers.evidence", "render.evidence",  # what a file of another tool holds: a profile, a load test, a trace
)  # fmt: skip
# Classes of a kind, and what only one of them has.
OF_A_KIND = {
    "ServiceProfile", "LlmProfile", "BatchPlan", "TokenPlan", "BatchServer", "TokenEngine", "BatchSpace", "EngineSpace",
    "BatchSettings", "BatchTheory", "EngineTheory",
}  # fmt: skip
ONLY_OF_A_KIND = {
    "batch_size_max",
    "batch_wait_max_s",
    "sequences_max",
    "batched_tokens_max",
    "kv",
    "timings",
}


def words(*nodes: ast.AST | None) -> set[str]:
    """Names, attributes and texts in some code."""
    every = [one for node in nodes if node is not None for one in ast.walk(node)]
    found = {one.id for one in every if isinstance(one, ast.Name)}
    found |= {one.attr for one in every if isinstance(one, ast.Attribute)}
    return found | {
        one.value for one in every if isinstance(one, ast.Constant) and isinstance(one.value, str)
    }


def asked_kinds(node: ast.AST) -> set[str]:
    """Kinds of server that a piece of code tells apart."""
    match node:
        case ast.Call(func=ast.Name(id="isinstance" | "issubclass"), args=[_, kinds]):
            return words(kinds) & OF_A_KIND
        case ast.Call(func=ast.Name(id="hasattr"), args=[_, name]):
            return words(name) & ONLY_OF_A_KIND
        case ast.Dict():
            return words(*node.keys) & OF_A_KIND
        case ast.Compare():
            return words(node) & OF_A_KIND
        case ast.MatchClass():
            return words(node.cls) & OF_A_KIND
        case ast.FunctionDef(decorator_list=[_, *_]) if "register" in words(*node.decorator_list):
            return words(*(one.annotation for one in node.args.args)) & OF_A_KIND
    return set()


def test_only_rooms_and_registers_ask_which_kind_a_server_is() -> None:
    asking = {
        f"{name}:{node.lineno}": found  # type: ignore[attr-defined]
        for name, path in modules("capacity").items()
        if not name.startswith(ROOMS) and not name.endswith(REGISTERS)
        for node in ast.walk(parsed(path))
        if (found := asked_kinds(node))
    }
    assert asking == {}


@pytest.mark.parametrize(
    "code",
    [
        "isinstance(one, LlmProfile)",
        "isinstance(one, ServiceProfile | DataFrame)",
        "hasattr(plan, 'sequences_max')",
        "{LlmProfile: 1}",
        "type(plan) is TokenPlan",
        "type(plan).__name__ == 'TokenPlan'",
        "match plan:\n  case BatchPlan(): pass",
        "@shown.register\ndef f(plan: TokenPlan): pass",
    ],
)
def test_a_question_for_the_kind_is_seen(code: str) -> None:
    assert [one for node in ast.walk(ast.parse(code)) for one in asked_kinds(node)]


def test_no_folder_has_too_many_rooms() -> None:
    folders = [path for top in ("capacity", "simulations", "serve_api") for path in (ROOT / top).rglob("*")]
    crowded = {
        str(folder.relative_to(ROOT)): count
        for folder in folders
        if folder.is_dir() and folder.name not in ("commands", "formats", "deploy")
        if (count := len([path for path in folder.glob("*.py") if path.name != "__init__.py"])) > MODULES_MAX
    }
    assert crowded == {}


@pytest.mark.parametrize("package", ["capacity", "simulations", "serve_api"])
def test_no_constant_has_two_values(package: str) -> None:
    """The second would hold for what stands above it too."""
    for path in modules(package).values():
        names = [
            target.id
            for node in parsed(path).body
            if isinstance(node, ast.Assign)
            for target in node.targets
            if isinstance(target, ast.Name)
        ]
        assert [name for name in set(names) if names.count(name) > 1] == [], path


def test_the_command_is_a_list_of_commands() -> None:
    assert len((ROOT / "cli.py").read_text(encoding="utf-8").splitlines()) <= 60


@pytest.mark.parametrize(
    ("package", "strangers"),
    [
        ("capacity", {"simulations", "serve_api", "cli"}),
        ("simulations", {"serve_api", "cli"}),
        ("serve_api", {"simulations", "cli"}),
    ],
)
def test_packages_know_nothing_of_those_beside_them(package: str, strangers: set[str]) -> None:
    for name, path in modules(package).items():
        met = {i for i in imports(path) if i.split(".")[0] in strangers}
        if name.startswith(("capacity.api.", "capacity.commands.")):  # where search meets the simulator
            met = {i for i in met if not i.startswith("simulations.")}
        if name.startswith("serve_api.emulation."):  # which runs the model's own engine by a real clock
            met = {i for i in met if not i.startswith(("simulations.reference.", "simulations.draws."))}
        assert not met, name


def test_simulations_stand_on_the_question() -> None:
    below = {name for names in CAPACITY[:8] for name in names} - {"formats", "evidence"}
    for name, path in modules("simulations").items():
        taken = {i.split(".")[1] for i in imports(path) if i.startswith("capacity.")}
        allowed = below | {"queues", "render"} if name.startswith("simulations.validation.") else below
        assert taken <= allowed, f"{name} takes {sorted(taken - allowed)}"


@pytest.mark.parametrize("package", ["capacity", "simulations"])
def test_pydantic_is_imported_where_json_is_read(package: str) -> None:
    """Within a function."""
    early = [
        name
        for name, path in modules(package).items()
        if any(imported.startswith("pydantic") for imported in at_the_top(path))
    ]
    assert early == []


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["plan", "--help"],
        ["queue", "mm1", "--arrival-rate", "3rps", "--service-rate", "5rps", "--quantile", "0.9"],
        ["queue", "mmc", "--arrival-rate", "9rps", "--service-rate", "5rps", "--servers", "2", "--json"],
        ["queue", "bulk", "--help"],
        ["sweep", "--help"],
        ["verify", "--help"],
        ["profile", "--help"],
    ],
    ids=" ".join,
)
def test_start_up_is_light(arguments: list[str]) -> None:
    assert_light(arguments, HEAVY)


def test_a_law_of_batches_imports_nothing_that_only_its_relatives_need() -> None:
    arguments = ["queue", "bulk", "--batch-times", "1ms,2ms", "--arrival-rate", "100rps"]
    assert_light(arguments, ("scipy.sparse", "scipy.linalg", "scipy.stats", "numba", "pandas"))


def test_a_list_of_profiles_fits_no_steps() -> None:
    """Profiles of language models with scattered steps are fitted by scipy.optimize, once their table is asked for."""
    assert_light(["profiles"], ("scipy", "numba", "pandas", "matplotlib"))


def assert_light(arguments: list[str], heavy: tuple[str, ...]) -> None:
    """A command that works, and imports none of these."""
    program = (
        "import sys, cli\n"
        f"sys.argv = ['capacity', *{arguments!r}]\n"
        "try: cli.app()\n"
        "except SystemExit as end: assert not end.code, end.code\n"
        f"heavy = [name for name in {heavy!r} if name in sys.modules]\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr


WARM = """
import sys
from numba.core import event

class Compilations(event.Listener):
    def on_start(self, begun): print("compiled", begun.data["dispatcher"], file=sys.stderr)
    def on_end(self, _): pass

event.register("numba:compile", Compilations())
import cli
sys.argv = ["capacity", *"{}".split()]
try: cli.app()
except SystemExit as end: assert not end.code, end.code
print([name for name in sys.modules if name in {HEAVY_IN_A_PLAN}], file=sys.stderr)
"""
# SciPy takes 0.1 to 0.2 s to import and numba.np.arraymath, which imports it, as long again.
HEAVY_IN_A_PLAN = ("scipy.special", "scipy.linalg", "numba.np.arraymath", "pandas", "matplotlib.pyplot")


@pytest.mark.parametrize(
    "command",
    [
        "plan --profile resnet50-t4-fp16 --rate 300rps --slo-p99 60ms --batch-size-max 4 --precision 0.2",
        pytest.param(
            "plan --profile llama-3.1-8b-rtx-pro-6000-bf16 --rate 1rps --lengths azure-conversation-2023"
            " --slo-ttft-p99 5s --precision 0.5",
            marks=pytest.mark.long,
        ),
    ],
    ids=["batches", "engines"],
)
def test_a_second_plan_compiles_nothing_and_imports_little(command: str) -> None:
    for _ in range(2):  # the first one compiles what no run before it has
        done = subprocess.run(
            [sys.executable, "-c", WARM.replace("{}", command).replace("{HEAVY_IN_A_PLAN}", repr(HEAVY_IN_A_PLAN))],
            capture_output=True, text=True, cwd=ROOT, timeout=300, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        if "compiled" not in done.stderr:
            break
    assert "compiled" not in done.stderr
    assert done.stderr.splitlines()[-1] == "[]"
