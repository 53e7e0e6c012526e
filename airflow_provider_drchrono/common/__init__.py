"""What operators, sensors and transfers share: arguments, results, outcomes of a task, and masking."""
