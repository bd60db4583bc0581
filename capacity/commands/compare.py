"""`capacity compare`: fleets side by side under the same requests."""

from capacity.commands.options import answering


@answering("capacity:compare")
def compare() -> None:
    """Compare fleets side by side under the same requests, with how certain each difference is.

    Examples:
      capacity compare --profile resnet50-t4-fp16 --rate 1000rps --fleet replicas=2 --fleet replicas=3
      capacity compare old.json new.json
    """
