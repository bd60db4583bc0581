"""Strata: a sample in parts whose shares are known, such as requests in bursts and between them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from simulations.statistics.sample import Sample


@dataclass(frozen=True, slots=True, kw_only=True)
class Strata:
    """The samples of the strata of one run, or of several; takes the place of a sample in a pool.

    Chance decides how many requests of a run fall into a burst, but not what share of all requests does: each stratum
    is weighted by its known share, so that only what happens within the strata is estimated.

    Attributes:
        weights: known shares of the requests, which sum to 1, in groups whose order matters.
        samples: one of each stratum, group by group; without requests if none fell into it.

    Source:
        Cochran (1977), Sampling Techniques, sec. 5A.9 (stratification after selection).
    """

    weights: tuple[tuple[float, ...], ...]
    samples: tuple[Sample, ...]

    @classmethod
    def merged(cls, runs: Sequence["Strata"]) -> "Strata":
        """Several runs as one, stratum by stratum."""
        if len(runs) == 1:
            return runs[0]
        parts = zip(*(run.samples for run in runs), strict=True)
        return replace(runs[0], samples=tuple(type(part[0]).merged(part) for part in parts))

    def in_cells(self) -> "Strata":
        """The strata with their durations in cells."""
        return replace(self, samples=tuple(sample.in_cells() for sample in self.samples))

    @property
    def counted(self) -> int:
        """Number of counted requests, as many as were simulated."""
        return sum(sample.counted for sample in self.samples)

    @property
    def as_one(self) -> Sample:
        """One sample in which each stratum has its share, with as many requests as there are."""
        offered = [sample.counted + sample.lost for sample in self.samples]
        known = self._known(offered)
        scale = sum(offered) / sum(known)
        factors = [
            scale * weight / count if count else 0.0 for weight, count in zip(known, offered, strict=True)
        ]
        return type(self.samples[0]).mixed(self.samples, factors)

    def _known(self, offered: Sequence[float]) -> list[float]:
        """The weights; that of a stratum without requests goes to its neighbour in the group.

        Source:
            Cochran (1977), Sampling Techniques, sec. 5A.12 (collapsed strata).
        """
        found, first = [0.0] * len(offered), 0
        for group in self.weights:
            seen = [first + place for place in range(len(group)) if offered[first + place]]
            for place, weight in enumerate(group, start=first):
                if seen:
                    found[max((one for one in seen if one <= place), default=seen[0])] += weight
            first += len(group)
        return found
