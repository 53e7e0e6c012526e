"""Starts the sandbox in the foreground and prints a connection to it that can be pasted into Airflow."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence

from airflow_provider_drchrono.sandbox.sandbox_options import FEATURES, Options
from airflow_provider_drchrono.sandbox.server import Sandbox

DEFAULT_PORT = 8765


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    given = _parser().parse_args(arguments)
    try:
        sandbox = Sandbox(options_from(given), host=given.host, port=given.port)
        sandbox.serve_forever(announce)
    except KeyboardInterrupt:
        return 0
    except (OSError, ValueError) as problem:
        print(f"error: {problem}", file=sys.stderr)
        return 2
    return 0


def announce(sandbox: Sandbox) -> None:
    """Print where the sandbox is and how to connect to it."""
    counts = ", ".join(
        f"{sandbox.practice.count(name):,} {name}" for name in ("patients", "appointments", "line_items", "tasks")
    )
    connection = sandbox.connection_json()
    print(f"DrChrono sandbox at {sandbox.url} with {counts}")
    print(f"Connection (JSON): {connection}")
    print(f"Connection (URI):  {sandbox.connection_uri()}")
    print(f"export AIRFLOW_CONN_DRCHRONO_DEFAULT={shlex.quote(connection)}")
    print("Stop with Ctrl-C.", flush=True)


def options_from(given: argparse.Namespace) -> Options:
    """Return the options that the command line asks for."""
    named = {
        name: value
        for name, value in vars(given).items()
        if name in Options.__dataclass_fields__ and value is not None and name != "records"
    }
    for name in ("quota_per_hour", "quota_per_second"):
        if named.get(name) == "off":
            named[name] = None
    for name in ("features", "refuse_unfiltered"):
        if name in named:
            named[name] = tuple(named[name])
    return Options(**named, records=dict(given.records), clocks=dict(given.clock))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m airflow_provider_drchrono.sandbox",
        description="A stand-in for the DrChrono API on this machine, with a synthetic practice behind it.",
    )
    add = parser.add_argument
    add("--host", default="127.0.0.1", help="loopback address to listen on (default: %(default)s)")
    add("--port", type=int, default=DEFAULT_PORT, help="0 takes any free port (default: %(default)s)")
    add("--patients", type=int, help=f"patients of the practice (default: {Options.patients})")
    add("--appointments-per-patient", type=int, help=f"(default: {Options.appointments_per_patient})")
    add("--tidy", action="store_true", default=None, help="a spotless practice, in place of one as practices are")
    add("--seed", type=int, help=f"equal seeds give equal data (default: {Options.seed})")
    add("--practice-group", type=int, help=f"another number is another practice (default: {Options.practice_group})")
    add("--records", type=_records, action="append", default=[], metavar="RESOURCE=N", help="size of one resource")
    add("--timezone", help=f"the practice's zone (default: {Options.timezone})")
    add("--quota-per-hour", type=_limit, metavar="N|off", help=f"(default: {Options.quota_per_hour})")
    add("--quota-per-second", type=_limit, metavar="N|off", help=f"(default: {Options.quota_per_second})")
    add("--retry-after", action="store_true", default=None, help="send Retry-After with 429")
    add("--links", choices=("sister", "own"), help="host of links (default: sister; with --tidy own)")
    add("--file-lifetime", type=int, metavar="SECONDS", help="how long links to files are good; 0 for ever")
    add("--features", nargs="*", choices=FEATURES, help=f"(default: {' '.join(Options.features)})")
    add("--refuse-unfiltered", nargs="*", metavar="RESOURCE", help="lists that need one of their filters")
    add("--clock", type=_clock, action="append", default=[], metavar="RESOURCE=ZONE", help="change times in a zone")
    add("--envelope", choices=("contract", "data", "results"), help="key of the records of a page")
    add("--order", choices=("id", "updated_at", "-updated_at"), help="order of lists")
    add("--timestamps", choices=("T", "space", "micro", "mixed"), help="spelling of timestamps")
    add("--missing-scope", choices=("forbidden", "empty"), help="answer to a call that the grant does not cover")
    add("--reuse", choices=("end_grant", "refuse", "allow"), help="what a used refresh token does")
    add("--bulk-polls", type=int, help="times a bulk result is asked for before it is there")
    add("--bulk-seconds", type=float, help="seconds that a bulk list takes")
    add("--write-lag", type=float, help="seconds until lists show a write, at most")
    for name in ("client-id", "client-secret", "refresh-token"):
        add(f"--{name}", help="generated when left out")
    return parser


def _limit(text: str) -> int | str:
    return text if text == "off" else int(text)


def _records(text: str) -> tuple[str, int]:
    name, equals, number = text.partition("=")
    if not equals or not number.isdigit():
        raise argparse.ArgumentTypeError(f"{text!r} is not RESOURCE=N, for example task_notes=1000000")
    return name, int(number)


def _clock(text: str) -> tuple[str, str]:
    name, equals, zone = text.partition("=")
    if not equals or not zone:
        raise argparse.ArgumentTypeError(f"{text!r} is not RESOURCE=ZONE, for example line_items=America/Los_Angeles")
    return name, zone


if __name__ == "__main__":
    sys.exit(main())
