from datetime import UTC, datetime

import httpx
import pytest

from tests.unit.sandbox.support import Serve, client_of, refresh

HALF_PAST = datetime(2026, 6, 15, 16, 30, tzinfo=UTC)


def test_the_hour_is_one_of_the_clock(serve: Serve) -> None:
    sandbox, api = serve(quota_per_hour=3, start=HALF_PAST, frozen=True)

    assert [api.get("/api/doctors").status_code for _ in range(5)] == [200, 200, 200, 429, 429]
    assert api.get("/api/doctors").json() == {"detail": "Request was throttled. Expected available in 1800 seconds."}
    sandbox.clock.advance(1799)
    assert api.get("/api/doctors").status_code == 429
    sandbox.clock.advance(1)
    assert api.get("/api/doctors").status_code == 200


def test_a_second_holds_so_many_calls(serve: Serve) -> None:
    sandbox, api = serve(quota_per_second=10, start=HALF_PAST, frozen=True)

    assert [api.get("/api/doctors").status_code for _ in range(11)] == [200] * 10 + [429]
    sandbox.clock.advance(0.5)
    assert api.get("/api/doctors").status_code == 429
    sandbox.clock.advance(0.5)
    assert api.get("/api/doctors").status_code == 200


@pytest.mark.parametrize("retry_after", [True, False], ids=["with header", "without header"])
def test_the_wait_may_stand_in_a_header(serve: Serve, retry_after: bool) -> None:
    _, api = serve(quota_per_hour=1, start=HALF_PAST, frozen=True, retry_after=retry_after)
    api.get("/api/doctors")

    assert api.get("/api/doctors").headers.get("retry-after") == ("1800" if retry_after else None)


def test_all_grants_of_a_client_share_it(serve: Serve) -> None:
    sandbox, api = serve(quota_per_hour=2, start=HALF_PAST, frozen=True)
    with client_of(sandbox) as other:
        assert [api.get("/api/doctors").status_code, other.get("/api/doctors").status_code] == [200, 200]
        assert [api.get("/api/doctors").status_code, other.get("/api/doctors").status_code] == [429, 429]


def test_what_counts(serve: Serve) -> None:
    sandbox, api = serve(quota_per_hour=50, start=HALF_PAST, frozen=True, bulk_polls=0)

    def used() -> int:
        return sandbox.app.quota.used(sandbox.client_id, sandbox.clock.now())

    refresh(sandbox)
    httpx.get(f"{sandbox.url}/api/doctors")
    assert used() == 0
    ticket = api.post("/api/patients_list").json()["uuid"]
    api.get("/api/patients_list", params={"uuid": ticket})
    assert used() == 2
    api.get("/api/patients/999999999")
    api.post("/api/patients", json={})
    api.get("/api/users/current", follow_redirects=True)
    assert used() == 6
