from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import Variable
from airflow.sdk.exceptions import AirflowRuntimeError, ErrorType
from airflow.sdk.execution_time import task_runner
from airflow.sdk.execution_time.comms import (
    DeleteVariable,
    ErrorResponse,
    MaskSecret,
    OKResponse,
    PutVariable,
    VariableResult,
)

from airflow_provider_drchrono.compat import (
    are_variables_in_memory,
    delete_variable,
    mask_secret,
    read_variable,
    write_variable,
)
from airflow_provider_drchrono.compat.variables import variables_in_memory
from tests.support.stored import stored_text

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

    def test_a_secret_is_masked_by_the_supervisor_too(self, supervised: Any) -> None:
        supervisor = supervised(OKResponse(ok=True))

        mask_secret("a-secret-of-this-task")
        mask_secret(None)

        assert supervisor.requests == [MaskSecret(value="a-secret-of-this-task")]

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
        stored = stored_text(airflow_db)
        assert "why" in stored["variable"]
        assert "second" not in stored["variable"]

    def test_a_variable_of_a_team_is_found_and_stays_the_teams(
        self, airflow_db: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from airflow.models.variable import Variable as StoredVariable

        monkeypatch.setenv("AIRFLOW__CORE__MULTI_TEAM", "True")
        add_team("north")
        StoredVariable.set("x", "first", team_name="north")

        assert read_variable("x") == "first"
        write_variable("x", "second", "why")

        assert StoredVariable.get("x", team_name="north") == "second"
        assert StoredVariable.get("x", None, team_name="south") is None

    def test_a_new_variable_belongs_to_the_team_it_is_made_for(
        self, airflow_db: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from airflow.models.variable import Variable as StoredVariable

        monkeypatch.setenv("AIRFLOW__CORE__MULTI_TEAM", "True")
        add_team("north")
        write_variable("theirs", "value", "why", "north")
        write_variable("everybodys", "value", "why")
        write_variable("everybodys", "value", "why", "north")

        assert StoredVariable.get_key_to_team_name_mapping(["theirs", "everybodys"]) == {
            "theirs": "north",
            "everybodys": None,
        }

    def test_a_variable_is_deleted_and_deleted_again(self, airflow_db: Path) -> None:
        write_variable("x", "value", "why")
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


def add_team(name: str) -> None:
    from airflow.models.team import Team
    from airflow.utils.session import create_session

    with create_session() as session:
        session.add(Team(name=name))


def test_variables_in_memory_end_with_their_block() -> None:
    with variables_in_memory():
        write_variable("x", "outer", "")
        with variables_in_memory():
            assert read_variable("x") is None
            write_variable("x", "inner", "")
        assert read_variable("x") == "outer"
        delete_variable("x")
        assert read_variable("x") is None
        assert are_variables_in_memory()
    assert not are_variables_in_memory()
