"""The classifier that spends the labels: models, views, trainings side by side."""
