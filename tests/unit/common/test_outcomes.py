import logging
from datetime import UTC, datetime, timedelta

import pytest

from airflow_provider_drchrono import client
from airflow_provider_drchrono.client import errors
from airflow_provider_drchrono.common.outcomes import airflow_outcome
from airflow_provider_drchrono.compat import AirflowFailException, AirflowRescheduleException
from airflow_provider_drchrono.state.token_store import GrantLostError, TokenStoreError

MESSAGE = "patients_list answered something; do this"
IN_AN_HOUR = datetime.now(UTC) + timedelta(hours=1)

FAILS = AirflowFailException
RETRIES = "the error itself, so that Airflow's retries apply"
WAITS = AirflowRescheduleException

TABLE = [
    pytest.param(client.ConfigurationError(MESSAGE), FAILS, id="settings"),
    pytest.param(client.InvalidArgumentError(MESSAGE), FAILS, id="argument"),
    pytest.param(client.BadRequestError(MESSAGE, status=400), FAILS, id="400"),
    pytest.param(client.AuthenticationError(MESSAGE, kind="client"), FAILS, id="wrong-secret"),
    pytest.param(client.AuthenticationError(MESSAGE, kind="refresh_token"), FAILS, id="dead-refresh-token"),
    pytest.param(GrantLostError(MESSAGE, kind="refresh_token"), FAILS, id="lost-grant"),
    pytest.param(client.PermissionDeniedError(MESSAGE, status=403), FAILS, id="403"),
    pytest.param(client.NotFoundError(MESSAGE, status=404), FAILS, id="404"),
    pytest.param(client.ConflictError(MESSAGE, status=409), FAILS, id="409"),
    pytest.param(client.TlsError(MESSAGE), FAILS, id="refused-certificate"),
    pytest.param(client.UnexpectedAnswerError(MESSAGE), FAILS, id="nonsense"),
    pytest.param(client.RequestTimeoutError(MESSAGE, transient=False), FAILS, id="write-with-unknown-end"),
    pytest.param(client.RequestTimeoutError(MESSAGE), RETRIES, id="timeout"),
    pytest.param(client.ConnectionFailedError(MESSAGE), RETRIES, id="no-connection"),
    pytest.param(client.ServerError(MESSAGE, status=500), RETRIES, id="500"),
    pytest.param(client.BulkExpiredError(MESSAGE), RETRIES, id="bulk-expired"),
    pytest.param(TokenStoreError(MESSAGE, transient=True), RETRIES, id="no-variables"),
    pytest.param(client.RateLimitedError(MESSAGE, retry_at=None), RETRIES, id="429-without-time"),
    pytest.param(client.RateLimitedError(MESSAGE, retry_at=IN_AN_HOUR), WAITS, id="429"),
]


@pytest.mark.parametrize(("error", "outcome"), TABLE)
def test_outcome(error: client.DrChronoError, outcome: object) -> None:
    with pytest.raises(Exception) as caught, airflow_outcome():  # noqa: PT011
        raise error

    if outcome is RETRIES:
        assert caught.value is error
    else:
        assert type(caught.value) is outcome
        assert caught.value.__suppress_context__
    if outcome is FAILS:
        assert str(caught.value) == MESSAGE


def test_the_table_has_every_error_of_the_client() -> None:
    concrete = {each for each in vars(errors).values() if isinstance(each, type) and issubclass(each, Exception)}
    concrete -= {
        each
        for each in concrete
        if each.__subclasses__() and each is not errors.AuthenticationError and each is not errors.ConfigurationError
    }

    assert concrete <= {type(param.values[0]) for param in TABLE}


def test_a_reschedule_says_why_and_until_when(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO), pytest.raises(AirflowRescheduleException) as caught, airflow_outcome():
        raise client.RateLimitedError(MESSAGE, retry_at=IN_AN_HOUR)

    assert caught.value.reschedule_date == IN_AN_HOUR
    assert caplog.messages == [f"{MESSAGE}. The task goes on at {IN_AN_HOUR.isoformat(timespec='seconds')}"]


def test_a_reschedule_leaves_the_worker_time_to_end() -> None:
    soon = datetime.now(UTC) + timedelta(seconds=8)

    with pytest.raises(AirflowRescheduleException) as caught, airflow_outcome():
        raise client.RateLimitedError(MESSAGE, retry_at=soon)

    assert caught.value.reschedule_date - soon > timedelta(seconds=50)


def test_where_the_task_may_not_start_again_the_error_carries_the_time() -> None:
    error = client.RateLimitedError(MESSAGE, retry_at=IN_AN_HOUR)

    with pytest.raises(client.RateLimitedError) as caught, airflow_outcome(reschedule=False):
        raise error

    assert caught.value is error


def test_other_peoples_errors_pass() -> None:
    with pytest.raises(KeyError), airflow_outcome():
        raise KeyError("x")
