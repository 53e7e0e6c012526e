"""The databases that records can be loaded into. Which one it is, the type of an Airflow connection says."""
