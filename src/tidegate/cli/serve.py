"""`tidegate serve`: the engine beside a running venue, durable, observable, safe to operate."""

import os
from pathlib import Path

import click

from tidegate.cli.say import identity


_FILE = click.Path(path_type=Path, exists=True, dir_okay=False)
_FOLDER = click.Path(path_type=Path, file_okay=False)


@click.command(context_settings={"auto_envvar_prefix": "TIDEGATE"})
@click.argument("venue", type=click.Path(path_type=Path, exists=True), required=False)
@click.option("--stack", default="guarded", show_default=True, metavar="FILE", help="The stack.")
@click.option(
    "--journal",
    default="out/serve/journal.db",
    show_default=True,
    metavar="ADDRESS",
    help="A file, sqlite:///PATH, postgresql://HOST/DATABASE, or memory: for none.",
)
@click.option(
    "--state",
    type=_FOLDER,
    default=Path("out/serve"),
    show_default=True,
    help="Folder of the audit log and of what is kept beside the journal.",
)
@click.option("--keys", type=_FILE, help="API keys, as `tidegate keys add` makes them.")
@click.option("--governors", type=_FILE, help="Who governs, and by what majority.")
@click.option("--settings", type=_FILE, help="Queue, limits, pre-trade check: a TOML file.")
@click.option("--listen", default="127.0.0.1:8700", show_default=True, metavar="HOST:PORT")
@click.option("--nats", default="", metavar="URL", help="Take events from JetStream as well.")
@click.option("--nats-stream", default="tidegate", show_default=True, metavar="NAME")
@click.option("--tail", type=_FOLDER, help="Take events from a folder of growing Parquet files.")
@click.option("--recordings", type=_FOLDER, help="Folder whose recordings the desk may replay.")
@click.option("--standby", is_flag=True, help="Wait until nobody leads the journal, then lead.")
@click.option(
    "--armed/--advise",
    default=False,
    help="Let orders leave from the first record on; advising only is the default. The journal "
    "knows better once operators have changed it.",
)
@click.option("--demo", is_flag=True, help="Play a bundled crash through the API, to be watched.")
@click.option("--speed", type=click.FloatRange(0.1, 1000), default=5.0, show_default=True)
@click.option("--log-level", default="INFO", show_default=True)
def serve(
    venue: Path | None,
    stack: str,
    journal: str,
    state: Path,
    keys: Path | None,
    governors: Path | None,
    settings: Path | None,
    listen: str,
    nats: str,
    nats_stream: str,
    tail: Path | None,
    recordings: Path | None,
    *,
    standby: bool,
    armed: bool,
    demo: bool,
    speed: float,
    log_level: str,
) -> int:
    """Run the engine beside VENUE (a venue file, or a recording whose venue is taken).

    The dashboard lies at the address it listens on, the API below /v1, its document at
    /openapi.json. Every option may stand in the environment as TIDEGATE_NAME. Ends with 0 when it
    was told to, with 2 when it had to, and with 75 when another process leads now: then it is
    started again, from its journal.
    """
    from tidegate.service.logs import configure  # noqa: PLC0415 - structlog
    from tidegate.service.serving import Wanted, run  # noqa: PLC0415 - numba, starlette
    from tidegate.service.settings import Places, Tuning  # noqa: PLC0415 - numba
    from tidegate.service.tracing import tracing_of  # noqa: PLC0415 - ditto

    host, port = _address(listen)
    if demo:
        return _demo(host, port, state, speed, stack, log_level)
    if venue is None:
        message = "name the venue's file, or use --demo"
        raise click.BadParameter(message, param_hint="VENUE")
    if keys is None:
        message = "without keys nobody could come in; make one: tidegate keys add me --role viewer"
        raise click.BadParameter(message, param_hint="--keys")
    from tidegate.cli.stacks import bind_stack, load_venue_file  # noqa: PLC0415 - numba

    bound = bind_stack(stack, load_venue_file(venue))
    identity(venue=bound.venue.name, stack=f"{bound.name} {bound.digest}")
    configure(level=log_level)
    places = Places(
        journal=journal,
        state=state,
        keys=keys,
        governors=governors,
        recordings=recordings,
        tail=tail,
        nats=nats,
        nats_stream=nats_stream,
    )
    tuning = Tuning.load(settings) if settings is not None else Tuning()
    wanted = Wanted(
        stack=bound,
        places=places,
        tuning=tuning,
        host=host,
        port=port,
        mode="armed" if armed else "advising",
        standby=standby,
        tracing=tracing_of(os.environ),
    )
    return run(wanted)


def _address(listen: str) -> tuple[str, int]:
    host, _, port = listen.rpartition(":")
    if not host or not port.isdigit() or not 0 < int(port) < 65_536:
        message = "must be HOST:PORT"
        raise click.BadParameter(message, param_hint="--listen")
    return host.strip("[]"), int(port)


def _demo(host: str, port: int, state: Path, speed: float, stack: str, log_level: str) -> int:
    from tidegate.service.demo import demonstrate  # noqa: PLC0415 - numba

    return demonstrate(host, port, state / "demo", speed=speed, stack=stack, log_level=log_level)
