import inspect
import pickle

import pytest

from airflow_provider_drchrono.client import errors
from airflow_provider_drchrono.client.errors import BadRequestError, DrChronoError, RateLimitedError

ALL = [
    each for _, each in inspect.getmembers(errors, inspect.isclass)
    if issubclass(each, DrChronoError) and each.__module__ == errors.__name__
]  # fmt: skip


@pytest.mark.parametrize("error", ALL, ids=lambda each: each.__name__)
def test_every_error_stands_in_the_tree_and_survives_another_process(error: type[DrChronoError]) -> None:
    assert errors.__doc__ is not None
    assert error.__name__ in errors.__doc__
    raised = error("what, what came, what to do", operation_id="patients_list")
    copy = pickle.loads(pickle.dumps(raised))
    assert type(copy) is error
    assert (str(copy), copy.operation_id) == ("what, what came, what to do", "patients_list")
    assert isinstance(error.transient, bool)


def test_what_may_be_tried_again() -> None:
    transient = {each.__name__ for each in ALL if each.transient}
    assert transient == {
        "BulkExpiredError", "ConnectionFailedError", "RateLimitedError", "RequestTimeoutError", "ServerError",
        "TransportError",
    }  # fmt: skip


def test_an_instance_can_say_otherwise() -> None:
    assert errors.ServerError("x", transient=False).transient is False
    assert errors.ServerError("x").transient is True


def test_details_of_fields_are_no_part_of_the_text() -> None:
    error = BadRequestError("refused", field_errors={"last_name": ["Canarybird"]})
    assert "Canarybird" not in repr(error) + str(error)
    assert pickle.loads(pickle.dumps(error)).field_errors == {"last_name": ["Canarybird"]}
    assert RateLimitedError("x").retry_at is None
