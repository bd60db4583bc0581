"""M/G/c/c: Erlang's loss system, where who finds every server busy is lost; real server counts too."""

from dataclasses import dataclass

from capacity.performance import Kind, Performance
from capacity.queues.domain import QUANTILES, require_positive
from capacity.queues.erlang import erlang_b, require_servers, served_share


@dataclass(frozen=True, slots=True, kw_only=True)
class MGcc:
    """M/G/c/c in steady state, at any load; no service law beyond its mean matters.

    Attributes:
        offered_load: arrival rate x mean service time. [erlang]
        servers: c > 0, a real number (for interpolation).

    Raises:
        DomainError: an argument is not positive and finite, or servers is above 5e9.

    Source:
        Erlang (1917); Sevastyanov (1957), Theory of Probability and its Applications 2, for any
        service law; Jagerman (1974), Bell System Technical Journal 53(3), for real server counts.

    Assumes:
        Poisson arrivals, lost requests do not come back, steady state.

    >>> system = MGcc(offered_load=5.0, servers=10)
    >>> round(system.loss_probability, 6), round(system.in_system_mean, 4)
    (0.018385, 4.9081)
    """

    offered_load: float
    servers: float

    def __post_init__(self) -> None:
        require_positive("offered_load", self.offered_load)
        require_servers(self.servers)

    @property
    def load(self) -> float:
        """Offered load of one server."""
        return self.offered_load / self.servers

    @property
    def loss_probability(self) -> float:
        """Share of requests lost: Erlang B."""
        return erlang_b(self.offered_load, self.servers)

    @property
    def served_share(self) -> float:
        """1 - `loss_probability`, with its digits where nearly all are lost."""
        return served_share(self.offered_load, self.servers)

    @property
    def in_system_mean(self) -> float:
        """Mean number in service: the carried load."""
        return self.offered_load * self.served_share

    @property
    def utilization(self) -> float:
        """Mean share of the servers that is busy."""
        return self.in_system_mean / self.servers

    def performance(self, quantiles: tuple[float, ...] = QUANTILES) -> Performance:
        """All of this system as the answer that simulation and measurement give too.

        Args:
            quantiles: as for every law, but it has none: a response is its service, of any law.

        >>> round(MGcc(offered_load=5.0, servers=10).performance().utilization, 5)
        0.49081
        """
        return Performance(
            kind=Kind.EXACT,
            load=self.load,
            utilization=self.utilization,
            offered_load=self.offered_load,
            loss_probability=self.loss_probability,
            in_system_mean=self.in_system_mean,
        )
