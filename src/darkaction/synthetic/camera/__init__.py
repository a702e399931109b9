"""What the camera makes of it: projection, light, sensor and codec."""
