"""What MkDocs does not know: files outside `docs/` have no page, and are named instead."""

import posixpath
import re
from typing import Any

_LINK = re.compile(r"\[([^\]]+)\]\(([^)#:]+)(#[^)]*)?\)")


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """A link that leads out of `docs/` becomes the name of the file."""
    folder = posixpath.dirname(page.file.src_uri)

    def named(match: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(folder, match[2]))
        return f"{match[1]} (`{target.lstrip('./')}`)" if target.startswith("..") else match[0]

    return _LINK.sub(named, markdown)
