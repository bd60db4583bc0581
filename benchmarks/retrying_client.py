"""Retrying client: does to a real server what `capacity.traffic.clients` describes."""

import asyncio
from dataclasses import dataclass, field

from capacity.errors import DomainError
from capacity.traffic.clients import BudgetKind, Clients, Failure
from capacity.verification.clock import WallClock
from capacity.verification.run import OK, TIMED_OUT, Tokens
from capacity.verification.send import Send, Sent

_BUDGETS = (BudgetKind.NONE, BudgetKind.FIRST_TRIES, BudgetKind.SUCCESSES)
_TURNED_AWAY = (429, 503, 504)


@dataclass(slots=True, kw_only=True)
class RetryingClients:
    """Sends a request as often as its client would; a `Send` for `send_all`.

    Attributes:
        send: sends one attempt, which is cancelled at the timeout.
        tokens: tokens in the budget.
        sent_s: when attempts were sent. [s]
        tries: attempts of the requests that have ended, in the order of their ends.

    Raises:
        DomainError: features that are not implemented here: hedges, backoff, a deadline over all attempts, budgets
            other than of first tries or successes.
    """

    send: Send = field(repr=False)
    clients: Clients
    clock: WallClock
    tokens: float = field(init=False)
    sent_s: list[float] = field(init=False, default_factory=list, repr=False)
    tries: list[int] = field(init=False, default_factory=list, repr=False)

    def __post_init__(self) -> None:
        clients, budget = self.clients, self.clients.budget
        others = (clients.hedge_s, clients.backoff, clients.deadline_s)
        if any(one is not None for one in others) or budget.kind not in _BUDGETS or budget.tokens_per_s:
            raise DomainError(f"only timeouts, attempts and plain budgets are known here, got {clients}")
        self.tokens = budget.tokens

    async def __call__(self, replica: int, _: Tokens | None) -> Sent:
        """The reply, or the failure of the last attempt."""
        self._deposit(BudgetKind.FIRST_TRIES)
        tries = 1
        while (sent := await self._attempt(replica)).outcome != OK:
            if (
                failure(sent) not in self.clients.retried
                or tries == self.clients.attempts
                or not self._pays()
            ):
                break
            tries += 1
        else:
            self._deposit(BudgetKind.SUCCESSES)
        self.tries.append(tries)
        return sent

    async def _attempt(self, replica: int) -> Sent:
        self.sent_s.append(self.clock.now_s())
        try:
            async with asyncio.timeout(self.clients.timeout_s):
                return await self.send(replica, None)
        except TimeoutError:
            return Sent(TIMED_OUT)

    def _deposit(self, kind: BudgetKind) -> None:
        budget = self.clients.budget
        if budget.kind is kind:
            self.tokens = min(budget.tokens, self.tokens + budget.ratio)

    def _pays(self) -> bool:
        """Whether the budget allows one more attempt, which is then paid for."""
        budget = self.clients.budget
        if budget.kind is BudgetKind.NONE:
            return True
        if self.tokens < budget.cost:
            return False
        self.tokens -= budget.cost
        return True


def failure(sent: Sent) -> Failure:
    """How an attempt failed, by its status."""
    if sent.outcome == TIMED_OUT:
        return Failure.TIMED_OUT
    return Failure.REJECTED if sent.outcome in _TURNED_AWAY else Failure.CRASHED
