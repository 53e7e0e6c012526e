from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import Variable
from airflow.sdk.exceptions import AirflowRuntimeError, ErrorType
from airflow.sdk.execution_time import task_runner
from airflow.sdk.execution_time.comms import DeleteVariable, ErrorResponse, OKResponse, PutVariable, VariableResult

from airflow_provider_drchrono.compat import delete_variable, read_variable, write_variable

pytestmark = pytest.mark.airflow

ABSENT = ErrorResponse(error=ErrorType.VARIABLE_NOT_FOUND, detail={"key": "x"})
BROKEN = ErrorResponse(error=ErrorType.API_SERVER_ERROR, detail={"message": "canary"})


class Supervisor:
    """Answers each request of a task with the same thing, and keeps the requests."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer
        self.requests: list[Any] = []

    def send(self, msg: Any) -> Any:
        self.requests.append(msg)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


@pytest.fixture
def supervised(monkeypatch: pytest.MonkeyPatch) -> Any:
    def by(answer: Any) -> Supervisor:
        supervisor = Supervisor(answer)
        monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", supervisor, raising=False)
        return supervisor

    return by


class TestInATask:
    def test_a_variable_is_read_through_the_supervisor(self, supervised: Any) -> None:
        supervised(VariableResult(key="x", value="stored"))

        assert read_variable("x") == "stored"

    @pytest.mark.parametrize("answer", [ABSENT, AirflowRuntimeError(ABSENT)], ids=["answered", "raised"])
    def test_an_absent_variable_is_none(self, supervised: Any, answer: Any) -> None:
        supervised(answer)

        assert read_variable("x") is None

    @pytest.mark.parametrize(
        "answer",
        [BROKEN, AirflowRuntimeError(BROKEN), OKResponse(ok=True), ConnectionError("canary")],
        ids=["answered", "raised", "nonsense", "no-line"],
    )
    def test_a_variable_that_cannot_be_read_is_not_taken_for_absent(self, supervised: Any, answer: Any) -> None:
        supervised(answer)
        # This is why Airflow's own accessor will not do: it cannot tell the two apart.
        assert Variable.get("x", default="absent") == "absent"

        with pytest.raises(Exception, match=r"did not answer the request for the variable x|canary"):
            read_variable("x")

    def test_what_the_environment_says_does_not_count(self, supervised: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AIRFLOW_VAR_X", "shadow")
        supervised(VariableResult(key="x", value="stored"))

        assert read_variable("x") == "stored"

    def test_a_variable_is_written_through_the_supervisor(self, supervised: Any) -> None:
        supervisor = supervised(OKResponse(ok=True))

        write_variable("x", "value", "why")

        assert PutVariable(key="x", value="value", description="why") in supervisor.requests

    def test_a_variable_is_deleted_through_the_supervisor(self, supervised: Any) -> None:
        supervisor = supervised(OKResponse(ok=True))

        delete_variable("x")

        assert DeleteVariable(key="x") in supervisor.requests


class TestInTheApiServer:
    def test_variables_are_in_the_database(self, airflow_db: Path) -> None:
        assert read_variable("x") is None

        write_variable("x", "first", "why")
        write_variable("x", "second", "why")

        assert read_variable("x") == "second"
        assert b"second" not in airflow_db.read_bytes()

        delete_variable("x")
        delete_variable("x")

        assert read_variable("x") is None

    def test_a_database_that_cannot_be_read_is_not_taken_for_an_absent_variable(
        self, airflow_db: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from airflow import settings
        from sqlalchemy import create_engine
        from sqlalchemy.exc import OperationalError

        nowhere = create_engine(f"sqlite:///{airflow_db.parent}/missing/airflow.db")
        settings.Session.configure(bind=nowhere)
        try:
            with pytest.raises(OperationalError):
                read_variable("x")
        finally:
            settings.Session.remove()
            settings.Session.configure(bind=settings.engine)
