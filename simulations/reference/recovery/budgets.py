"""Budgets: what retries and hedges are paid from. Each counts first tries, successes and failures."""

from dataclasses import dataclass

from capacity.traffic.clients import BudgetKind, RetryBudget


@dataclass(slots=True)
class Awaited:
    """How many attempts clients wait for, those in backoff among them, and how many of these are retries."""

    attempts: int = 0
    retries: int = 0

    def add(self, *, is_retry: bool) -> None:
        """A client begins to wait."""
        self.attempts += 1
        self.retries += is_retry

    def remove(self, *, is_retry: bool) -> None:
        """A client has its reply, or waits no more."""
        self.attempts -= 1
        self.retries -= is_retry


class Unlimited:
    """Every retry is allowed; what the other budgets have in common."""

    def __init__(self, budget: RetryBudget, awaited: Awaited) -> None:
        self.budget = budget
        self.awaited = awaited
        self.tokens = budget.tokens

    def allows(self, now_s: float) -> bool:
        """Whether another attempt may be made; if so, it has been paid."""
        return True

    def first_try(self) -> None:
        """A request is sent for the first time."""

    def success(self) -> None:
        """A client has its reply."""

    def failure(self) -> None:
        """An attempt has failed."""

    def deposit(self, tokens: float) -> None:
        """Add tokens, up to the most that are held."""
        self.tokens = min(self.tokens + tokens, self.budget.tokens)

    def pays(self) -> bool:
        """Take the price of a retry, if there are enough tokens."""
        if self.tokens < self.budget.cost:
            return False
        self.tokens -= self.budget.cost
        return True


class FirstTries(Unlimited):
    """First tries deposit, and so does time."""

    def __init__(self, budget: RetryBudget, awaited: Awaited) -> None:
        super().__init__(budget, awaited)
        self._asked_s = 0.0  # when last; the time since then has not been deposited

    def first_try(self) -> None:
        """Deposit."""
        self.deposit(self.budget.ratio)

    def allows(self, now_s: float) -> bool:
        """Deposit the time since it was last asked, then pay."""
        self.deposit(self.budget.tokens_per_s * (now_s - self._asked_s))
        self._asked_s = now_s
        return self.pays()


class Successes(Unlimited):
    """Successes deposit."""

    def success(self) -> None:
        """Deposit."""
        self.deposit(self.budget.ratio)

    def allows(self, now_s: float) -> bool:
        """Pay."""
        return self.pays()


class Concurrent(Unlimited):
    """Retries are at most a share of the attempts that clients wait for; a few are always allowed."""

    def allows(self, now_s: float) -> bool:
        """Compare with what is waited for now."""
        most = max(float(self.budget.at_least), self.budget.ratio * self.awaited.attempts)
        return self.awaited.retries < most


class Throttle(Unlimited):
    """Failures take a token and successes give back a part of one; no retries at half of them or below."""

    def success(self) -> None:
        """Deposit."""
        self.deposit(self.budget.ratio)

    def failure(self) -> None:
        """Take a token."""
        self.tokens = max(0.0, self.tokens - 1.0)

    def allows(self, now_s: float) -> bool:
        """Retries themselves are free."""
        return self.tokens > self.budget.tokens / 2.0


def budget_for(budget: RetryBudget, awaited: Awaited) -> Unlimited:
    """The rule behind a kind of budget, full at first."""
    rule = {
        BudgetKind.NONE: Unlimited,
        BudgetKind.FIRST_TRIES: FirstTries,
        BudgetKind.SUCCESSES: Successes,
        BudgetKind.CONCURRENT: Concurrent,
        BudgetKind.THROTTLE: Throttle,
    }[budget.kind]
    return rule(budget, awaited)
