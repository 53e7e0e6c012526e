"""Decides what every generated thing is called; nothing else in the generator makes up a name."""

from __future__ import annotations

import re
from collections.abc import Iterable

from airflow_provider_drchrono.catalog import Operation, Resource

VERBS = {
    "list": "List",
    "read": "Get",
    "create": "Create",
    "update": "Update",
    "replace": "Replace",
    "delete": "Delete",
    "bulk_start": "Create",
    "bulk_result": "Get",
}

# Operations that are no verb on their resource's noun: reports, and actions with a verb of their own.
SPECIAL = {
    "appointments_list_create": "CreateAppointmentsList",
    "availability": "GetAvailability",
    "consent_forms_apply_to_appointment": "ApplyConsentForm",
    "consent_forms_unapply_from_appointment": "UnapplyConsentForm",
    "day_sheet_patient_payments_list": "GetDaySheetPatientPayments",
    "daysheet_charges_list": "GetDaySheetCharges",
    "daysheet_credits_list": "GetDaySheetCredits",
    "daysheet_totals_list": "GetDaySheetTotals",
    "medications_append_to_pharmacy_note": "AppendToPharmacyNote",
    "offices_add_exam_room": "AddExamRoom",
    "patients_ccda": "GetPatientCcda",
    "patients_ccda_async": "RequestPatientCcda",
    "patients_onpatient_access_create": "SendOnPatientInvite",
    "patients_onpatient_access_delete": "RevokeOnPatientInvite",
    "patients_onpatient_access_read": "GetOnPatientAccess",
    "patients_qrda1": "GetPatientQrda1",
    "recurring_appointment_instances_list": "GetRecurringAppointmentInstances",
}

# Operations that list and fetch a bulk list too get a second operator, for the fetching.
SPECIAL_RESULTS = {"appointments_list_list": "GetAppointmentsList"}

DOMAIN_TITLES = {
    "appointments": "Appointments",
    "billing": "Billing & Insurance",
    "care": "Allergies, Problems & Care",
    "clinical_notes": "Clinical Notes",
    "documents": "Documents & Consent Forms",
    "inventory": "Inventory",
    "labs": "Lab & Diagnostics",
    "medications": "Medications & Vaccines",
    "messaging": "Messaging & Communication",
    "offices": "Offices & Staff",
    "patients": "Patient Management",
    "system": "System",
    "tasks": "Tasks",
    "users": "Doctor & User",
}


# Arguments that Airflow's own operators have.
RESERVED = frozenset({"task_id"})


class NameClashError(ValueError):
    """Two generated things would have one name."""


def camel(noun: str) -> str:
    """Join the words of a noun with capitals, keeping those that are given: ``EOB``, ``FeeScheduleV2``."""
    return "".join(word[0].upper() + word[1:] for word in re.split(r"[\s_-]+", noun))


def snake(noun: str) -> str:
    """Join the words of a noun with underscores."""
    return "_".join(re.split(r"[\s_-]+", noun.lower()))


def operation_stem(operation: Operation, resource: Resource) -> str:
    """Return verb and noun of an operation: ``ListPatients``, ``SendOnPatientInvite``.

    :raises LookupError: the operation's kind has no verb, and the operation is not named by hand.
    """
    specials = SPECIAL_RESULTS if operation.kind == "bulk_result" else SPECIAL
    if special := specials.get(operation.id):
        return special
    try:
        verb = VERBS[operation.kind]
    except KeyError:
        raise LookupError(
            f"{operation.id} is of kind {operation.kind}, which has no verb: name it in SPECIAL"
        ) from None
    return verb + camel(resource.plural if operation.kind == "list" else resource.noun)


def class_name(stem: str) -> str:
    """Return the class name of an operator: ``DrChronoListPatientsOperator``."""
    return f"DrChrono{stem}Operator"


def id_argument(resource: Resource) -> str:
    """Return the argument that takes the id of one thing of a resource: ``lab_order_id``.

    The id of a task in DrChrono is ``drchrono_task_id``: ``task_id`` names the task in Airflow.
    """
    name = f"{snake(resource.noun)}_id"
    return f"drchrono_{name}" if name in RESERVED else name


def query_argument(parameter: str, resource: Resource) -> str:
    """Return the argument of an explicit query parameter.

    The id of the thing itself gets the same name as in a path; the id of another thing says that it is one.
    """
    if parameter == "id":
        return id_argument(resource)
    return f"{parameter}_id" if parameter in {"appointment", "consent_form", "patient"} else parameter


def filters_type(operation: Operation, resource: Resource, stem: str) -> str:
    """Return the name of the TypedDict of an operation's filters: ``PatientFilters``, ``LineItemsListFilters``."""
    if operation.kind == "list":
        return f"{camel(resource.noun)}Filters"
    return f"{_without_verb(stem)}Filters"


def data_type(operation: Operation, resource: Resource, stem: str) -> str:
    """Return the name of the TypedDict of an operation's body: ``PatientData``, or ``PatientUpdate`` of an update."""
    if operation.kind == "action":
        return f"{stem}Data"
    return camel(resource.noun) + ("Update" if operation.kind == "update" else "Data")


def nested_type(outer: str, field: str) -> str:
    """Return the name of the TypedDict of an object inside a body: ``PatientPrimaryInsurance``."""
    return outer.removesuffix("Data").removesuffix("Update") + camel(field)


def snake_of_camel(name: str) -> str:
    """Take the words of a CamelCase name apart again: ``list_eobs``, ``get_fee_schedule_v2``."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z]{2})", "_", name).lower()


def shared_type(data: str) -> str:
    """Return the name of the TypedDict of the fields that data and update have in common: ``PatientFields``."""
    return f"{data.removesuffix('Data')}Fields"


def options_type(base: str, *, verbose: bool, body: bool) -> str:
    """Return the name of the TypedDict of what an operator takes beside what is its own.

    :param base: the operator's base class.
    :param verbose: whether there is a verbose form.
    :param body: whether a body is sent.
    """
    kind = base.removesuffix("Operator")
    if kind == "Action":
        return "WriteOptions" if body else "TaskOptions"
    return f"{'Verbose' if verbose else ''}{'Update' if kind == 'Replace' else kind}Options"


def types_module(domain: str) -> str:
    """Return the name of the module with the types of a domain."""
    return f"{domain}_types"


def ensure_unique(names: Iterable[str]) -> None:
    """Raise :class:`NameClashError` if a name comes twice."""
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise NameClashError(f"Two generated things would be called {name}: name one of them in SPECIAL")
        seen.add(name)


def _without_verb(stem: str) -> str:
    return re.sub(r"^(Create|Get|Request)", "", stem)
