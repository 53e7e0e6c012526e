"""Assets of DrChrono: lists that are watched for changes, lists that sensors read, and tables that syncs keep."""

from airflow_provider_drchrono.assets.outlets import drchrono_list, drchrono_table
from airflow_provider_drchrono.assets.watched import drchrono_asset

__all__ = ["drchrono_asset", "drchrono_list", "drchrono_table"]
