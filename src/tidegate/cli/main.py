"""The `tidegate` command: which commands there are, and what every one of them does on failure.

Nothing heavy is imported here, nor by asking for help: a command's module is imported when the
command runs, and brings numpy, numba and matplotlib only then.
"""

import importlib
import os
import sys
import traceback
from typing import Final

import click

from tidegate import __version__
from tidegate.domain.errors import ReplayDiverged, TidegateError


FINE, FINDING, OPERATOR, INTERRUPTED = 0, 1, 2, 130

# name: (module, attribute, what the list of commands says)
COMMANDS: Final[dict[str, tuple[str, str, str]]] = {
    "demo": ("demo", "demo", "Replay a synthetic crash three ways and write the report."),
    "replay": ("replay", "replay", "Replay a recording under one stack or several; judge them."),
    "stress": ("stress", "stress", "Find what breaks a book, in worlds that have not happened."),
    "serve": ("serve", "serve", "Run the engine beside a venue: API, streams, dashboard."),
    "explain": ("explain", "explain", "Say why an account was touched, back to the observation."),
    "tune": ("tune", "tune", "Search better numbers for a stack; propose them."),
    "stack": ("stack", "stack", "Check stack files and read them back in plain language."),
    "data": ("data", "data", "Make, fetch, convert and check recordings."),
    "bench": ("bench", "bench", "Measure what things cost here, beside other libraries."),
    "conformance": (
        "conformance",
        "conformance",
        "Hold our rules against the field's own numbers.",
    ),
    "incident": ("incident", "incident", "Re-enact what went wrong elsewhere; hold it to figures."),
    "journal": (
        "journal",
        "journal",
        "Verify, check, back up, restore and export a journal.",
    ),
    "govern": ("govern", "govern", "Sign changes of parameters; audit who signed for what."),
    "keys": ("keys", "keys", "Make, list, rotate and revoke the API keys of a service."),
}


class LazyGroup(click.Group):
    """A group whose commands are imported when they are asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in the order in which a newcomer meets them."""
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import one command; None for a name that is not known."""
        del ctx
        if cmd_name not in COMMANDS:
            return None
        module, attribute, _ = COMMANDS[cmd_name]
        found = getattr(importlib.import_module(f"tidegate.cli.{module}"), attribute)
        assert isinstance(found, click.Command), f"tidegate.cli.{module} has no command"
        return found

    def invoke(self, ctx: click.Context) -> object:
        """Run the command; a reader of stdout that has gone (`| head`) ends it, and is no error."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            # What is still in the buffer must go nowhere, or the interpreter complains at its end.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return FINE

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without importing any of them."""
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry[2]) for name, entry in COMMANDS.items()])


@click.group(
    name="tidegate",
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Exit codes: 0 fine, 1 a finding (diverged, invariant broken), 2 something to fix.",
)
@click.version_option(__version__, message="tidegate %(version)s")
def app() -> None:
    """Keep one trader's liquidation from becoming everyone's.

    Start with `tidegate demo`.
    """


def main() -> None:
    """Run the command line; every failure becomes words on stderr and an exit code."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Run one command and return its exit code."""
    if not __debug__:
        # The invariants are assertions and part of the product: without them nothing is promised.
        click.echo("error: tidegate does not run under python -O\nhint: leave -O out", err=True)
        return OPERATOR
    try:
        done = app.main(arguments, prog_name="tidegate", standalone_mode=False)
    except click.UsageError as e:
        if e.ctx is not None:
            click.echo(e.ctx.get_usage(), err=True)
        click.echo(f"error: {e.format_message()}", err=True)
        if e.ctx is not None:
            click.echo(f"hint: {e.ctx.command_path} --help says more", err=True)
        return OPERATOR
    except click.ClickException as e:
        click.echo(f"error: {e.format_message()}", err=True)
        return OPERATOR
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted", err=True)
        return INTERRUPTED
    except ReplayDiverged as e:
        click.echo(f"error: {e}", err=True)
        return FINDING
    except TidegateError as e:
        click.echo(f"error: {e}", err=True)
        return OPERATOR
    except AssertionError as e:
        traceback.print_exc()
        click.echo(f"error: a belief about the code was wrong: {e or 'see above'}", err=True)
        click.echo("hint: this is a bug; the lines above say where", err=True)
        return FINDING
    return done if isinstance(done, int) else FINE
