"""The dashboard's files, served from the package with a policy that lets nothing else in.

What the browser runs is what was built: no inline script, nothing from another host, no frame
around it. Files whose name holds the digest of their content are kept for a year; the page itself
is asked for anew every time and answered with 304 while it is the same.
"""

import hashlib
from collections.abc import Mapping
from importlib import resources
from importlib.resources.abc import Traversable
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tidegate.service.headers import PAGE_POLICY


KINDS: Final = {
    "css": "text/css; charset=utf-8",
    "html": "text/html; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}
# The layer around the service says these too; a file says them wherever it is served from.
SAFE: Final = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
FOREVER: Final = "public, max-age=31536000, immutable"
ASK_ANEW: Final = "no-cache"


class Asset:
    """One built file, read once."""

    def __init__(self, name: str, content: bytes) -> None:
        self.name = name
        self.content = content
        self.etag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
        hashed = name.startswith("assets/")
        self.headers = {
            "Content-Security-Policy": PAGE_POLICY,
            **SAFE,
            "ETag": self.etag,
            "Cache-Control": FOREVER if hashed else ASK_ANEW,
            "Content-Type": KINDS[name.rpartition(".")[2]],
        }

    def answer(self, request: Request) -> Response:
        """Return the file, or 304 to a browser that has it."""
        held = {tag.strip().removeprefix("W/") for tag in _header(request).split(",")}
        if self.etag in held or "*" in held:
            kept = {k: v for k, v in self.headers.items() if k != "Content-Type"}
            return Response(status_code=304, headers=kept)
        return Response(self.content, headers=self.headers)


def _header(request: Request) -> str:
    return request.headers.get("if-none-match", "")


def assets(folder: Traversable | None = None) -> Mapping[str, Asset]:
    """Return every built file by its path below the dashboard's folder."""
    root = folder or resources.files("tidegate.service").joinpath("dashboard")
    found: dict[str, Asset] = {}
    waiting = [("", root)]
    while waiting:
        prefix, here = waiting.pop()
        for entry in sorted(here.iterdir(), key=lambda e: e.name):
            name = f"{prefix}{entry.name}"
            if entry.is_dir():
                waiting.append((f"{name}/", entry))
            elif name.rpartition(".")[2] in KINDS:
                found[name] = Asset(name, entry.read_bytes())
    return found


def open_paths() -> frozenset[str]:
    """Return the paths that need no key: the files hold no data, what they ask for does."""
    return frozenset(route.path for route in routes())


def routes() -> list[Route]:
    """Return one route a file, and the page itself at `/`."""
    found = assets()

    def route(path: str, asset: Asset) -> Route:
        async def answer(request: Request) -> Response:
            return asset.answer(request)

        return Route(path, answer, methods=["GET"], name=f"dashboard {asset.name}")

    served = [route(f"/{name}", asset) for name, asset in found.items() if name != "index.html"]
    page = found["index.html"]
    icon = found["favicon.svg"]
    # Browsers ask for this name by themselves, whatever the page says.
    return [route("/", page), route("/index.html", page), route("/favicon.ico", icon), *served]
