"""Waiting without a worker. The paths of these classes are kept in Airflow's database, so they never move."""
