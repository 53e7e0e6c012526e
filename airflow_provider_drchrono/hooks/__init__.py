"""From an Airflow connection to a client of the API, and from the client's errors to Airflow's outcomes."""
