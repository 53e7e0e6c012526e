"""``airflow drchrono ...``: what the provider adds to Airflow's command line."""
