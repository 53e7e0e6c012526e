"""What is read of the catalogue, and when: nothing that was not asked for, and all of it in the end."""

import json
from importlib import resources

import pytest

from airflow_provider_drchrono.catalog import Catalog, loader

DATA = resources.files("airflow_provider_drchrono.catalog") / "data"


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files that were read, in order."""
    names: list[str] = []
    read = loader._read

    def noted(path: loader.Traversable) -> object:
        names.append(path.name)
        return read(path)

    monkeypatch.setattr(loader, "_read", noted)
    return names


def fresh() -> Catalog:
    return loader.load.__wrapped__()


def test_only_the_file_of_an_operation_is_read(opened: list[str]) -> None:
    catalog = fresh()
    assert opened == ["index.json"], "a catalogue of which nothing was asked"

    assert catalog.operation("doctors_read").path == "/api/doctors/{id}"

    assert [name for name in opened if (DATA / "resources" / name).is_file()] == ["doctors.json"]
    assert not [name for name in opened if (DATA / "records" / name).is_file()]


def test_a_file_is_read_once(opened: list[str]) -> None:
    catalog = fresh()

    assert catalog.operation("doctors_list") is catalog.resource("doctors").operations["doctors_list"]
    assert catalog.operation("doctors_list") is catalog.operation("doctors_list")
    assert catalog.record("Doctor") is catalog.record("Doctor")
    assert len(opened) == len(set(opened))


def test_names_are_known_without_reading_more_than_the_index(opened: list[str]) -> None:
    catalog = fresh()

    assert len(catalog.operations) == 331
    assert "doctors" in catalog.resources
    assert "nurses" not in catalog.resources
    assert catalog.entries["patients_read"].domain == "patients"
    assert catalog.entries["patients_read"].page == "/patients/{id}"
    assert catalog.entries["doctors_read"].page is None
    assert opened == ["index.json"]


def test_the_index_says_what_the_files_hold() -> None:
    index = json.loads((DATA / loader.INDEX).read_text())

    assert index == loader.index_of_sources()


def test_sources_and_index_lead_to_the_same_facts() -> None:
    catalog, sources = fresh(), loader.load_sources()

    assert dict(catalog.operations) == dict(sources.operations)
    assert dict(catalog.records) == dict(sources.records)
    assert [each.name for each in catalog.resources.values()] == list(sources.resources)
