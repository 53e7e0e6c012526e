"""Which other operations there are on the same kind of record."""

import pytest

from airflow_provider_drchrono.operators.base import InvalidArgumentError
from airflow_provider_drchrono.operators.base.related import bulk_resource, find_related, related_operation
from tests.support.examples import operations


def test_the_operation_on_one_record_is_found() -> None:
    assert related_operation("patients_create", "read").id == "patients_read"
    assert related_operation("patients_create", "update").id == "patients_partial_update"
    assert related_operation("signed_consent_forms_partial_update", "read").id == "signed_consent_forms_read"


def test_what_the_api_does_not_have_is_said() -> None:
    assert find_related("eobs_create", "update") is None
    with pytest.raises(InvalidArgumentError, match="eobs_create: the API has no operation that could update"):
        related_operation("eobs_create", "update")


@pytest.mark.parametrize("operation_id", [each.id for each in operations() if each.kind.startswith("bulk_")])
def test_both_of_a_pair_list_one_resource(operation_id: str) -> None:
    assert f"{bulk_resource(operation_id)}_list" in operation_id.replace("_list_list", "_list").replace("_create", "")


def test_others_are_no_pair() -> None:
    with pytest.raises(LookupError, match="patients_read is not one of a pair"):
        bulk_resource("patients_read")
