"""From a trained model to figures: predictions, metrics with their intervals, pictures."""
