"""`capacity agreement`: the simulator compared with theory."""

from capacity.commands.options import answering


@answering("capacity:agreement")
def agreement() -> None:
    """Compare the simulator with exact theory, queue by queue; exit 4 if they disagree.

    Examples:
      capacity agreement
    """
