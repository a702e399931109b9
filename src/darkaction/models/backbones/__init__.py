"""Networks that turn a clip into features, a file each."""
