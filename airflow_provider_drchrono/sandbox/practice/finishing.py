"""Makes generically filled records agree with each other: results with their order, events with their visit."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from airflow_provider_drchrono.sandbox.practice.plausible import Scene
from airflow_provider_drchrono.sandbox.practice.practice import KEYS_APART
from airflow_provider_drchrono.sandbox.practice.table import Row
from airflow_provider_drchrono.sandbox.practice.words import (
    ALLERGENS,
    ASSESSMENTS,
    COMMUNICATIONS,
    DRUGS,
    EXAMS,
    LAB_TESTS,
    PAYERS,
    PLANS,
    PROBLEMS,
    PROCEDURES,
    VACCINES,
)

Finish = Callable[[Scene, Row, int], None]

PROFILES = ("New patient", "Follow-up", "Physical", "Procedure")
SECTIONS = ("Subjective", "Objective", "Plan")
FORMS = ("Consent to treatment", "Privacy notice", "Financial agreement")


def _rows(scene: Scene, name: str) -> list[Row]:
    return list(scene.practice.table(name))


def _nth(scene: Scene, name: str, number: int) -> Row:
    rows = scene.practice.table(name)
    return rows[rows.keys[number % len(rows.keys)]] if len(rows) else {}


def _named(*names: str, field: str = "name") -> Finish:
    def finish(scene: Scene, row: Row, number: int) -> None:
        row[field] = names[number % len(names)]

    return finish


def _fixed(**values: Any) -> Finish:
    def finish(scene: Scene, row: Row, number: int) -> None:
        row.update(values)

    return finish


def _drug(scene: Scene, row: Row, number: int) -> None:
    row["name"], row["rxnorm"] = DRUGS[number % len(DRUGS)]
    row |= {"date_stopped_taking": None, "ndc": "", "number_refills": 1, "order_status": ""}


def _problem(scene: Scene, row: Row, number: int) -> None:
    row["name"], row["icd_code"], row["snomed_ct_code"] = PROBLEMS[number % len(PROBLEMS)]
    row["description"] = row["name"]
    row |= {"icd_version": "10", "abatement_date": None, "info_url": "", "status": "active"}


def _allergy(scene: Scene, row: Row, number: int) -> None:
    name, row["snomed_code"] = ALLERGENS[number % len(ALLERGENS)]
    row |= {"notes": f"Reacts to {name.lower()}.", "reaction": "Hives", "rxnorm": "", "status": "active"}


def _coded(codes: Sequence[tuple[str, str]], system: str, field: str = "name") -> Finish:
    def finish(scene: Scene, row: Row, number: int) -> None:
        row[field], row["code"] = codes[number % len(codes)]
        row["code_system"] = system
        if "value_code" in row:
            row["value_code"] = ""

    return finish


def _stock(scene: Scene, row: Row, number: int) -> None:
    row["name"], row["cvx_code"] = VACCINES[number % len(VACCINES)]


def _profile(scene: Scene, row: Row, number: int) -> None:
    row["name"] = ("Established visit", "New visit")[number % 2]
    code, _, price = PROCEDURES[(1, 2)[number % 2]]
    line = {"code": code, "diagnosis_pointers_icd10": ["I10"], "diagnosis_pointers_icd9": [], "modifiers": []}
    row["cpt_codes"] = [line | {"ndc_code": [], "price": f"{price / 100:.2f}", "quantity": "1.00"}]
    row |= {"custom_procedure_codes": [], "hcpcs_codes": [], "icd10_codes": ["I10"]}


def _demographic(scene: Scene, row: Row, number: int) -> None:
    row["name"] = ("School", "Hobby", "Shoe size")[number % 3]
    row["template_name"] = row["name"].lower().replace(" ", "_")


def _task_template(scene: Scene, row: Row, number: int) -> None:
    row["name"] = ("Referral", "Prior authorization", "Recall")[number % 3]
    row["default_due_date_offset"] = f"{7 * (number + 1)} 00:00:00"


def _vaccine(scene: Scene, row: Row, number: int) -> None:
    row["name"], row["cvx_code"] = VACCINES[number % len(VACCINES)]
    row |= {"cpt_code": "", "next_dose_date": None}


def _thread(scene: Scene, row: Row, number: int) -> None:
    subject, body = "Question about a visit", scene.one(("Thank you.", "Please call."))
    message = {"id": row["id"] * 10, "subject": subject, "body": body}
    row |= {"subject": subject, "message_type": ("MC", "GP")[number % 2], "message_count": 1}
    row |= {"first_message": message, "last_message": message, "last_message_at": row["updated_at"], "owners": []}
    row |= {"unread_count": number % 2, "starred": number % 3 == 0, "archived": False}
    row["patient"] = None if number % 4 == 3 else row["patient"]


def _procedure(scene: Scene, row: Row, number: int) -> None:
    code, description, _ = PROCEDURES[number % len(PROCEDURES)]
    row |= {"code": code, "description": description, "procedure_type": "C", "status": "completed"}
    row["date"] = scene.visit.get("scheduled_time", scene.created.isoformat())[:10]


def _lab_document(scene: Scene, row: Row, number: int) -> None:
    row["lab_order"] = _nth(scene, "lab_orders", number).get("id")
    row["hl7"] = ""


def _lab_test(scene: Scene, row: Row, number: int) -> None:
    name, code, _, _ = LAB_TESTS[number % len(LAB_TESTS)]
    row |= {"name": name, "code": code, "description": name, "lab_order": _nth(scene, "lab_orders", number).get("id")}


def _lab_result(scene: Scene, row: Row, number: int) -> None:
    test = _nth(scene, "lab_tests", number)
    _, code, unit, normal = LAB_TESTS[number % len(LAB_TESTS)]
    row |= {"lab_test": test.get("id"), "lab_order": test.get("lab_order"), "observation_code": code}
    row |= {"unit": unit, "normal_range": normal, "value_is_numeric": True, "is_abnormal": "false"}
    documents = {each["lab_order"]: each["id"] for each in _rows(scene, "lab_documents")}
    row["document"] = documents.get(test.get("lab_order"))
    row["test_performed"] = scene.updated.isoformat()


def _patient_lab_result(scene: Scene, row: Row, number: int) -> None:
    title, code, unit, normal = LAB_TESTS[number % len(LAB_TESTS)]
    row |= {"title": title, "loinc_code": code, "lab_result_value_units": unit, "lab_normal_range": normal}
    row |= {"lab_result_value": "5.00", "lab_result_value_as_float": "5.00", "lab_normal_range_units": unit}


def _eligibility(scene: Scene, row: Row, number: int) -> None:
    row |= {"payer_name": PAYERS[number % len(PAYERS)][1], "cob_level": "Primary Insurance", "eligibility": "1"}
    row |= {"query_date": row["updated_at"][:10], "request_service_type": "30"}


def _clinical_note(scene: Scene, row: Row, number: int) -> None:
    templates = _rows(scene, "clinical_note_templates")
    row["signee"] = {"locked_by": "doctor1", "supervisor_locked_by": ""}
    row["clinical_note_sections"] = [
        {"clinical_note_template": each["id"], "name": each["name"], "values": []} for each in templates
    ]


def _field_type(scene: Scene, row: Row, number: int) -> None:
    row |= {"name": f"Item {number + 1}", "data_type": "String", "allowed_values": []}
    row["clinical_note_template"] = _nth(scene, "clinical_note_templates", number).get("id")


def _field_value(scene: Scene, row: Row, number: int) -> None:
    row["clinical_note_field"] = _nth(scene, "clinical_note_field_types", number).get("id")


def _template(scene: Scene, row: Row, number: int) -> None:
    row |= {"name": SECTIONS[number % len(SECTIONS)], "order": {"on_complete_note": number, "on_ipad": number}}


def _block(scene: Scene, row: Row, number: int) -> None:
    day = scene.now.date().isoformat()
    row |= {"start_time": f"{day}T12:00:00", "end_time": f"{day}T13:00:00", "description": "Lunch"}
    row |= {
        "provider": _nth(scene, "doctors", number).get("id"),
        "exam_room": 1,
        "series": None,
        "practice_group": scene.practice.options.practice_group,
    }
    row["appointment_break"] = None


def _appointment_template(scene: Scene, row: Row, number: int) -> None:
    day = scene.now.date().isoformat()
    row |= {"scheduled_time": f"{day}T09:00:00", "week_days": [0, 2, 4], "exam_room": 1, "date_end": None}
    row |= {"profile": _nth(scene, "appointment_profiles", number).get("id"), "date_start": day}
    row["office"] = _nth(scene, "offices", number).get("id")


def _authorization(scene: Scene, row: Row, number: int) -> None:
    row |= {"auth_number": f"AUTH{number + 1:05d}", "doctor_id": row["doctor"], "patient_id": row["patient"]}
    row |= {"number_of_visits": 10, "visits_remaining": 6, "expired": False, "status": "Approved"}
    row |= {"start_date": row["created_at"][:10], "end_date": scene.now.date().isoformat(), "procedure_codes": []}


def _audit(scene: Scene, row: Row, number: int) -> None:
    row |= {"action": "Update", "type": "Appointment", "page": "/appointments", "field": "status"}
    row["user_id"] = int(scene.user)
    patient = scene.practice.refers("patients", scene.visit.get("patient")) or {}
    row["patient"] = " ".join(filter(None, (patient.get("first_name"), patient.get("last_name"))))
    row["_patient"] = patient.get("id")


def _deletion(scene: Scene, row: Row, number: int) -> None:
    # The charge is gone, so its number belongs to no row; it lies below the numbers that exist.
    first = _nth(scene, "line_items", 0).get("id", KEYS_APART)
    row["billing_line_item_id"] = first - 1 - number


def _telehealth(scene: Scene, row: Row, number: int) -> None:
    row["telehealth_url"] = f"https://telehealth.example.com/room/{row['appointment']}"
    row |= {"duration": 30, "sent_patient_email": False, "overlapping_duration": ""}


def _event(scene: Scene, row: Row, number: int) -> None:
    row |= {
        "event_type": "provider_joined",
        "description": "Provider joined the call.",
        "_appointment": scene.visit.get("id"),
    }
    row["_doctor"] = scene.visit.get("doctor")


def _notepad(scene: Scene, row: Row, number: int) -> None:
    row["template_id"] = _nth(scene, "clinical_note_templates", number).get("id")
    row["appointment_id"] = int(scene.visit["id"]) if scene.visit else 0


def _fee(scene: Scene, row: Row, number: int) -> None:
    code, description, price = PROCEDURES[number % len(PROCEDURES)]
    row |= {"code": code, "code_type": "CPT", "description": description, "billing_description": description}
    row |= {"ndc_code": "", "base_price": f"{price / 100:.2f}", "picklist_category": "", "plan_name": "Standard"}
    row |= dict.fromkeys((f"cpt_hcpcs_modifier{number}" for number in range(1, 5)), "")


def _fee_plan(scene: Scene, row: Row, number: int) -> None:
    row |= {"items": [], "assignees": [], "specialities": [], "plan_name": "Standard", "ineffective_date": None}


def _message(scene: Scene, row: Row, number: int) -> None:
    patient = scene.practice.refers("patients", row["patient"]) or {}
    doctor = scene.practice.refers("doctors", row["doctor"]) or {}
    for prefix, person in (("patient", patient), ("doctor", doctor)):
        for part in ("first_name", "middle_name", "last_name"):
            row[f"{prefix}_{part}"] = person.get(part, "")
    row |= {"title": "Incoming fax", "received_at": scene.created.isoformat(), "message_notes": []}


FINISH: Mapping[str, Finish] = {
    "allergies": _allergy,
    "appointment_profiles": _named(*PROFILES),
    "appointment_templates": _appointment_template,
    "audit_log": _audit,
    "billing_profiles": _profile,
    "care_plans": _coded(PLANS, "SNOMED", "title"),
    "clinical_note_field_types": _field_type,
    "clinical_note_field_values": _field_value,
    "clinical_note_templates": _template,
    "clinical_notes": _clinical_note,
    "consent_forms": _named(*FORMS, field="title"),
    "custom_appointment_fields": _named("Transport", "Interpreter", field="field_name"),
    "custom_demographics": _demographic,
    "custom_vitals": _named("Waist", "Grip strength"),
    "documents": _fixed(description="Scanned referral", metatags="[]"),
    "eligibility_checks": _eligibility,
    "fee_schedules": _fee,
    "fee_schedules_v2": _fee_plan,
    "inventory_categories": _named("Vaccines", "Supplies"),
    "inventory_vaccines": _stock,
    "lab_documents": _lab_document,
    "lab_orders": _fixed(documents=[], priority="N", status="S", icd10_codes=[]),
    "lab_results": _lab_result,
    "lab_tests": _lab_test,
    "line_item_deletions": _deletion,
    "medications": _drug,
    "message_threads": _thread,
    "messages": _message,
    "patient_authorizations": _authorization,
    "patient_communications": _coded(COMMUNICATIONS, "SNOMEDCT"),
    "patient_interventions": _coded(PLANS, "SNOMEDCT"),
    "patient_physical_exams": _coded(EXAMS, "LOINC"),
    "patient_risk_assessments": _coded(ASSESSMENTS, "LOINC"),
    "patient_flag_types": _named("Fall risk", "Interpreter", "VIP"),
    "patient_lab_results": _patient_lab_result,
    "patient_messages": _fixed(subject="Appointment question", attachments=[]),
    "patient_vaccine_records": _vaccine,
    "prescription_messages": _fixed(parent_message=None, message_type="NewRx", message_status="Sent"),
    "problems": _problem,
    "procedures": _procedure,
    "reminder_profiles": _fixed(reminders=[{"amount": 1, "type": "email", "unit": "days"}]),
    "schedule_blocks": _block,
    "sublabs": _named("Sample Laboratories North", "Sample Laboratories South"),
    "task_templates": _task_template,
    "telehealth_appointment_history": _event,
    "telehealth_appointments": _telehealth,
    "yellow_notepad": _notepad,
}
