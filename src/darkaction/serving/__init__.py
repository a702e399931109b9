"""A trained model in use: predictions for videos, and the MLflow model."""
