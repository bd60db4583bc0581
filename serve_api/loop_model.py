"""Loop model: the version that a loop measures: one that an earlier loop left, if it is what is asked for."""

import os

from serve_api.artifact import Artifact
from serve_api.metadata import Precision
from serve_api.model_version import next_free, parse_version
from serve_api.store import ArtifactStore
from serve_api.training import Recipe

_FIRST = parse_version("v1.0.0")


def kept(store: ArtifactStore, recipe: Recipe) -> Artifact | None:
    """The current version of a store, if it is one of the recipe: of its kind, seed and size.

    Raises:
        InputError: it is damaged.
    """
    if not os.path.lexists(store.root) or store.current() is None:
        return None
    found = store.load()
    known = found.metadata
    wanted = (recipe.kind, Precision.FP32, recipe.seed, recipe.parameters(len(known.features)))
    return found if (known.model, known.precision, known.seed, known.parameters) == wanted else None


def free_version(store: ArtifactStore) -> str:
    """What the next one may be called."""
    taken = [parse_version(name) for name in store.versions()] if os.path.lexists(store.root) else []
    return str(next_free(_FIRST, taken))
