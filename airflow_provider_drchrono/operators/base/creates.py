"""Operators that create records, and what they do so that none is made twice."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from airflow.sdk.exceptions import AirflowFailException

from airflow_provider_drchrono.common.arguments import InvalidArgumentError, check_choice, check_names, is_template
from airflow_provider_drchrono.common.masking import unmask
from airflow_provider_drchrono.operators.base.writes import WriteOperator

if TYPE_CHECKING:
    from airflow.sdk import Context, XComArg

    from airflow_provider_drchrono.client import DrChronoClient, DrChronoError
    from airflow_provider_drchrono.operators.base.lookup import Lookup, Record
    from airflow_provider_drchrono.operators.base.validation import Body
    from airflow_provider_drchrono.state.sent_marker import SentMarker

IfExists: TypeAlias = Literal["create", "skip", "update", "fail"]
IF_EXISTS: tuple[IfExists, ...] = ("create", "skip", "update", "fail")

# Operations whose duplicates the API recognises itself, so that match_on may be left out.
GUARDED = frozenset({"patients_create"})


class CreateOperator(WriteOperator):
    """Creates one record, or with a list in ``data`` several by one call, and returns what was created.

    Nothing is created twice by a retry: a create whose answer was lost is looked for before it is sent again, by
    ``match_on``, or for patients by what DrChrono itself takes for a duplicate. Where nothing tells the record from
    others, the task fails and says so.

    :param if_exists: what to do when a record with the same ``match_on`` values is there. ``create``: another, without
        looking; ``skip``: leave and return it; ``update``: change the given fields of it and return it; ``fail``.
    :param match_on: names of the fields of ``data`` by which an existing record is recognised. For patients the default
        is first name, last name, date of birth and gender. Those that the list operation can filter by make the
        look-up one call; without any of them it reads the whole list.
    """

    template_fields: Collection[str] = ("data", "match_on", "extra_fields", "drchrono_conn_id")
    whole = True
    lists = True

    def __init__(
        self,
        *,
        data: Mapping[str, Any] | Sequence[Mapping[str, Any]] | XComArg | str,
        if_exists: IfExists = "create",
        match_on: Sequence[str] = (),
        **kwargs: Any,
    ) -> None:
        check_choice(self.operation_id, "if_exists", if_exists, IF_EXISTS)
        if not is_template(match_on):
            check_names(self.operation_id, "match_on", match_on, self.data_fields)
        if if_exists != "create" and not match_on and self.operation_id not in GUARDED:
            raise InvalidArgumentError(
                f"{self.operation_id}: if_exists={if_exists!r} needs match_on, the fields of data that tell whether a "
                "record is the same one"
            )
        super().__init__(data=data, **kwargs)
        self.if_exists = if_exists
        self.match_on = match_on

    def execute(self, context: Context) -> dict[str, Any] | list[dict[str, Any]]:
        """Look, create what is not there, and return the record, or the records in the order of ``data``."""
        from airflow_provider_drchrono.state.sent_marker import SentMarker

        with self.calling() as drchrono:
            query = self.checked_query()
            bodies = self.checked_bodies()
            many = not self._is_one()
            if many and any(body.files for body in bodies):
                raise InvalidArgumentError(
                    f"{self.operation_id}: a list of records cannot carry files; map the operator over the list with "
                    ".expand(data=...)"
                )
            lookups = self._plan_lookups(bodies, query)
            marker = SentMarker(context)
            records = self._existing(drchrono, bodies, lookups, lost=marker.is_set(), marker=marker)
            new = [index for index, record in enumerate(records) if record is None]
            if new:
                wanted = [bodies[index] for index in new]
                made = self._create(drchrono, wanted, [lookups[index] for index in new], query, many, marker)
                for index, record in zip(new, made, strict=True):
                    records[index] = record
            marker.clear()
        results = [record for record in records if record is not None]
        self.log.info("%s: created %d, found %d", self.operation_id, len(new), len(results) - len(new))
        if many:
            return results
        self.record_id = results[0].get("id")
        return results[0]

    def _is_one(self) -> bool:
        from airflow_provider_drchrono.client.values import rendered

        data = unmask(self.data)
        return isinstance(rendered(data) if isinstance(data, str) else data, Mapping)

    def _plan_lookups(self, bodies: list[Body], query: Mapping[str, Any]) -> list[Lookup | None]:
        from airflow_provider_drchrono.operators.base.lookup import plan_lookup
        from airflow_provider_drchrono.operators.base.related import related_operation

        lookups: list[Lookup | None] = [None] * len(bodies)
        # With allow_duplicates, the API's own idea of a duplicate does not count.
        if self.match_on or not query.get("allow_duplicates"):
            lookups = [plan_lookup(self.operation_id, self.match_on, body.fields) for body in bodies]
        if self.if_exists == "create":
            return lookups
        if self.if_exists == "update":
            related_operation(self.operation_id, "update")
        seen: dict[tuple[object, ...], int] = {}
        for index, (lookup, body) in enumerate(zip(lookups, bodies, strict=True)):
            if lookup is None:
                raise InvalidArgumentError(
                    f"{self.operation_id}: if_exists={self.if_exists!r} cannot look for data[{index}]: give match_on "
                    "with fields that data has and that the API lists"
                )
            if (first := seen.setdefault(lookup.key(body.fields), index)) != index:
                raise InvalidArgumentError(
                    f"{self.operation_id}: data[{first}] and data[{index}] are the same by match_on; give one of them"
                )
        return lookups

    def _existing(
        self,
        drchrono: DrChronoClient,
        bodies: list[Body],
        lookups: list[Lookup | None],
        *,
        lost: bool,
        marker: SentMarker,
    ) -> list[Record | None]:
        """Return the record that is there for each body, and None for those still to be created."""
        if self.if_exists == "create" and not lost:
            return [None] * len(bodies)
        if None in lookups:
            marker.clear()
            raise AirflowFailException(self._in_doubt("an earlier try of this task was broken off"))
        found = [
            list(islice(lookup.find(drchrono, body.fields), None if lost else 2))
            for lookup, body in zip(lookups, bodies, strict=True)
            if lookup is not None
        ]
        if lost and self.if_exists != "update":
            # An earlier try sent the create because it found none, so what is there now is what it made: the newest.
            self.log.info("%s: an earlier try sent this create; looked for what it made", self.operation_id)
            return [max(matches, key=_age) if matches else None for matches in found]
        self._refuse_existing(found)
        if self.if_exists == "update":
            return [
                self._update(drchrono, body, matches[0]) if matches else None
                for body, matches in zip(bodies, found, strict=True)
            ]
        return [matches[0] if matches else None for matches in found]

    def _refuse_existing(self, found: list[list[Record]]) -> None:
        there = [str(record.get("id")) for matches in found for record in matches]
        if self.if_exists == "fail" and there:
            raise AirflowFailException(
                f"{self.operation_id}: {_counted(there)} with the same match_on values (id {', '.join(there[:10])}), "
                "and if_exists is 'fail'. Nothing was created"
            )
        several = [matches for matches in found if len(matches) > 1]
        if self.if_exists == "update" and several:
            ids = ", ".join(str(record.get("id")) for record in several[0])
            raise AirflowFailException(
                f"{self.operation_id}: more than one record has the same match_on values (such as id {ids}), so it is "
                "not clear which one to update: add fields to match_on. Nothing was changed"
            )

    def _update(self, drchrono: DrChronoClient, body: Body, existing: Record) -> Record:
        from airflow_provider_drchrono.operators.base.related import find_related, related_operation

        path = {"id": existing.get("id", "")}
        self.send(drchrono, related_operation(self.operation_id, "update").id, body, path, {})
        reading = find_related(self.operation_id, "read")
        if reading is None:
            return existing | body.fields
        record: Record = drchrono.call(reading.id, path=path)
        return record

    def _create(
        self,
        drchrono: DrChronoClient,
        bodies: list[Body],
        lookups: list[Lookup | None],
        query: Mapping[str, Any],
        many: bool,
        marker: SentMarker,
    ) -> list[Record]:
        from airflow_provider_drchrono.client import ConflictError, DrChronoError

        marker.set()
        doubt: DrChronoError | None = None
        try:
            return self._post(drchrono, bodies, query, many)
        except ConflictError:
            marker.clear()
            return self._settle_conflict(drchrono, bodies, lookups)
        except DrChronoError as error:
            if not in_doubt(error):
                marker.clear()
                raise
            doubt = error
        raise self._lost(doubt, lookups, marker)

    def _post(self, drchrono: DrChronoClient, bodies: list[Body], query: Mapping[str, Any], many: bool) -> list[Record]:
        if not many:
            answer = self.send(drchrono, self.operation_id, bodies[0], {}, query)
            return [answer if isinstance(answer, dict) else {}]
        answers = drchrono.call(self.operation_id, query=query, body=[body.fields for body in bodies])
        return list(answers) if isinstance(answers, list) else [answers]

    def _settle_conflict(
        self, drchrono: DrChronoClient, bodies: list[Body], lookups: list[Lookup | None]
    ) -> list[Record]:
        """Deal with the API's own finding that a record is there, which our look-up may have come too early for."""
        ids = []
        settled = []
        for body, lookup in zip(bodies, lookups, strict=True):
            matches = list(islice(lookup.find(drchrono, body.fields), 2)) if lookup else []
            ids += [str(each.get("id")) for each in matches]
            settled += matches[:1]
        if self.if_exists in ("skip", "update") and len(settled) == len(bodies):
            if self.if_exists == "skip":
                return settled
            return [self._update(drchrono, body, record) for body, record in zip(bodies, settled, strict=True)]
        there = f" (id {', '.join(ids)})" if ids else ""
        raise AirflowFailException(
            f"{self.operation_id}: DrChrono takes this for a duplicate of a record that is there{there} (409). Use it "
            "with if_exists='skip' or 'update', or create another with allow_duplicates=True. Nothing was created"
        )

    def _lost(
        self,
        error: DrChronoError,
        lookups: list[Lookup | None],
        marker: SentMarker,
    ) -> DrChronoError:
        """Return the error for a create whose answer was lost: a retry may look for it, or must not be made."""
        known = [lookup for lookup in lookups if lookup is not None]
        possible = len(known) == len(lookups)
        message = self._in_doubt(str(error))
        if possible:
            names = ", ".join(known[0].names)
            message = f"{error}. A retry of this task looks for it by {names} before it creates anything"
        else:
            marker.clear()
        return type(error)(message, operation_id=error.operation_id, status=error.status, transient=possible)

    def _in_doubt(self, reason: str) -> str:
        return (
            f"{self.operation_id}: it is not known whether the create was carried out ({reason}), and nothing tells "
            "the record from others: look in DrChrono, and clear this task to create it if it is not there. With "
            "match_on, a retry looks by itself"
        )


def in_doubt(error: DrChronoError) -> bool:
    """Tell whether a create may have been carried out although it failed."""
    from airflow_provider_drchrono.client import ServerError, TlsError, TransportError, UnexpectedAnswerError

    may_be = isinstance(error, ServerError | TransportError | UnexpectedAnswerError)
    return may_be and not error.transient and not isinstance(error, TlsError)


def _age(record: Record) -> tuple[int, str]:
    """Order records by when they were made: ids are given out in ascending order, and are text in some lists."""
    identity = str(record.get("id"))
    # An occurrence of a recurring visit has its day before the number of the series.
    number = identity.rpartition("_")[2]
    return (int(number) if number.isdecimal() else -1), identity


def _counted(there: list[str]) -> str:
    return "there is a record" if len(there) == 1 else f"there are {len(there)} records"
