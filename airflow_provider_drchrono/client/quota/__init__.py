"""Keeps the quota of an API application: who may call now, who has to wait, and how often a poll fits."""

from airflow_provider_drchrono.client.quota.call_quota import CallQuota, Quota

__all__ = ["CallQuota", "Quota"]
