"""DrChrono for Apache Airflow: the version lives here, and nothing is imported until it is asked for."""

__version__ = "0.1.0"
