"""An auth manager that tells one connection from another, which none of Airflow's own does."""

from typing import ClassVar

from airflow.api_fastapi.auth.managers.base_auth_manager import ResourceMethod
from airflow.api_fastapi.auth.managers.models.resource_details import ConnectionDetails
from airflow.api_fastapi.auth.managers.simple.simple_auth_manager import SimpleAuthManager
from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser

Right = tuple[ResourceMethod, str | None]
"""What may be done with which connection; None stands for connections in general."""


class RightsOneByOne(SimpleAuthManager):
    """Gives the users in ``rights`` these rights and no others; all others have those of their role and their teams."""

    rights: ClassVar[dict[str, set[Right]]] = {}

    def is_authorized_connection(
        self, *, method: ResourceMethod, user: SimpleAuthManagerUser, details: ConnectionDetails | None = None
    ) -> bool:
        if user.username in self.rights:
            return (method, details.conn_id if details else None) in self.rights[user.username]
        return super().is_authorized_connection(method=method, user=user, details=details)
