"""Copy the documents of patients into a folder or an object store, as soon as they are new or updated.

It needs the Airflow connection ``drchrono_default`` (type DrChrono) and a triggerer. The Airflow variable
``drchrono_archive`` says where to, such as ``s3://aws_default@bucket/drchrono``. Each version of a document is one
file, whose name ends with its checksum; what is there already is not fetched again, whatever is retried or cleared.
"""

from datetime import datetime, timedelta

from airflow.sdk import DAG

from airflow_provider_drchrono.assets import drchrono_asset
from airflow_provider_drchrono.operators.assets import DrChronoChangedRecordsOperator
from airflow_provider_drchrono.transfers.drchrono_documents_to_object_storage import (
    DrChronoDocumentsToObjectStorageOperator,
)

documents = drchrono_asset("documents", start="beginning")  # Those that are there already, too.

with DAG(
    dag_id="drchrono_documents_to_storage",
    schedule=[documents],
    start_date=datetime(2026, 1, 1),
    default_args={"retries": 3, "retry_delay": timedelta(minutes=1)},
    tags=["drchrono", "events"],
    doc_md=__doc__,
):
    # The time of the change tells versions of a document apart.
    changed = DrChronoChangedRecordsOperator(
        task_id="changed", asset=documents, fields=["id", "updated_at"], max_records=100_000
    )
    DrChronoDocumentsToObjectStorageOperator(
        task_id="archive",
        records=changed.output,
        path="{{ var.value.get('drchrono_archive', '/tmp/drchrono-archive') }}",
        on_missing="skip",  # Somebody may have deleted it meanwhile.
    )
