"""Faults done to the pipeline on purpose, and damaged videos: `make faults`, `make fuzz`.

A row of the table is survived when the same commands, run again after the fault, end in the same bytes as without it.
"""
