"""The commands of ``airflow drchrono``, named in the provider info.

Every start of ``airflow`` imports this module, so it imports nothing but Airflow's own command definitions; what a
command does is imported when it runs.
"""

from __future__ import annotations

from typing import Any

from airflow.cli.cli_config import ActionCommand, Arg, CLICommand, GroupCommand, lazy_load_command


def _option(*flags: str, **settings: Any) -> Arg:
    return Arg(flags, **settings)  # type: ignore[no-untyped-call]


OUTPUT = _option(
    "-o",
    "--output",
    help="Output format (default: table)",
    choices=("table", "json", "plain"),
    default="table",
)
CATEGORY = _option("--category", help="Show only this category, or all with this in their name", metavar="NAME")
SEARCH = _option("--search", help="Show only rows in which all of these words occur", metavar="WORDS")
CONN_ID = _option("conn_id", help="The Airflow connection", metavar="CONN_ID")
ANY_CONN_ID = _option(
    "conn_id", help="The Airflow connection; all in Airflow's database if left out", metavar="CONN_ID", nargs="?"
)
NAME = _option(
    "name", help="An operation, its operator, the title of an action, or a resource", metavar="NAME", nargs="+"
)
SOURCE = _option("source", help="A file, or an http(s) address, of OpenAPI 2 or 3 in JSON", metavar="FILE_OR_URL")
QUOTA_ACTION = _option(
    "action", help="What to do: show, which may be left out, or reset", metavar="show|reset", nargs="?"
)
DEFAULT_CONN_ID = _option(
    "conn_id",
    help="The Airflow connection (default: %(default)s)",
    metavar="CONN_ID",
    nargs="?",
    default="drchrono_default",
)
QUOTA_CONN_ID = _option(
    "conn_id", help="The Airflow connection (default: drchrono_default)", metavar="CONN_ID", nargs="?"
)
PORT = _option("--port", help="Port of the redirect URI http://localhost:PORT/", type=int, default=8000)
REDIRECT_URI = _option("--redirect-uri", help="Another redirect URI; its answer is pasted if it leads elsewhere")
NO_BROWSER = _option("--no-browser", help="Only print the address", action="store_true")
TIMEOUT = _option("--timeout", help="Seconds to wait for an answer", type=float, default=600.0)
YES = _option("-y", "--yes", help="Do not ask", action="store_true")
PROBE = _option(
    "--probe", help="Try the permissions inside DrChrono too, with one call for each group of them", action="store_true"
)
ALL = _option("--all", help="Show what works, too", action="store_true")
CURSOR_ACTION = _option("action", help="What to do", choices=("show", "set", "reset"))
DAG_ID = _option("dag_id", help="The DAG; all if left out of show", metavar="DAG_ID", nargs="?")
TASK_ID = _option(
    "task_id",
    help="The sensor, or the task that reads an asset; all of the DAG if left out of show",
    metavar="TASK_ID",
    nargs="?",
)
MAP_INDEX = _option("--map-index", help="The instance of a mapped task", type=int, default=-1)
ASSET = _option("--asset", help="In place of a DAG: the asset, by its name", metavar="NAME")
REPORT = _option(
    "-o",
    "--output",
    help="Format of the report (default: markdown)",
    choices=("markdown", "json"),
    default="markdown",
)
SAVE = _option("--save", help="Write the report into this folder, too, in both formats", metavar="FOLDER")
STATE = _option("--state", help="File that keeps what was found, to go on after an interruption", metavar="FILE")
FRESH = _option("--fresh", help="Ask everything again", action="store_true")
TO = _option("--to", help="With set: the time to continue from, in ISO 8601", metavar="TIME")
LIST = _option("resource", help="The list, such as patients", metavar="RESOURCE")
VERBOSE_FIELDS = _option("--verbose", help="With the fields that come only with verbose=true", action="store_true")
SAMPLE_CONN_ID = _option(
    "--conn-id", help="Write times in the time zone of this Airflow connection; none is needed", metavar="CONN_ID"
)
COUNT = _option("--count", help="How many records (default: %(default)s)", type=int, default=3, metavar="N")
FORMAT = _option("--format", help="Output format (default: json)", choices=("json", "ndjson", "table"), default="json")
RESOURCES = _option("--resources", help="What to sync (default: all lists)", metavar="RESOURCE", nargs="+")
HOURLY_SHARE = _option(
    "--hourly-share", help="Part of the hour's calls that syncs may use (default: %(default)s)", type=float, default=0.8
)
ROWS = _option("--rows", help="How many rows a list has; may be repeated", metavar="RESOURCE=N", action="append")
WAREHOUSE_CONN_ID = _option("--warehouse-conn-id", help="Count the rows of this warehouse's tables", metavar="CONN_ID")
LIKE = _option("--like", help="Reckon with the rows of a practice of this size", choices=("small", "medium", "large"))
NO_CALLS = _option("--no-calls", help="Do not ask the API how many rows its lists have", action="store_true")


def get_drchrono_cli_commands() -> list[CLICommand]:
    """Return the group ``drchrono`` with its commands."""
    return [
        GroupCommand(
            name="drchrono",
            help="Authorize DrChrono connections, and find operators and triggers",
            subcommands=(
                ActionCommand(
                    name="operations",
                    help="List the operations of the DrChrono API and the operator of each",
                    func=lazy_load_command("airflow_provider_drchrono.cli.index.show_operations"),
                    args=(OUTPUT, CATEGORY, SEARCH),
                ),
                ActionCommand(
                    name="triggers",
                    help='List the "new or updated" triggers and the sensor of each',
                    func=lazy_load_command("airflow_provider_drchrono.cli.index.show_triggers"),
                    args=(OUTPUT, CATEGORY, SEARCH),
                ),
                ActionCommand(
                    name="quota",
                    help="Show how many calls of the hour are used, by whom, and how many are left; or forget it",
                    func=lazy_load_command("airflow_provider_drchrono.cli.quota.quota"),
                    args=(QUOTA_ACTION, QUOTA_CONN_ID, OUTPUT),
                ),
                ActionCommand(
                    name="plan",
                    help="Show how many calls and hours syncs of a practice take",
                    func=lazy_load_command("airflow_provider_drchrono.cli.plan.plan"),
                    args=(
                        DEFAULT_CONN_ID,
                        RESOURCES,
                        HOURLY_SHARE,
                        ROWS,
                        WAREHOUSE_CONN_ID,
                        LIKE,
                        NO_CALLS,
                        OUTPUT,
                    ),
                ),
                ActionCommand(
                    name="cursor",
                    help="Show how far sensors and assets have come, set one to a time, or reset it",
                    func=lazy_load_command("airflow_provider_drchrono.cli.cursor.cursor"),
                    args=(CURSOR_ACTION, DAG_ID, TASK_ID, MAP_INDEX, ASSET, TO, OUTPUT),
                ),
                ActionCommand(
                    name="describe",
                    help="Show what an operation or a resource takes, gives and insists on",
                    func=lazy_load_command("airflow_provider_drchrono.cli.describe.describe"),
                    args=(NAME, OUTPUT),
                ),
                ActionCommand(
                    name="sample",
                    help="Print synthetic records of a list, as the sandbox answers them; makes no call",
                    func=lazy_load_command("airflow_provider_drchrono.cli.sample.sample"),
                    args=(LIST, SAMPLE_CONN_ID, COUNT, VERBOSE_FIELDS, FORMAT),
                ),
                ActionCommand(
                    name="drift",
                    help="Show how an OpenAPI document of the vendor differs from the catalogue; exits 1 if it does",
                    func=lazy_load_command("airflow_provider_drchrono.cli.drift.drift"),
                    args=(SOURCE, OUTPUT),
                ),
                *_grant_commands(),
            ),
        )
    ]


def _grant_commands() -> tuple[ActionCommand, ...]:
    package = "airflow_provider_drchrono.cli"
    return (
        ActionCommand(
            name="authorize",
            help="Let a person allow the application in a browser, and keep the tokens",
            func=lazy_load_command(f"{package}.authorize.authorize"),
            args=(CONN_ID, PORT, REDIRECT_URI, NO_BROWSER, TIMEOUT),
        ),
        ActionCommand(
            name="status",
            help="Show the state of the authorization of connections",
            func=lazy_load_command(f"{package}.authorize.status"),
            args=(ANY_CONN_ID, OUTPUT),
        ),
        ActionCommand(
            name="revoke",
            help="End the authorization of a connection and forget its tokens",
            func=lazy_load_command(f"{package}.authorize.revoke"),
            args=(CONN_ID, YES),
        ),
        ActionCommand(
            name="doctor",
            help="Show what a connection's grant can do, and what the rest needs",
            func=lazy_load_command(f"{package}.doctor.doctor"),
            args=(CONN_ID, OUTPUT, PROBE, ALL),
        ),
        ActionCommand(
            name="conformance",
            help="Ask DrChrono whether what the provider infers about it holds, and print a report without records",
            description=(
                "Asks DrChrono whether what the provider infers about it holds: page sizes, clocks, filters, spellings "
                "and more. Makes fewer than 60 calls, which only read; bulk lists are started by POST, which creates "
                "no record. The report holds no value of any record, so that it can be posted, and ends with the facts "
                "to hand to the connection. A run that is interrupted goes on where it was."
            ),
            func=lazy_load_command(f"{package}.conformance.conformance"),
            args=(CONN_ID, REPORT, SAVE, STATE, FRESH),
        ),
    )
