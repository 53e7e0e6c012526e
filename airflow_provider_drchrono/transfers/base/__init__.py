"""What transfers that keep a copy of a list share."""
