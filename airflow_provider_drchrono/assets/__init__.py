"""Assets of DrChrono: lists that are watched or that sensors read, tables that syncs keep, and files of exports."""

from airflow_provider_drchrono.assets.outlets import drchrono_export, drchrono_list, drchrono_table
from airflow_provider_drchrono.assets.watched import drchrono_asset

__all__ = ["drchrono_asset", "drchrono_export", "drchrono_list", "drchrono_table"]
