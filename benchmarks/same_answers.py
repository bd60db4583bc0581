"""Same answers: compares JSON of the commands in `same_answers.txt` before and after a change.

`record FOLDER [NUMBER ...]` runs each command with `--json` and keeps what it prints and its exit code;
`compare BEFORE AFTER` names each command whose output differs, and the keys where it does.
"""

import json
import shlex
import subprocess
import sys
from collections.abc import Collection
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
CAPACITY = Path(sys.executable).with_name("capacity")

COMMANDS = Path(__file__).with_suffix(".txt")


def commands() -> list[str]:
    return [line for line in COMMANDS.read_text().splitlines() if line]


def record(folder: Path, numbers: Collection[int]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for number, line in enumerate(commands()):
        if numbers and number not in numbers:
            continue
        words = [word.replace("FOLDER", str(folder)) for word in shlex.split(line)]
        done = subprocess.run([CAPACITY, *words, "--json"], cwd=ROOT, capture_output=True, text=True)
        kept = {"command": line, "exit_code": done.returncode, "stdout": done.stdout, "stderr": errors(done)}
        (folder / f"{number:03}.json").write_text(json.dumps(kept, indent=1))
        print(number, done.returncode, line, errors(done), flush=True)


def errors(done: subprocess.CompletedProcess[str]) -> str:
    """The message of a refusal; the rest of stderr is progress."""
    return "\n".join(line for line in done.stderr.splitlines() if line.lower().startswith("error"))


def compare(before: Path, after: Path) -> int:
    differing = 0
    for old_file in sorted(before.glob("[0-9]*.json")):
        old, new = (json.loads((folder / old_file.name).read_text()) for folder in (before, after))
        for one, folder in ((old, before), (new, after)):
            one["stdout"] = one["stdout"].replace(str(folder), "FOLDER")
        if old == new:
            continue
        differing += 1
        print(f"{old['command']}\n  exit {old['exit_code']} -> {new['exit_code']}")
        for path, was, now in changes(parsed(old["stdout"]), parsed(new["stdout"])):
            print(f"  {path}: {was!r} -> {now!r}")
        if old["stderr"] != new["stderr"]:
            print(f"  {old['stderr']} -> {new['stderr']}")
    print(f"{differing} of {len(list(before.glob('[0-9]*.json')))} commands differ")
    return 1 if differing else 0


def parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text


def changes(old: Any, new: Any, path: str = "") -> list[tuple[str, Any, Any]]:
    if isinstance(old, dict) and isinstance(new, dict):
        keys = dict.fromkeys([*old, *new])
        return [change for key in keys for change in changes(old.get(key), new.get(key), f"{path}/{key}")]
    if isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        pairs = enumerate(zip(old, new, strict=True))
        return [change for i, (was, now) in pairs for change in changes(was, now, f"{path}/{i}")]
    return [] if old == new else [(path, old, new)]


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["record", folder, *numbers]:
            record(Path(folder), [int(number) for number in numbers])
        case ["compare", before, after]:
            sys.exit(compare(Path(before), Path(after)))
        case _:
            sys.exit(__doc__)
