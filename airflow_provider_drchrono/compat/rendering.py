"""Tells an operator when Airflow has rendered its templates, before anything else sees the rendered values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from airflow.sdk import BaseOperator

from airflow_provider_drchrono.compat.private import check_method

PARAMETERS = ("parent", "template_fields", "context", "jinja_env", "seen_oids")

# Airflow calls it for mapped and for plain tasks alike; no public method does both. If it had another name, ours would
# never be called and rendered values would be stored in clear.
check_method(BaseOperator, "_do_render_template_fields", PARAMETERS, __name__)


class NoticesRendering:
    """For operators and sensors: calls :meth:`after_rendering` once the templates are rendered."""

    def after_rendering(self, given: Mapping[str, Any]) -> None:
        """Do what has to be done before Airflow stores the rendered fields.

        :param given: the fields that were rendered, as they were before.
        """
        raise NotImplementedError

    def _do_render_template_fields(
        self, parent: Any, template_fields: Iterable[str], context: Any, jinja_env: Any, seen_oids: set[int]
    ) -> None:
        names = tuple(template_fields)
        given = {name: getattr(parent, name, None) for name in names}
        super()._do_render_template_fields(parent, names, context, jinja_env, seen_oids)  # type: ignore[misc]
        # Airflow also calls it for objects inside of fields that have templates of their own.
        if parent is self:
            self.after_rendering(given)
