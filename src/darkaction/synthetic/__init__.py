"""Synthetic clips of dark actions: articulated figures in rendered places, filmed with too little light.

Read in this order: generator (a clip from settings to frames), scene (what a preset gives), demo,
domain_randomization and shifted (the presets demo, demo_lit, pretraining, shifted and usual), dataset (all clips).
Below them: passers_by (who is behind), human (joints, movement, looks), world (places, seats, objects), camera
(viewpoint, pixels, darkness).
"""
