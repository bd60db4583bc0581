"""Draws the README's first command as an animated terminal: `python docs/terminal.py > docs/images/terminal.svg`.

The command and its answer are those of the README, which tests hold equal to what it prints. The command is typed, then
the answer appears line by line; where motion is not wanted, all of it is there from the start.
"""

import re
import sys
import textwrap
from pathlib import Path
from xml.sax.saxutils import escape

README = Path(__file__).parent.parent / "README.md"
_EXAMPLE = re.compile(r"```console\n\$ (.*?)\n(.*?)```", re.DOTALL)
_COLUMNS, _CHARACTER, _LINE, _MARGIN = 80, 8.43, 21, 20  # columns, and pixels
_TYPED_S, _LINE_S = 2.5, 0.25

_STYLE = """
  rect.screen { fill: #16181d } circle { fill: #3a3f4b }
  text { font: 14px ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', monospace }
  text { fill: #d7dae0; white-space: pre }
  .typed { fill: #7ee787 } .verdict { font-weight: bold; fill: #fff } .cover { display: none }
  @media (prefers-reduced-motion: no-preference) {
    .line { opacity: 0; animation: show 0.2s forwards } @keyframes show { to { opacity: 1 } }
    .cover { display: block; animation: type linear forwards } @keyframes type { to { transform: translateX(100%) } }
  }
"""


def example() -> tuple[str, list[str]]:
    """The first command of the README, and the lines of its answer at 80 columns."""
    command, answer = _EXAMPLE.findall(README.read_text(encoding="utf-8"))[0]
    wrapped = textwrap.wrap(command.partition(" | ")[0], _COLUMNS - 4)
    return " \\\n    ".join(wrapped), answer.splitlines()


def drawn() -> str:
    """The terminal as SVG."""
    command, answer = example()
    typed = f"$ {command}".splitlines()
    width = 2 * _MARGIN + _CHARACTER * max(map(len, [*typed, *answer]))
    height = 2 * _MARGIN + 10 + _LINE * (len(typed) + len(answer))
    rows, y, begins_s = [], 52, 0.5
    for line in typed:
        lasts_s = _TYPED_S * len(line) / sum(map(len, typed))
        rows += [
            f'<text class="typed" x="{_MARGIN}" y="{y}">{escape(line)}</text>',
            f'<rect class="screen cover" x="{_MARGIN}" y="{y - 15}" width="{width:.0f}" height="{_LINE}" '
            f'style="animation-duration: {lasts_s:.2f}s; animation-delay: {begins_s:.2f}s"/>',
        ]
        y, begins_s = y + _LINE, begins_s + lasts_s
    for number, line in enumerate(answer):
        look = "line verdict" if number < 2 else "line"
        delay = f'style="animation-delay: {begins_s + 0.6 + _LINE_S * number:.2f}s"'
        rows.append(f'<text class="{look}" {delay} x="{_MARGIN}" y="{y}">{escape(line)}</text>')
        y += _LINE
    dots = "".join(f'<circle cx="{_MARGIN + 18 * place}" cy="20" r="6"/>' for place in range(3))
    told = escape(f"A terminal in which {' '.join(command.split())} answers: {answer[0]}")
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height}" width="{width:.0f}" '
        f'height="{height}" role="img">\n<title>{told}</title>\n<style>{_STYLE}</style>\n'
        f'<rect class="screen" width="100%" height="100%" rx="8"/>{dots}\n' + "\n".join(rows) + "\n</svg>\n"
    )


if __name__ == "__main__":
    sys.stdout.write(drawn())
