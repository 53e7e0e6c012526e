"""The seeded practice holds what real practices hold, and as many records as were asked for; ``tidy`` leaves it out."""

import re
import unicodedata
from collections import Counter
from datetime import UTC, datetime
from typing import Any

import pytest

from airflow_provider_drchrono.sandbox import Sandbox
from airflow_provider_drchrono.sandbox.practice import words
from airflow_provider_drchrono.sandbox.practice.charges import cents
from airflow_provider_drchrono.sandbox.practice.untidy import GONE_OFFICE

NOON = datetime(2026, 6, 15, 16, 0, tzinfo=UTC)


@pytest.fixture(scope="module", params=[False, True], ids=["untidy", "tidy"])
def practice(request: pytest.FixtureRequest) -> Any:
    return Sandbox(start=NOON, frozen=True, tidy=request.param)


def has(practice: Any, found: object) -> bool:
    """Tell whether something is there exactly where the practice is untidy."""
    return bool(found) != practice.options.tidy


def rows(practice: Any, name: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = practice.practice.records(name, deleted=True)
    return found


def test_there_is_as_much_as_was_asked_for(practice: Any) -> None:
    assert [practice.practice.count(name) for name in ("patients", "appointments", "doctors")] == [50, 500, 3]
    for small in range(4):
        tiny = Sandbox(patients=small, appointments_per_patient=3, start=NOON)
        assert [tiny.practice.count(name) for name in ("patients", "appointments")] == [small, 3 * small]


def test_the_calendar(practice: Any) -> None:
    visits = rows(practice, "appointments")
    listed = Counter((each["doctor"], each["scheduled_time"]) for each in visits if not each["appt_is_break"])
    offices = practice.practice.table("offices")
    series = {each["id"] for each in visits if each["recurring_appointment"]}

    assert has(practice, [each for each in visits if each["appt_is_break"] and each["patient"] is None])
    assert all(each["appt_is_break"] == (each["patient"] is None) for each in visits)
    assert has(practice, [each for each in visits if each["deleted_flag"]])
    assert has(practice, [each for each in visits if each["custom_status"] == each["status"] == "Ready for doctor"])
    assert has(practice, [key for key in series if re.fullmatch(r"\d{4}-\d\d-\d\d_\d+", key)])
    assert has(practice, [each for each in visits if each["base_recurring_appointment"] in series])
    assert practice.options.tidy or max(listed.values()) > 1, "no two visits of a doctor at one time"
    assert has(practice, [each for each in visits if each["office"] not in offices])
    assert all(each["office"] in offices or each["office"] - GONE_OFFICE in offices for each in visits)


def test_the_people(practice: Any) -> None:
    people = rows(practice, "patients")
    names = [f"{each['first_name']} {each['last_name']} {each['nick_name']}" for each in people]
    born = Counter((each["last_name"], each["date_of_birth"], each["address"]) for each in people)

    for empty in ({"email": ""}, {"date_of_birth": None}, {"first_name": ""}):
        assert has(practice, [each for each in people if empty.items() <= each.items()])
    for pattern in ("[á-ž]", "'", "\u2019", "-", "\U0001f33c"):
        assert has(practice, [name for name in names if re.search(pattern, name)])
    assert has(
        practice, [name for name in names if any(unicodedata.bidirectional(each) in {"R", "AL"} for each in name)]
    )
    assert has(practice, [person for person, count in born.items() if count > 1 and person[1]])
    assert all(re.fullmatch(r"[A-Z]{4}\d{6}", each["chart_id"]) for each in people)


def test_the_doctors(practice: Any) -> None:
    doctors = rows(practice, "doctors")
    seen = {each["doctor"] for each in rows(practice, "appointments")}

    assert has(practice, len({each["timezone"] for each in doctors}) == 2)
    assert has(practice, [each for each in doctors if each["is_account_suspended"] and each["id"] in seen])


def test_the_money(practice: Any) -> None:
    charges, paid, moved = (rows(practice, name) for name in ("line_items", "patient_payments", "transactions"))

    assert has(practice, [each for each in charges if cents(each["billed"]) == 0])
    assert has(practice, [each for each in charges if cents(each["billed"]) > 10_000_000])
    assert has(practice, [each for each in charges if cents(each["balance_total"]) < 0])
    assert has(practice, [each for each in moved if cents(each["ins_paid"]) < 0 and each["claim_status"] == "22"])
    assert has(
        practice, [each for each in paid if cents(each["amount"]) < 0 and each["payment_transaction_type"] == "REF"]
    )


def test_the_notes(practice: Any) -> None:
    values = [str(each["value"]) for each in rows(practice, "clinical_note_field_values")]

    assert has(practice, [each for each in values if "<p>" in each])
    assert has(practice, [each for each in values if "\r\n" in each and "\t" in each])
    assert has(practice, [each for each in values if len(each) == 20_000])
    locked = {bool(each["signee"]["locked_by"]) for each in rows(practice, "clinical_notes")}
    assert locked == ({True} if practice.options.tidy else {True, False})


VERHOEFF = (
    (0, 1, 2, 3, 4, 5, 6, 7, 8, 9), (1, 2, 3, 4, 0, 6, 7, 8, 9, 5), (2, 3, 4, 0, 1, 7, 8, 9, 5, 6),
    (3, 4, 0, 1, 2, 8, 9, 5, 6, 7), (4, 0, 1, 2, 3, 9, 5, 6, 7, 8), (5, 9, 8, 7, 6, 0, 4, 3, 2, 1),
    (6, 5, 9, 8, 7, 1, 0, 4, 3, 2), (7, 6, 5, 9, 8, 2, 1, 0, 4, 3), (8, 7, 6, 5, 9, 3, 2, 1, 0, 4),
    (9, 8, 7, 6, 5, 4, 3, 2, 1, 0),
)  # fmt: skip
SHIFT = (1, 5, 7, 6, 2, 8, 3, 0, 9, 4)


def is_snomed(code: str) -> bool:
    check, places = 0, list(range(10))
    for digit in map(int, reversed(code)):
        check = VERHOEFF[check][places[digit]]
        places = [SHIFT[each] for each in places]
    return check == 0


def luhn(digits: str) -> int:
    return sum(
        sum(divmod(2 * int(each), 10)) if place % 2 else int(each) for place, each in enumerate(reversed(digits))
    )


def test_codes_are_valid(practice: Any) -> None:
    for doctor in rows(practice, "doctors"):
        assert re.fullmatch(r"1\d{9}", doctor["npi_number"])
        assert luhn(f"80840{doctor['npi_number']}") % 10 == 0
    snomed = {code for *_, code in (*words.PROBLEMS, *words.ALLERGENS, *words.PLANS, *words.COMMUNICATIONS)}
    assert [code for code in snomed if not is_snomed(code)] == []
    loinc = {code for _, code, *_ in (*words.LAB_TESTS, *words.EXAMS, *words.ASSESSMENTS)}
    assert [code for code in loinc if luhn(code.replace("-", "")) % 10] == []


def test_codes_agree_with_what_stands_beside_them(practice: Any) -> None:
    pairs = {
        "problems": ({row[:3] for row in words.PROBLEMS}, ("name", "icd_code", "snomed_ct_code")),
        "patient_vaccine_records": (set(words.VACCINES), ("name", "cvx_code")),
        "inventory_vaccines": (set(words.VACCINES), ("name", "cvx_code")),
        "medications": (set(words.DRUGS), ("name", "rxnorm")),
        "lab_tests": ({row[:2] for row in words.LAB_TESTS}, ("name", "code")),
        "care_plans": (set(words.PLANS), ("title", "code")),
        "patient_communications": (set(words.COMMUNICATIONS), ("name", "code")),
        "patient_interventions": (set(words.PLANS), ("name", "code")),
        "patient_physical_exams": (set(words.EXAMS), ("name", "code")),
        "patient_risk_assessments": (set(words.ASSESSMENTS), ("name", "code")),
        "procedures": ({row[:2] for row in words.PROCEDURES}, ("code", "description")),
    }
    for name, (known, fields) in pairs.items():
        assert {tuple(each[field] for field in fields) for each in rows(practice, name)} <= known, name
