"""Operators that create records, and what they do so that none is made twice."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from airflow.sdk.exceptions import AirflowFailException

from airflow_provider_drchrono.catalog import load
from airflow_provider_drchrono.common.arguments import InvalidArgumentError, check_choice, check_names, is_template
from airflow_provider_drchrono.operators.base.body_names import body_names
from airflow_provider_drchrono.operators.base.writes import WriteOperator

if TYPE_CHECKING:
    from airflow.sdk import Context, XComArg

    from airflow_provider_drchrono.catalog import Resource
    from airflow_provider_drchrono.client import ConflictError, DrChronoClient, DrChronoError
    from airflow_provider_drchrono.operators.base.lookup import Lookup, Record
    from airflow_provider_drchrono.operators.base.validation import Body
    from airflow_provider_drchrono.state.sent_marker import SentCreate, SentMarker

IfExists: TypeAlias = Literal["create", "skip", "update", "fail"]
IF_EXISTS: tuple[IfExists, ...] = ("create", "skip", "update", "fail")


class CreateOperator(WriteOperator):
    """Creates one record, or with a list in ``data`` several by one call, and returns what was created.

    Nothing is created twice by a retry, and no record of somebody else is returned as the one that was created. With
    ``match_on``, or for patients with the fields by which DrChrono itself finds duplicates, the task notes which
    records with the same values are there before it sends the create. If the answer is lost, a retry takes for its own
    only a record that was not there before and has the values that were sent. Where several could be meant, or nothing
    tells the record from others, the task fails and names what to look at.

    The look-up costs calls: one for each page of the list, as far as the fields of ``match_on`` do not narrow it. The
    records of a list in ``data`` that have the same filters share one reading, while each task of a mapped operator
    reads for itself. Without ``match_on``, and for patients with ``allow_duplicates``, nothing is read; a lost answer
    then needs a person.

    :param if_exists: what to do when a record with the same ``match_on`` values is there. ``create``: another one;
        ``skip``: leave and return it; ``update``: change the given fields of it and return it; ``fail``.
    :param match_on: names of the fields of ``data`` by which an existing record is recognised. For patients the default
        is first name, last name, date of birth and gender. Those that the list operation can filter by make the
        look-up one call; without any of them it reads the whole list.
    """

    template_fields: Collection[str] = ("data", "match_on", "extra_fields", "drchrono_conn_id")
    lists = True

    def __init__(
        self,
        *,
        data: Mapping[str, Any] | Sequence[Mapping[str, Any]] | XComArg | str | None,
        if_exists: IfExists = "create",
        match_on: Sequence[str] = (),
        **kwargs: Any,
    ) -> None:
        check_choice(self.operation_id, "if_exists", if_exists, IF_EXISTS)
        if not is_template(match_on):
            check_names(self.operation_id, "match_on", match_on, body_names(self.operation_id).fields)
        if if_exists != "create" and not match_on and not load().operation(self.operation_id).duplicate_fields:
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
            lost = marker.read()
            records, sent = self._existing(drchrono, bodies, lookups, lost, marker)
            new = [index for index, record in enumerate(records) if record is None]
            if new:
                marker.set(sent)
                wanted = [bodies[index] for index in new]
                made = self._create(drchrono, wanted, [lookups[index] for index in new], query, many, lost, marker)
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

        data = self.data
        return data is None or isinstance(rendered(data) if isinstance(data, str) else data, Mapping)

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
        lost: SentCreate | None,
        marker: SentMarker,
    ) -> tuple[list[Record | None], SentCreate]:
        """Return the record that is there for each body, or None if it is to be created, and what to remember.

        :param lost: what an earlier try knew before it sent a create whose answer it did not see.
        """
        from airflow_provider_drchrono.client import PermissionDeniedError
        from airflow_provider_drchrono.operators.base.lookup import find_matches, reading_cost
        from airflow_provider_drchrono.operators.base.own_records import fingerprint_of, identity_of
        from airflow_provider_drchrono.state.sent_marker import SentCreate

        known = [lookup for lookup in lookups if lookup is not None]
        if len(known) < len(bodies):
            if lost is not None:
                marker.clear()
                raise AirflowFailException(self._in_doubt("an earlier try of this task was broken off"))
            return [None] * len(bodies), SentCreate()
        fields = [body.fields for body in bodies]
        fingerprint = fingerprint_of(self.hook.settings.client_secret.get_secret_value(), known, fields)
        if lost is not None and lost.fingerprint and lost.fingerprint != fingerprint:
            marker.clear()
            raise AirflowFailException(
                self._in_doubt("an earlier try of this task was broken off, and sent other values of match_on")
            )
        self.log.log(*reading_cost(self.operation_id, known, fields))
        every = lost is not None or self.if_exists == "create"
        try:
            found = find_matches(drchrono, known, fields, limit=None if every else 2)
        except PermissionDeniedError:
            if self.if_exists != "create":
                raise
            if lost is not None:
                marker.clear()
                raise AirflowFailException(
                    self._in_doubt("an earlier try of this task was broken off, and this user may not read the list")
                ) from None
            self.log.warning(
                "%s: this user may not read the list, so a create whose answer is lost cannot be looked for",
                self.operation_id,
            )
            return [None] * len(bodies), SentCreate()
        if lost is not None:
            return self._after_loss(drchrono, bodies, known, found, lost, marker), lost
        resource = self._resource()
        ids = [identity_of(resource, record) for matches in found for record in matches]
        # A record that nothing tells from others cannot be remembered.
        existing = None if None in ids else {each for each in ids if each is not None}
        sent = SentCreate(fingerprint=fingerprint)
        if existing is not None:
            sent = SentCreate.of(existing, drchrono.server_time, fingerprint)
        if self.if_exists == "create":
            return [None] * len(bodies), sent
        return self._settle(drchrono, bodies, found), sent

    def _settle(self, drchrono: DrChronoClient, bodies: list[Body], found: list[list[Record]]) -> list[Record | None]:
        """Do with the records that are there what ``if_exists`` says."""
        self._refuse_existing(found)
        if self.if_exists == "update":
            return [
                self._update(drchrono, body, matches[0]) if matches else None
                for body, matches in zip(bodies, found, strict=True)
            ]
        return [matches[0] if matches else None for matches in found]

    def _after_loss(
        self,
        drchrono: DrChronoClient,
        bodies: list[Body],
        lookups: list[Lookup],
        found: list[list[Record]],
        lost: SentCreate,
        marker: SentMarker,
    ) -> list[Record | None]:
        """Return what an earlier try created, or what ``skip`` and ``update`` take whoever created it."""
        self.log.info("%s: an earlier try sent this create; looked for what it made", self.operation_id)
        if self.if_exists == "create" or self.if_exists == "fail":
            return self._own(bodies, lookups, found, lost, marker)
        try:
            return self._settle(drchrono, bodies, found)
        except AirflowFailException:
            marker.clear()
            raise

    def _own(
        self,
        bodies: list[Body],
        lookups: list[Lookup],
        found: list[list[Record]],
        lost: SentCreate,
        marker: SentMarker,
    ) -> list[Record | None]:
        from airflow_provider_drchrono.operators.base.own_records import InDoubtError, OwnRecords

        own = OwnRecords(self._resource(), lost, self.zone)
        try:
            return own.pick(lookups, [body.fields for body in bodies], found)
        except InDoubtError as error:
            ids = error.ids
        marker.clear()
        raise AirflowFailException(
            f"{self.operation_id}: an earlier try of this task sent the create, and it is not known whether it was "
            f"carried out: {_counted(ids)} with the same match_on values that may be its own or somebody else's (id "
            f"{', '.join(ids[:10])}). Look at {'it' if len(ids) == 1 else 'them'} in DrChrono, and clear this task to "
            "create another if none is its own"
        )

    def _resource(self) -> Resource:
        from airflow_provider_drchrono.catalog import load

        return load().resource(load().operation(self.operation_id).resource)

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
        lost: SentCreate | None,
        marker: SentMarker,
    ) -> list[Record]:
        from airflow_provider_drchrono.client import ConflictError, DrChronoError, RateLimitedError

        doubt: DrChronoError | None = None
        try:
            return self._post(drchrono, bodies, query, many)
        except ConflictError as error:
            conflict = error
        except DrChronoError as error:
            if not in_doubt(error):
                # The create of an earlier try may still be carried out, so its marker stays for the next one.
                if lost is None or not (error.transient or isinstance(error, RateLimitedError)):
                    marker.clear()
                raise
            doubt = error
        if doubt is not None:
            raise self._lost(doubt, lookups, marker)
        return self._settle_conflict(drchrono, bodies, lookups, conflict, lost, marker)

    def _post(self, drchrono: DrChronoClient, bodies: list[Body], query: Mapping[str, Any], many: bool) -> list[Record]:
        from airflow_provider_drchrono.operators.base.create_answers import created_records

        if many:
            answer = drchrono.call(self.operation_id, query=query, body=[body.fields for body in bodies])
        else:
            answer = self.send(drchrono, self.operation_id, bodies[0], {}, query)
        return created_records(self.operation_id, answer, len(bodies))

    def _settle_conflict(
        self,
        drchrono: DrChronoClient,
        bodies: list[Body],
        lookups: list[Lookup | None],
        conflict: ConflictError,
        lost: SentCreate | None,
        marker: SentMarker,
    ) -> list[Record]:
        """Deal with the API's own finding that a record is there, which our look-up may have come too early for."""
        from airflow_provider_drchrono.catalog import load
        from airflow_provider_drchrono.client import PermissionDeniedError
        from airflow_provider_drchrono.client.responses import conflict_remedy
        from airflow_provider_drchrono.operators.base.lookup import find_matches

        if lost is None:
            # What is found from here on was not made by this task, also when the look-up fails.
            marker.clear()
        known = [lookup for lookup in lookups if lookup is not None]
        found: list[list[Record]] = []
        if len(known) == len(bodies):
            # The error still names the conflict to a user who may not read the list.
            with suppress(PermissionDeniedError):
                found = find_matches(drchrono, known, [body.fields for body in bodies], limit=None if lost else 2)
        if found:
            if self.if_exists in ("skip", "update") and all(found):
                if self.if_exists == "skip":
                    return [matches[0] for matches in found]
                return [self._update(drchrono, body, matches[0]) for body, matches in zip(bodies, found, strict=True)]
            if lost is not None and self.if_exists in ("create", "fail"):
                own = [each for each in self._own(bodies, known, found, lost, marker) if each is not None]
                if len(own) == len(bodies):
                    return own
        marker.clear()
        operation = load().operation(self.operation_id)
        ids = [str(record.get("id")) for matches in found for record in matches]
        there = f" (id {', '.join(ids[:10])})" if ids else ""
        raise AirflowFailException(
            f"{self.operation_id}: {conflict_remedy(operation, f'{there} (409)', matching=True)}. Nothing was created"
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
            "match_on that stays the same, a retry looks by itself"
        )


def in_doubt(error: DrChronoError) -> bool:
    """Tell whether a create may have been carried out although it failed."""
    from airflow_provider_drchrono.client import ServerError, TlsError, TransportError, UnexpectedAnswerError

    may_be = isinstance(error, ServerError | TransportError | UnexpectedAnswerError)
    return may_be and not error.transient and not isinstance(error, TlsError)


def _counted(there: Sequence[str]) -> str:
    return "there is a record" if len(there) == 1 else f"there are {len(there)} records"
