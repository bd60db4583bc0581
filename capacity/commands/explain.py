"""`capacity explain`: why a saved plan is as it is, or the queue of a server."""

from capacity.commands.options import answering


@answering("capacity:explain")
def explain() -> None:
    """Why a saved plan is as it is, and what would save most; or why the queue of a running server is long, from its
    metrics.

    A plan is simulated again with its saved random numbers, without the search, and explained by what limits it and
    what the answer depends on. "Why is my queue long?" is answered from the statistics or the /metrics of Triton or
    vLLM: where a request's time goes, how many wait, and what would shorten the queue.

    Examples:
      capacity explain plan.json
      capacity explain http://127.0.0.1:8000/v2/models/resnet/stats
      capacity explain http://127.0.0.1:8002/metrics
    """
