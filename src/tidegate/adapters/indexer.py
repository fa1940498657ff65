"""Read entities of a lending protocol from an on-chain indexer: a subgraph's GraphQL endpoint.

Entities and fields are those of Messari's lending subgraphs (schema-lending.graphql). Pages follow
one another by ``id_gt``, because ``skip`` stops at a few thousand and grows slower with every page;
all pages are asked of one block, so that a long fetch is one snapshot. Pages that arrived are kept
in ``NAME.part``, and the next call goes on behind them, at the same block.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, TypeAlias, cast

import httpx

from tidegate.adapters.arrow import pa, pq
from tidegate.adapters.fetch import (
    Politeness,
    Progress,
    Transient,
    client,
    patiently,
    proved,
    unseen,
)
from tidegate.domain.errors import ConfigInvalid, FetchFailed


# What is asked of each entity; nested fields become columns "account_id", "market_id", ...
ENTITIES: Final[dict[str, str]] = {
    "positions": (
        "id account { id } market { id name inputToken { symbol decimals } liquidationThreshold } "
        "side isCollateral balance timestampOpened timestampClosed"
    ),
    "liquidates": (
        "id hash logIndex blockNumber timestamp liquidator { id } liquidatee { id } "
        "market { id } asset { id symbol decimals } amount amountUSD profitUSD"
    ),
    "markets": (
        "id name inputToken { id symbol decimals } inputTokenPriceUSD maximumLTV "
        "liquidationThreshold liquidationPenalty totalDepositBalanceUSD totalBorrowBalanceUSD"
    ),
}
PAGE: Final = 1_000  # the most that a subgraph returns at once
TRY_AGAIN: Final = ("rate limit", "too many requests", "timeout", "timed out", "bad indexers")

Json: TypeAlias = dict[str, Any]


def fetch_entities(
    url: str,
    entity: str,
    out: Path,
    *,
    block: int | None = None,
    page: int = PAGE,
    key: str | None = None,
    politeness: Politeness | None = None,
    on_progress: Progress = unseen,
) -> int:
    """Write all rows of ``entity`` at one block into the Parquet file ``out``; return their number.

    Every value is kept as text, as the indexer sent it: amounts are integers of 78 digits in a
    token's own units. ``block`` None means the newest. ``key`` is sent as a bearer token. Raise
    FetchFailed when the endpoint refuses, or did not answer after all tries.
    """
    if entity not in ENTITIES:
        raise ConfigInvalid(
            where="--entity", what=f"must be one of {', '.join(ENTITIES)}", found=repr(entity)
        )
    politeness = politeness or Politeness()
    out.parent.mkdir(parents=True, exist_ok=True)
    part = out.with_name(f"{out.name}.part")
    with client(politeness) as http:
        if key:
            http.headers["Authorization"] = f"Bearer {key}"
        begun = _begun(part, url, entity)
        at = begun["block"] if begun else block or _newest(http, url, politeness)
        if begun is None:
            header = {"url": url, "entity": entity, "block": at}
            part.write_text(json.dumps(header) + "\n", encoding="utf-8")
        last, count = _last(part)
        with part.open("a", encoding="utf-8") as file:
            for rows in _pages(http, url, entity, at, last, page, politeness):
                file.writelines(json.dumps(row) + "\n" for row in rows)
                file.flush()
                count += len(rows)
                on_progress(entity, count, 0)
    written = _write(part, out)
    part.unlink()
    return written


def _begun(part: Path, url: str, entity: str) -> Json | None:
    """Return the header of an interrupted fetch; None where there is none of the same thing."""
    if not part.exists():
        return None
    lines = part.read_text(encoding="utf-8").splitlines(keepends=True)
    whole = [line for line in lines if line.endswith("\n")]
    if not whole:
        return None
    part.write_text("".join(whole), encoding="utf-8")  # a row that was cut off is asked for again
    header: Json = json.loads(whole[0])
    return header if (header["url"], header["entity"]) == (url, entity) else None


def _last(part: Path) -> tuple[str, int]:
    rows = part.read_text(encoding="utf-8").splitlines()[1:]
    return (json.loads(rows[-1])["id"] if rows else ""), len(rows)


def _newest(http: httpx.Client, url: str, politeness: Politeness) -> int:
    found = _asked(http, url, "{ _meta { block { number } } }", {}, politeness)
    return int(found["_meta"]["block"]["number"])


def _pages(
    http: httpx.Client,
    url: str,
    entity: str,
    block: int,
    last: str,
    page: int,
    politeness: Politeness,
) -> Iterator[list[Json]]:
    query = (
        f"query($first: Int!, $last: ID!, $block: Int!) {{ {entity}("
        "first: $first, orderBy: id, orderDirection: asc, where: { id_gt: $last }, "
        f"block: {{ number: $block }}) {{ {ENTITIES[entity]} }} }}"
    )
    while True:
        variables = {"first": page, "last": last, "block": block}
        found = cast("list[Json]", _asked(http, url, query, variables, politeness)[entity])
        rows = [dict(_flat(row)) for row in found]
        ids = [str(row["id"]) for row in rows]
        if last in ids:
            msg = f"{url} returned {entity} {last!r} again behind itself: id_gt has no effect"
            raise FetchFailed(msg)
        if rows:
            yield rows
            last = ids[-1]
        if len(rows) < page:
            return


def _asked(
    http: httpx.Client, url: str, query: str, variables: Json, politeness: Politeness
) -> Json:
    """Return the ``data`` of one query."""

    def once() -> Json:
        try:
            response = http.post(url, json={"query": query, "variables": variables})
        except httpx.TransportError as error:
            what = f"{type(error).__name__}: {error}"
            raise Transient(what) from error
        proved(response, "the indexer")
        try:
            answer: Json = response.json()
        except ValueError:
            msg = f"{url} must answer with JSON, found {response.text[:80]!r}"
            raise FetchFailed(msg) from None
        if "errors" in answer or "data" not in answer:
            said = json.dumps(answer.get("errors", answer))[:300]
            if any(word in said.lower() for word in TRY_AGAIN):
                raise Transient(said)
            msg = f"{url} refused the query: {said}"
            raise FetchFailed(msg)
        return answer["data"]

    try:
        return patiently(politeness)(once)
    except Transient as error:
        msg = f"{url} did not answer after {politeness.attempts} tries: {error}"
        raise FetchFailed(msg) from error


def _flat(row: Json, prefix: str = "") -> Iterator[tuple[str, str | None]]:
    for name, value in row.items():
        if isinstance(value, dict):
            yield from _flat(cast("Json", value), f"{prefix}{name}_")
        else:
            yield prefix + name, None if value is None else str(value)


def _write(part: Path, out: Path) -> int:
    lines = part.read_text(encoding="utf-8").splitlines()
    header, rows = json.loads(lines[0]), [json.loads(line) for line in lines[1:]]
    names = list(dict.fromkeys(name for row in rows for name in row)) or ["id"]
    columns = {name: pa.array([row.get(name) for row in rows], pa.string()) for name in names}
    table = pa.table(columns).replace_schema_metadata(
        {"source": str(header["url"]), "block": str(header["block"])}
    )
    whole = out.with_name(f"{out.name}.whole")
    pq.write_table(table, whole, compression="zstd")
    whole.replace(out)
    return len(rows)
