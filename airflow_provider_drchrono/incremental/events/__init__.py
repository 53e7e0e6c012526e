"""What the watcher of an asset says about a poll: written once, stored, and delivered to one DAG run of a task."""
