"""Calls over HTTP: typed answers, refusals as exceptions, retries that never do a thing twice."""

import uuid
from collections.abc import Sequence
from typing import Any, Final, Self, TypeVar
from urllib.parse import quote

import httpx
import msgspec
from tenacity import RetryCallState, Retrying, retry_if_exception, stop_before_delay
from tenacity.wait import wait_exponential, wait_random

from tidegate.api.answers import (
    AccountColumns,
    AccountNow,
    Alert,
    AuctionNow,
    Explained,
    Flow,
    InstrumentNow,
    LiquidationMap,
    Logged,
    OrderNow,
    Problem,
    Profile,
    ProfileHistory,
    Receipt,
    Taken,
    VenueNow,
)
from tidegate.api.asks import FEED_ASKS, KEEPER_ASKS, Bids, Events


T = TypeVar("T")

PATIENCE: Final = 30.0  # seconds for which a call is tried again
SOON_S: Final = 0.5  # at most between two tries where there are several addresses
AGAIN: Final = frozenset({429, 502, 503, 504})
ELSEWHERE: Final = frozenset({502, 503, 504})  # another process may lead by now


class Refused(Exception):
    """The service said no, and why; see `problem`."""

    def __init__(self, problem: Problem, retry_after: float | None = None) -> None:
        self.problem, self.retry_after = problem, retry_after
        where = f"{problem.where}: " if problem.where else ""
        hint = f"\nhint: {problem.hint}" if problem.hint else ""
        super().__init__(f"{problem.status} {problem.title}: {where}{problem.detail}{hint}")


class Unreachable(Exception):
    """The service did not answer in time; what was sent may or may not have been taken.

    Sending it again under the same idempotency key tells, and takes nothing twice.
    """


class Client:
    """One key's way to one service; close it, or use it as a context.

    Parameters
    ----------
    address
        Of the service, for instance ``https://risk.example:8700``; those of a leader and its
        standbys with commas between them, then the one that leads is found.
    token
        The key, as `tidegate keys add` printed it.
    patience
        Seconds for which a call is repeated while the service is busy, away, or changing leaders.
        Repeating is safe: what changes anything carries an idempotency key.
    """

    def __init__(
        self,
        address: str,
        token: str,
        *,
        patience: float = PATIENCE,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self._addresses, self._at = addresses_of(address), 0
        self._patience = patience
        self._http = httpx.Client(
            headers={"Authorization": f"Bearer {token}"},
            timeout=httpx.Timeout(10.0, read=30.0),
            transport=transport,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    @property
    def address(self) -> str:
        """Where the last call went."""
        return self._addresses[self._at]

    # ------------------------------------------------------------ looking

    def venue(self) -> VenueNow:
        """Return the whole venue as it stands."""
        return self.get("/v1/venue", VenueNow)

    def instruments(self) -> list[InstrumentNow]:
        """Return every instrument."""
        return self.get("/v1/instruments", list[InstrumentNow])

    def instrument(self, symbol: str) -> InstrumentNow:
        """Return one instrument."""
        return self.get(f"/v1/instruments/{_part(symbol)}", InstrumentNow)

    def profile(self, symbol: str) -> Profile:
        """Return the cascade profile of one instrument."""
        return self.get(f"/v1/instruments/{_part(symbol)}/profile", Profile)

    def profile_history(self, symbol: str, since: int = 0) -> ProfileHistory:
        """Return the cascade profile over time, from ``since`` on."""
        path = f"/v1/instruments/{_part(symbol)}/profile/history"
        return self.get(path, ProfileHistory, since=since)

    def liquidations(self, symbol: str) -> LiquidationMap:
        """Return where liquidations wait, against the depth that would meet them."""
        return self.get(f"/v1/instruments/{_part(symbol)}/liquidations", LiquidationMap)

    def flow(self, symbol: str) -> Flow:
        """Return the forced flow of one instrument against its throttle."""
        return self.get(f"/v1/instruments/{_part(symbol)}/flow", Flow)

    def accounts(self, offset: int = 0, limit: int = 100) -> AccountColumns:
        """Return accounts, nearest to liquidation first."""
        return self.get("/v1/accounts", AccountColumns, offset=offset, limit=limit)

    def account(self, name: str) -> AccountNow:
        """Return one account."""
        return self.get(f"/v1/accounts/{_part(name)}", AccountNow)

    def orders(self) -> list[OrderNow]:
        """Return the orders to execute: in flight, not yet answered in full."""
        return self.get("/v1/orders", list[OrderNow])

    def auctions(self) -> list[AuctionNow]:
        """Return the open auctions."""
        return self.get("/v1/auctions", list[AuctionNow])

    def deleveragings(self, limit: int = 100) -> list[Receipt]:
        """Return the receipts of the last deleveragings."""
        return self.get("/v1/deleveragings", list[Receipt], limit=limit)

    def events(self, limit: int = 100) -> list[Logged]:
        """Return the last records in words."""
        return self.get("/v1/events", list[Logged], limit=limit)

    def alerts(self) -> list[Alert]:
        """Return what a person should know now."""
        return self.get("/v1/alerts", list[Alert])

    def explain(self, account: str, seq: int | None = None) -> Explained:
        """Return why an account was touched."""
        more = {} if seq is None else {"seq": seq}
        return self.get(f"/v1/explain/{_part(account)}", Explained, **more)

    # ------------------------------------------------------------ telling

    def tell(self, *events: FEED_ASKS, key: str = "") -> Taken:
        """Tell what happened; return when it is durable. ``key``: see `post`."""
        return self.post("/v1/events", Events(events=list(events)), Taken, key=key)

    def bid(self, *bids: KEEPER_ASKS, key: str = "") -> Taken:
        """Bid in open auctions; return when the bids are durable. ``key``: see `post`."""
        return self.post("/v1/bids", Bids(bids=list(bids)), Taken, key=key)

    # ------------------------------------------------------------ anything else

    def get(self, path: str, kind: type[T], **query: str | int) -> T:
        """Return what a path answers, as ``kind``; raise Refused or Unreachable."""
        return self._typed(self._called("GET", path, params=query), kind)

    def post(self, path: str, body: object, kind: type[T], *, key: str = "") -> T:
        """Send a body and return the answer as ``kind``; raise Refused or Unreachable.

        ``key`` is the idempotency key; left out, it is drawn once for all tries of this call. Give
        your own where you may be restarted between sending and hearing the answer.
        """
        headers = {
            "Content-Type": "application/json",
            "Idempotency-Key": key or str(uuid.uuid4()),
        }
        content = msgspec.json.encode(body)
        return self._typed(self._called("POST", path, content=content, headers=headers), kind)

    def _called(self, method: str, path: str, **more: Any) -> httpx.Response:  # noqa: ANN401 (what httpx takes)
        tries = Retrying(
            retry=retry_if_exception(_passing),
            stop=stop_before_delay(self._patience),
            wait=_wait if len(self._addresses) == 1 else _soon,
            reraise=True,
        )
        try:
            return tries(self._once, method, path, **more)
        except httpx.TransportError as error:
            msg = f"{self.address}: {error or type(error).__name__}"
            raise Unreachable(msg) from error

    def _once(self, method: str, path: str, **more: Any) -> httpx.Response:  # noqa: ANN401 (what httpx takes)
        try:
            answer = self._http.request(method, self.address + path, **more)
        except httpx.TransportError:
            self._turn()
            raise
        if answer.is_success:
            return answer
        if answer.status_code in ELSEWHERE:
            self._turn()
        try:
            problem = msgspec.json.decode(answer.content, type=Problem)
        except msgspec.MsgspecError:  # of something in between
            problem = Problem(type="about:blank", title="Refused", status=answer.status_code)
        after = answer.headers.get("retry-after", "")
        raise Refused(problem, float(after) if after.isdigit() else None)

    def _turn(self) -> None:
        self._at = (self._at + 1) % len(self._addresses)

    def _typed(self, answer: httpx.Response, kind: type[T]) -> T:
        return msgspec.json.decode(answer.content, type=kind)


def _passing(error: BaseException) -> bool:
    if isinstance(error, Refused):
        return error.problem.status in AGAIN
    return isinstance(error, httpx.TransportError)


_backoff: Final = wait_exponential(multiplier=0.1, max=2.0) + wait_random(0, 0.1)


def _wait(state: RetryCallState) -> float:
    error = state.outcome.exception() if state.outcome is not None else None
    after = error.retry_after if isinstance(error, Refused) else None
    return _backoff(state) if after is None else after


def _soon(state: RetryCallState) -> float:
    """Wait as told where the answer is about our pace, but not where another one may lead."""
    error = state.outcome.exception() if state.outcome is not None else None
    if isinstance(error, Refused) and error.problem.status not in ELSEWHERE:
        return _wait(state)
    return min(_backoff(state), SOON_S)


def addresses_of(address: str) -> tuple[str, ...]:
    """Return the addresses that are named with commas between them."""
    return tuple(one.strip().rstrip("/") for one in address.split(","))


def _part(name: str) -> str:
    return quote(name, safe="")


__all__: Sequence[str] = ("Client", "Refused", "Unreachable")
