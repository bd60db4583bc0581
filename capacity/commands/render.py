"""`capacity render`: a saved plan as settings for servers, autoscalers, monitoring and load generators."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from capacity.commands.options import note_input, note_output, option
from capacity.commands.output import write_text

_PLAN = typer.Argument(help="A plan saved by capacity plan -o.", metavar="FILE", callback=note_input)
_TARGET = option(
    "--target",
    help="What is to run it: triton, kubernetes, keda, kserve, ray-serve, bentoml, compose, serve-api, k6, prometheus; "
    "haproxy or nginx in front of any plan; envoy, istio or grpc for the clients of a plan that recovers; of a "
    "language model vllm, sglang, llama-server, kubernetes, keda, kserve, inference-pool, prometheus, guidellm and "
    "aiperf. Repeatable.",
    metavar="TARGET",
)
_ARRIVALS = option(
    "--arrivals",
    help="trace:FILE, where the plan's trace was too long to be saved with it.",
    metavar="SPEC",
    callback=note_input,
)
_FILE = option(
    "-o",
    "--output",
    help="A file, or a folder, in which each target has a file of its own; several need one. Default: stdout.",
    metavar="PATH",
    callback=note_output,
)


def render(
    plan: Annotated[str, _PLAN],
    target: Annotated[list[str], _TARGET],
    arrivals: Annotated[str | None, _ARRIVALS] = None,
    file: Annotated[str | None, _FILE] = None,
) -> None:
    """Write a saved plan as the settings of the server that will run it.

    Examples:
      capacity render plan.json --target triton
      capacity render plan.json --target triton --target kubernetes -o deploy/
      capacity render plan.json --target vllm
    """
    import capacity
    from capacity.errors import InputError
    from capacity.files import is_folder

    if len(target) > 1 and file is None:
        raise InputError("several targets are several files; give a folder for them: -o FOLDER")
    texts = {name: capacity.render_plan(plan, name, arrivals) for name in target}
    if file is None:
        write_text(texts[target[0]])
    elif len(texts) > 1 or file.endswith("/") or is_folder(Path(file)):
        _write_folder(Path(file), texts)
    else:
        _write_file(Path(file), target[0], texts[target[0]])


def _write_file(path: Path, target: str, text: str) -> None:
    from capacity.files import check_target, write_whole
    from capacity.render.deploy.registry import find_target

    usual = Path(find_target(target).FILE).suffix
    check_target(path, f"what --target {target} writes", (usual, ".txt"))
    write_whole(path, text.encode())


def _write_folder(folder: Path, texts: Mapping[str, str]) -> None:
    """Write a file for each target into a folder, which is created if only it is missing."""
    from capacity.errors import InputError
    from capacity.files import check_target, printable, write_whole
    from capacity.render.deploy.registry import find_target

    try:
        folder.mkdir(exist_ok=True)
    except (OSError, ValueError) as error:
        raise InputError(
            f"cannot write {printable(str(folder))}: {type(error).__name__}; give a folder, or one to make "
            "in a folder that there is"
        ) from None
    paths = {name: folder / find_target(name).FILE for name in texts}
    for name, path in paths.items():
        check_target(path, f"what --target {name} writes", (path.suffix,))
    for name, text in texts.items():
        write_whole(paths[name], text.encode())
        typer.echo(f"wrote {printable(str(paths[name]))}", err=True)
