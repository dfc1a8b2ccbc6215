"""What all trainings share: networks, batches, schedules, checkpoints, several ranks."""
