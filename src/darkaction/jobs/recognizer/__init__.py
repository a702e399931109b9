"""The stages `pretrain`, `train` and `evaluate`: from params.yaml to a trained and measured recognizer."""
