"""The operations that are no plain read or write of one record, each in a few lines."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from airflow_provider_drchrono.sandbox.operations import Call, body_fields, changed, checked, found
from airflow_provider_drchrono.sandbox.validation import REQUIRED
from airflow_provider_drchrono.sandbox.wire import Response, answer, bad_fields, detail, empty, whole


def apply_consent_form(call: Call) -> Response:
    """Attach a consent form to a visit."""
    form, visit = found(call), _visit(call)
    applied = set(visit.get("_consent_forms", ())) | {form["id"]}
    call.practice.change("appointments", visit["id"], {"_consent_forms": tuple(sorted(applied))})
    return empty()


def unapply_consent_form(call: Call) -> Response:
    """Detach a consent form from a visit."""
    form, visit = found(call), _visit(call)
    if form["id"] not in visit.get("_consent_forms", ()):
        raise bad_fields({"appointment": ["The consent form is not applied to this appointment."]})
    left = tuple(each for each in visit["_consent_forms"] if each != form["id"])
    call.practice.change("appointments", visit["id"], {"_consent_forms": left})
    return empty()


def append_to_pharmacy_note(call: Call) -> Response:
    """Add text to the end of the note to the pharmacy."""
    row = found(call)
    values = checked(call, body_fields(call), call.body(), partial=True)
    text = values.get("text")
    if not text:
        raise bad_fields({"text": [REQUIRED]})
    note = " ".join(part for part in (row["pharmacy_note"], text) if part)
    return changed(call, row, {"pharmacy_note": note})


def add_exam_room(call: Call) -> Response:
    """Add an exam room to an office and answer with the office."""
    row = found(call)
    values = checked(call, body_fields(call), call.body(), partial=True)
    if not values.get("name"):
        raise bad_fields({"name": [REQUIRED]})
    rooms = list(row["exam_rooms"])
    rooms.append(
        {
            "index": len(rooms) + 1,
            "name": values["name"],
            "online_scheduling": bool(values.get("online_scheduling")),
        }
    )
    office = call.practice.change("offices", row["id"], {"exam_rooms": rooms})
    return answer(call.operation.response.status, call.table.view(office, verbose=True))


def read_onpatient_access(call: Call) -> Response:
    """Say which invitations to the patient portal are out."""
    row = found(call)
    if not row.get("_onpatient_invited"):
        raise detail(404, "The patient has no onpatient access.")
    return answer(200, call.table.view(row))


def send_onpatient_invite(call: Call) -> Response:
    """Invite a patient to the portal; needs an email address."""
    row = found(call)
    if not row["email"]:
        raise bad_fields({"email": ["The patient has no email address."]})
    call.practice.change("patients", row["id"], {"_onpatient_invited": True})
    return answer(call.operation.response.status, call.table.view(found(call)))


def revoke_onpatient_access(call: Call) -> Response:
    """Take the access to the portal away."""
    row = found(call)
    if not row.get("_onpatient_invited"):
        raise detail(404, "The patient has no onpatient access.")
    call.practice.change("patients", row["id"], {"_onpatient_invited": False})
    return empty()


def read_notepad(call: Call) -> Response:
    """Answer what is on the notepad of a visit and a template."""
    place = _notepad_place(call)
    key = _notepad_key(call, place)
    if key is None:
        raise detail(404, "Not found.")
    return answer(200, call.table.view(call.table[key]))


def write_notepad(call: Call) -> Response:
    """Put text on the notepad of a visit and a template, in place of what is there.

    :raises Refusal: 409 when the note of the visit is locked.
    """
    place = _notepad_place(call)
    for name, resource in (("appointment_id", "appointments"), ("template_id", "clinical_note_templates")):
        if call.practice.refers(resource, place[name]) is None:
            raise bad_fields({name: [f'Invalid pk "{place[name]}" - object does not exist.']})
    values = checked(call, body_fields(call), call.body(), partial=False)
    if not values.get("content"):
        raise bad_fields({"content": [REQUIRED]})
    note = call.practice.refers("clinical_notes", place["appointment_id"])
    if note is not None and (note.get("signee") or {}).get("locked_by"):
        raise detail(409, "The clinical note is locked and cannot be modified.")
    content = "\n".join(values["content"].splitlines())
    key = _notepad_key(call, place)
    if key is None:
        row = call.practice.create("yellow_notepad", {**place, "content": content})
    else:
        row = call.practice.change("yellow_notepad", key, {"content": content})
    return answer(call.operation.response.status, call.table.view(row))


def create_signed_consent_form(call: Call) -> Response:
    """Store a signed form; patient, visit and form come in the query, or in the body as well."""
    given = _from_query(call, ("patient", "appointment", "consent_form")) | dict(call.fields())
    missing = [name for name in ("patient", "appointment", "consent_form") if given.get(name) in (None, "")]
    if missing:
        raise bad_fields({name: [REQUIRED] for name in missing})
    values = checked(call, body_fields(call), given, partial=True)
    row = call.practice.create("signed_consent_forms", values)
    return answer(call.operation.response.status, call.table.view(row))


def change_signed_consent_form(call: Call) -> Response:
    """Change a signed form; there is no path for a single one, so its id comes in the query or the body."""
    given = _from_query(call, ("id",)) | dict(call.fields())
    if given.get("id") in (None, ""):
        raise bad_fields({"id": [REQUIRED]})
    key = call.table.find(str(given.pop("id")))
    if key is None:
        raise detail(404, "Not found.")
    values = checked(call, body_fields(call), given, partial=True)
    return changed(call, call.table[key], values)


def create_telehealth_event(call: Call) -> Response:
    """Add an event to the history of a video visit."""
    given = call.body()
    values = checked(call, body_fields(call), given, partial=False)
    visit = call.practice.refers("appointments", values.pop("appointment", None))
    if visit is None:
        raise bad_fields({"appointment": [REQUIRED]})
    owner = {"_appointment": visit["id"], "_doctor": visit["doctor"]}
    row = call.practice.create("telehealth_appointment_history", values | owner)
    return answer(call.operation.response.status, call.table.view(row))


def _visit(call: Call) -> dict[str, Any]:
    values = checked(call, body_fields(call), call.body(), partial=True)
    visit = call.practice.refers("appointments", values.get("appointment"))
    if visit is None:
        raise bad_fields({"appointment": [REQUIRED]})
    return visit


def _from_query(call: Call, names: tuple[str, ...]) -> dict[str, Any]:
    given = {name: call.request.argument(name) for name in names}
    return {name: value for name, value in given.items() if value}


def _notepad_place(call: Call) -> dict[str, int]:
    given = {name: call.request.argument(name) or "" for name in ("appointment_id", "template_id")}
    place = {name: number for name, text in given.items() if (number := whole(text)) is not None}
    errors = {name: ["Enter a whole number." if given[name] else REQUIRED] for name in given if name not in place}
    if errors:
        raise bad_fields(errors)
    return place


def _notepad_key(call: Call, place: Mapping[str, int]) -> Any:
    rows = call.table.rows.items()
    return next((key for key, row in rows if all(row[name] == value for name, value in place.items())), None)


BY_OPERATION: Mapping[str, Callable[[Call], Response]] = {
    "consent_forms_apply_to_appointment": apply_consent_form,
    "consent_forms_unapply_from_appointment": unapply_consent_form,
    "medications_append_to_pharmacy_note": append_to_pharmacy_note,
    "offices_add_exam_room": add_exam_room,
    "patients_onpatient_access_create": send_onpatient_invite,
    "patients_onpatient_access_delete": revoke_onpatient_access,
    "patients_onpatient_access_read": read_onpatient_access,
    "signed_consent_forms_create": create_signed_consent_form,
    "signed_consent_forms_partial_update": change_signed_consent_form,
    "telehealth_appointment_history_create": create_telehealth_event,
    "yellow_notepad_create": write_notepad,
    "yellow_notepad_retrieve": read_notepad,
}
