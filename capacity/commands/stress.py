"""`capacity stress`: whether a fleet recovers by itself after trouble."""

from capacity.commands.options import answering


@answering("capacity:stress")
def stress() -> None:
    """Does a fleet come back by itself after something went wrong?

    Examples:
      capacity stress --plan plan.json --trigger lose:1,60s --timeout 500ms --attempts 3
      capacity stress --profile mine.csv --rate 90rps --replicas 3 --trigger spike:2x,30s --client envoy --timeout 1s
      capacity stress --plan llm-plan.json --trigger crash:1,60s --startup-time 3min --timeout 60s --attempts 3
    """
