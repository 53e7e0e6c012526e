"""The client against the sandbox, as a notebook would use it."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_drchrono.client import (
    BadRequestError,
    ConfigurationError,
    ConflictError,
    DrChronoClient,
    InvalidArgumentError,
    NotFoundError,
    Page,
)
from airflow_provider_drchrono.client.paging import Record

if TYPE_CHECKING:
    from airflow_provider_drchrono.sandbox import Sandbox


def ids(records: Any) -> list[Any]:
    return [each["id"] for each in records]


def practice_ids(sandbox: "Sandbox", resource: str) -> set[Any]:
    return set(ids(sandbox.practice.records(resource)))


def new_patient(drchrono: DrChronoClient, last_name: str) -> Record:
    doctor = next(iter(drchrono.list("doctors")))["id"]
    return {
        "first_name": "Test",
        "last_name": last_name,
        "gender": "Other",
        "date_of_birth": "1990-01-31",
        "doctor": doctor,
    }


def test_settings_are_given_one_by_one_or_all_at_once(drchrono: DrChronoClient) -> None:
    with pytest.raises(ConfigurationError, match="not both: max_attempts"):
        DrChronoClient(drchrono.settings, max_attempts=2)
    with DrChronoClient(client_id="a", client_secret="b", base_url="http://127.0.0.1:9") as client:
        assert client.settings.client_id == "a"
        assert (client.calls, client.server_time) == (0, None)


def test_every_patient_is_listed_once(sandbox: "Sandbox", drchrono: DrChronoClient) -> None:
    listed = ids(drchrono.list("patients"))
    assert len(listed) == len(set(listed))
    assert set(listed) == practice_ids(sandbox, "patients")
    assert drchrono.calls == 1


def test_pages_carry_on_from_any_of_them(sandbox: "Sandbox", drchrono: DrChronoClient) -> None:
    since = {"since": "2000-01-01"}
    pages = list(drchrono.pages("appointments", since))
    assert [len(each.records) for each in pages] == [20] * 6
    assert [each.index for each in pages] == list(range(6))
    assert all(isinstance(each, Page) and each.server_time for each in pages)
    assert pages[-1].next_url is None
    rest = list(drchrono.pages("appointments", next_url=pages[2].next_url))
    assert [ids(each.records) for each in rest] == [ids(each.records) for each in pages[3:]]


def test_verbose_brings_more_fields_on_smaller_pages(drchrono: DrChronoClient) -> None:
    plain = next(iter(drchrono.pages("patients")))
    verbose = next(iter(drchrono.pages("patients", verbose=True)))
    assert set(verbose.records[0]) > set(plain.records[0])
    assert len(verbose.records) == 50


def test_filters_filter(sandbox: "Sandbox", drchrono: DrChronoClient) -> None:
    wanted = sandbox.practice.records("patients")[0]["last_name"]
    found = list(drchrono.list("patients", {"last_name": wanted}))
    assert found
    assert {each["last_name"] for each in found} == {wanted}


def test_a_wrong_filter_is_refused_before_the_first_page(drchrono: DrChronoClient) -> None:
    with pytest.raises(InvalidArgumentError):
        drchrono.list("patients", {"lastname": "x"})
    assert drchrono.calls == 0


def test_a_record_lives_and_dies(drchrono: DrChronoClient) -> None:
    made = drchrono.create("patients", new_patient(drchrono, "Lifecycle"))
    assert drchrono.update("patients", made["id"], {"first_name": "Changed"}) is None
    assert drchrono.read("patients", made["id"])["first_name"] == "Changed"
    assert drchrono.replace("patients", made["id"], new_patient(drchrono, "Replaced")) is None
    assert drchrono.read("patients", made["id"])["last_name"] == "Replaced"
    assert drchrono.delete("patients", made["id"]) is None
    with pytest.raises(NotFoundError):
        drchrono.read("patients", made["id"])


def test_many_records_are_created_by_one_call(drchrono: DrChronoClient) -> None:
    batch = [new_patient(drchrono, f"Batch{each}") for each in range(3)]
    before = drchrono.calls
    drchrono.create("patients", batch)
    assert drchrono.calls == before + 1
    assert all(list(drchrono.list("patients", {"last_name": each["last_name"]})) for each in batch)


def test_a_duplicate_is_a_conflict_until_it_is_allowed(drchrono: DrChronoClient) -> None:
    person = new_patient(drchrono, "Twice")
    first = drchrono.create("patients", person)
    with pytest.raises(ConflictError):
        drchrono.create("patients", person)
    second = drchrono.create("patients", person, query={"allow_duplicates": True})
    assert first["id"] != second["id"]


def test_refused_fields_are_named(drchrono: DrChronoClient) -> None:
    with pytest.raises(BadRequestError, match="doctor, gender") as caught:
        drchrono.create("patients", {"first_name": "x"})
    assert set(caught.value.field_errors) == {"doctor", "gender"}


def test_a_document_is_uploaded(sandbox: "Sandbox", drchrono: DrChronoClient) -> None:
    patient = next(iter(drchrono.list("patients")))
    made = drchrono.create(
        "documents",
        {"patient": patient["id"], "doctor": patient["doctor"], "date": "2026-01-31", "description": "Scan"},
        files={"document": ("scan.pdf", b"%PDF-1.7 synthetic")},
    )
    assert drchrono.read("documents", made["id"])["description"] == "Scan"


def test_the_user_is_found_behind_a_redirect(sandbox: "Sandbox", drchrono: DrChronoClient) -> None:
    user = drchrono.current_user()
    assert user["id"]
    assert drchrono.calls == 2
    entries = [each for each in sandbox.journal.calls() if each.path.startswith("/api/users/")]
    assert [each.status for each in entries[-2:]] == [302, 200]


@pytest.mark.parametrize(
    ("act", "says"),
    [
        pytest.param(lambda c: c.call("patients_raed"), "did you mean 'patients_read'", id="operation"),
        pytest.param(lambda c: c.read("pacients", 1), "did you mean 'patients'", id="resource"),
        pytest.param(lambda c: c.delete("offices", 1), "offices has no operation to delete", id="kind"),
        pytest.param(lambda c: c.read("yellow_notepad", 1), "not addressed by an id", id="no-id"),
        pytest.param(lambda c: c.bulk_pages("doctors"), "no bulk list; use list", id="bulk"),
    ],
)
def test_what_the_api_does_not_have(drchrono: DrChronoClient, act: Callable[[DrChronoClient], Any], says: str) -> None:
    with pytest.raises(InvalidArgumentError, match=says):
        act(drchrono)
    assert drchrono.calls == 0


def test_a_record_without_a_path_of_its_own_is_changed_by_its_id(drchrono: DrChronoClient) -> None:
    form = next(iter(drchrono.list("signed_consent_forms")))
    assert drchrono.update("signed_consent_forms", form["id"], {"archived": True}) is None


def test_a_list_asks_for_a_page_when_its_records_are_wanted(drchrono: DrChronoClient) -> None:
    records = drchrono.list("appointments", {"since": "2000-01-01"})
    next(records)
    assert drchrono.calls == 1
    for _ in range(20):
        next(records)
    assert drchrono.calls == 2
