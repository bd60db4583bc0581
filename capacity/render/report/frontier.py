"""Frontier page: plans at each value of a list or a range as one HTML page."""

from datetime import date

from markupsafe import Markup, escape

from capacity.render.figures import draw_costs
from capacity.render.frontier import Frontier, cells, notes, sentence
from capacity.render.report.figures import inline_svg
from capacity.render.report.page import template
from capacity.render.report.sections import Cell, Table


def frontier_page(frontier: Frontier, written: date) -> str:
    """The sentence, the picture and the table as one page of HTML, with the notes on the plans.

    Args:
        written: the day on which the page is written.

    Raises:
        InputError: no point has a plan.
    """
    heads, rows = cells(frontier)
    told = sentence(frontier)
    svg = inline_svg(draw_costs(frontier), "cost", str(escape(told)))
    points = Table(
        caption="The cheapest plan at each point",
        heads=[head.lstrip("<~") for head in heads],
        rows=[[Cell(text=text) for text in row] for row in rows],
    )
    return template("frontier.html.j2").render(
        title="What it costs",
        sentence=told,
        lead=f"In brackets: {100.0 * frontier.confidence:g} % intervals. Each plan is confirmed by itself.",
        svg=Markup(svg),  # noqa: S704  (the text in it is escaped)
        points=points,
        notes=[note.removeprefix("Note: ") for note in notes(frontier)],
        written=written.isoformat(),
    )
