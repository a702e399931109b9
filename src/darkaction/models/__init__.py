"""The recognizer: backbone, temporal head, classifier."""
