"""The stages `train_enhancer` and `enhance`: from params.yaml to the functions of darkaction.enhancement."""
