"""What MkDocs does not know: files outside `docs/` have no page, and a command is not its output."""

import posixpath
import re
from typing import Any

_LINK = re.compile(r"\[([^\]]+)\]\(([^)#:]+)(#[^)]*)?\)")
_CONSOLE = re.compile(r"^```console\n\$ (.*)\n((?:(?!```).*\n)*)```$", re.MULTILINE)


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """The page with its consoles in two blocks, and with the name of a file for a link that leads out of `docs/`."""
    folder = posixpath.dirname(page.file.src_uri)

    def named(match: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(folder, match[2]))
        return f"{match[1]} (`{target.lstrip('./')}`)" if target.startswith("..") else match[0]

    return _CONSOLE.sub(_in_two, _LINK.sub(named, markdown))


def _in_two(console: re.Match[str]) -> str:
    """A block with the command alone, which the button copies, and one with what it prints, without a button.

    The style sheet draws the prompt, so that neither the button nor a selection copies it.
    """
    command, output = console.groups()
    shown = f"```{{ .sh .command }}\n{command}\n```"
    return f"{shown}\n\n```{{ .text .output .no-copy }}\n{output}```" if output else shown
