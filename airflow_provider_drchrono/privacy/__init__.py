"""Holds only what may be held: which fields of a record are left out or masked, decided before anything is stored.

Nothing here calls, stores or logs anything, and nothing imports Airflow: syncs and exports apply it to what they read.
"""

from airflow_provider_drchrono.privacy.masker import Masker
from airflow_provider_drchrono.privacy.masks import MASKS, SMALL_ZIP_PREFIXES, MaskKind
from airflow_provider_drchrono.privacy.policy import FieldPolicy, PolicyError

__all__ = ["MASKS", "SMALL_ZIP_PREFIXES", "FieldPolicy", "MaskKind", "Masker", "PolicyError"]
