"""How long the hook lets a renewal take before its process is held for dead."""

import pytest

from airflow_provider_drchrono.client import ClientSettings
from airflow_provider_drchrono.hooks.drchrono import lease_timing


@pytest.mark.parametrize("request_timeout", [5.0, 300.0])
def test_the_lease_outlasts_the_slowest_renewal(request_timeout: float) -> None:
    settings = ClientSettings(client_id="id", client_secret="secret", request_timeout=request_timeout)
    slowest = settings.max_attempts * (settings.token_timeout + settings.max_wait)

    assert settings.token_timeout == min(request_timeout, 70.0)
    assert slowest < lease_timing(settings).hold < slowest + 60
