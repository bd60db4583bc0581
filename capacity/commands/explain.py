"""`capacity explain`: why a saved plan is as it is, or the queue of a server."""

from capacity.commands.options import answering


@answering("capacity:explain")
def explain() -> None:
    """Why a saved plan is as it is: what limits it, what the answer depends on, and what would save most.

    The plan is simulated again with its saved random numbers; the search is not repeated. For a server's statistics
    it says where a request's time goes, and why the queue is as long as it is.

    Examples:
      capacity explain plan.json
      capacity explain http://127.0.0.1:8000/v2/models/resnet/stats
    """
