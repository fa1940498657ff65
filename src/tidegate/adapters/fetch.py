"""Fetch public files and pages over a network that fails: retries, resume, and proof of arrival.

A file is written to ``NAME.part`` and renamed only when its published SHA-256 agrees, so a file
that is there is whole. An interrupted download goes on where it stopped (HTTP Range); a wrong sum
throws the part away and starts once more, since the archive may have replaced the file meanwhile.
"""

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, NamedTuple, TypeAlias, TypeVar

import httpx
import tenacity

from tidegate import __version__
from tidegate.adapters.archive import ArchiveFile
from tidegate.domain.errors import FetchFailed


ATTEMPTS: Final = 6
WAIT_MAX_S: Final = 60.0
TRY_AGAIN: Final = (408, 425, 429, 500, 502, 503, 504)
PARTIAL_CONTENT: Final = 206
NOT_FOUND: Final = 404
RANGE_NOT_SATISFIABLE: Final = 416

T = TypeVar("T")
Progress: TypeAlias = Callable[[str, int, int], None]  # name, bytes here, in all (0: not known)


def unseen(name: str, have: int, total: int) -> None:
    """Show nobody how far it is."""
    del name, have, total


class Politeness(NamedTuple):
    """How often, and how patiently, a request is tried again."""

    attempts: int = ATTEMPTS
    first_wait_s: float = 1.0  # doubled every time, up to `WAIT_MAX_S`
    timeout_s: float = 30.0


class Fetched(NamedTuple):
    """One file of an archive that is here now, whole."""

    path: Path
    bytes_read: int  # over the network, by this call; 0 when it was here already
    sha256: str


class Transient(Exception):
    """Something that may pass, for `patiently` only; ``wait_s`` is the server's wish, if any."""

    def __init__(self, what: str, wait_s: float | None = None) -> None:
        self.wait_s = wait_s
        super().__init__(what)


def client(politeness: Politeness | None = None) -> httpx.Client:
    """Return an HTTP client with bounded waits; the caller closes it."""
    timeout = (politeness or Politeness()).timeout_s
    return httpx.Client(
        timeout=httpx.Timeout(timeout, connect=min(timeout, 10.0)),
        follow_redirects=True,
        headers={"User-Agent": f"tidegate/{__version__}"},
    )


def patiently(politeness: Politeness) -> tenacity.Retrying:
    """Return a loop that tries `Transient` failures again, waiting twice as long every time."""

    def wait(state: tenacity.RetryCallState) -> float:
        failure = state.outcome.exception() if state.outcome else None
        wished = failure.wait_s if isinstance(failure, Transient) else None
        doubled = politeness.first_wait_s * 2.0 ** (state.attempt_number - 1)
        return min(WAIT_MAX_S, doubled if wished is None else wished)

    return tenacity.Retrying(
        stop=tenacity.stop_after_attempt(politeness.attempts),
        wait=wait,
        retry=tenacity.retry_if_exception_type(Transient),
        reraise=True,
    )


def proved(response: httpx.Response, what: str) -> None:
    """Raise Transient for a status that may pass, FetchFailed for one that will not."""
    status = response.status_code
    if status in TRY_AGAIN:
        msg = f"HTTP {status}"
        raise Transient(msg, _retry_after(response))
    if status == NOT_FOUND:
        hint = "daily files appear the next day, monthly files the next month"
        msg = f"{what} is not there (HTTP 404): {response.url}\nhint: {hint}"
        raise FetchFailed(msg)
    if status >= 400:
        msg = f"{what} was refused (HTTP {status}): {response.url}"
        raise FetchFailed(msg)


def _retry_after(response: httpx.Response) -> float | None:
    text = response.headers.get("retry-after", "")
    return float(text) if text.isdigit() else None


def fetch_file(
    http: httpx.Client,
    base_url: str,
    file: ArchiveFile,
    out: Path,
    *,
    politeness: Politeness | None = None,
    on_progress: Progress = unseen,
) -> Fetched:
    """Return the archive's file in folder ``out``, whole and proved; fetch what is missing of it.

    A file that is here already is proved against the published sum and not fetched again. Raise
    FetchFailed when it is not in the archive, or when it did not arrive after all tries; what did
    arrive stays in ``NAME.part`` for the next call.
    """
    politeness = politeness or Politeness()
    out.mkdir(parents=True, exist_ok=True)
    url = f"{base_url.rstrip('/')}/{file.path}"
    expected = found = _checksum(http, f"{url}.CHECKSUM", file.name, politeness)
    target, part = out / file.name, out / f"{file.name}.part"
    if target.exists() and _sha256(target) == expected:
        size = target.stat().st_size
        on_progress(file.name, size, size)
        return Fetched(target, 0, expected)
    read = 0
    for _ in range(2):  # the second time from the beginning: the archive may have replaced the file
        read += _download(http, url, file.name, part, politeness, on_progress)
        found = _sha256(part)
        if found == expected:
            part.replace(target)
            return Fetched(target, read, expected)
        part.unlink()
        expected = _checksum(http, f"{url}.CHECKSUM", file.name, politeness)
    msg = f"{file.name} does not match its published SHA-256: {expected} expected, {found} found"
    raise FetchFailed(msg)


def _checksum(http: httpx.Client, url: str, name: str, politeness: Politeness) -> str:
    def once() -> str:
        try:
            response = http.get(url)
        except httpx.TransportError as error:
            raise Transient(_said(error)) from error
        proved(response, f"the checksum of {name}")
        return response.text

    text = _tried(once, f"the checksum of {name}", politeness)
    sums = [line.split()[0].lower() for line in text.splitlines() if line.split()]
    if len(sums) != 1 or len(sums[0]) != 64 or not set(sums[0]) <= set("0123456789abcdef"):
        msg = f"{url} must hold one SHA-256, found {text[:80]!r}"
        raise FetchFailed(msg)
    return sums[0]


def _download(
    http: httpx.Client,
    url: str,
    name: str,
    part: Path,
    politeness: Politeness,
    on_progress: Progress,
) -> int:
    """Bring ``part`` to its full length; return how many bytes that took."""
    read = 0

    def once() -> None:
        nonlocal read
        have = part.stat().st_size if part.exists() else 0
        headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if have else {})
        try:
            with http.stream("GET", url, headers=headers) as response:
                if response.status_code == RANGE_NOT_SATISFIABLE:
                    # Nothing is left to fetch, or the part is too long: the sum decides.
                    return
                proved(response, name)
                going_on = response.status_code == PARTIAL_CONTENT
                have = have if going_on else 0
                total = have + int(response.headers.get("content-length", "0"))
                with part.open("ab" if going_on else "wb") as file:
                    # As they come: blocks of a fixed size would hold back what a break loses.
                    for block in response.iter_raw():
                        file.write(block)
                        have += len(block)
                        read += len(block)
                        on_progress(name, have, total)
                if have < total:
                    what = f"{have:,} of {total:,} bytes"
                    raise Transient(what)
        except httpx.TransportError as error:
            raise Transient(_said(error)) from error

    _tried(once, name, politeness)
    return read


def _tried(once: Callable[[], T], what: str, politeness: Politeness) -> T:
    try:
        return patiently(politeness)(once)
    except Transient as error:
        msg = f"{what} did not arrive after {politeness.attempts} tries: {error}"
        raise FetchFailed(msg) from error


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fetch_files(
    files: Sequence[ArchiveFile],
    out: Path,
    *,
    base_url: str,
    politeness: Politeness | None = None,
    on_progress: Progress = unseen,
) -> list[Fetched]:
    """Fetch files of an archive one after another; see `fetch_file`."""
    with client(politeness) as http:
        return [
            fetch_file(http, base_url, file, out, politeness=politeness, on_progress=on_progress)
            for file in files
        ]
