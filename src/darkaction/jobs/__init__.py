"""One training as a job: its settings, identity, place, run and worker."""
