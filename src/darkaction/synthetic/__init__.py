"""Procedural dark actions: articulated figures in drawn places, filmed by a camera that has too little light.

Read in this order: skeleton (joints), motion (timing), gaits, idle, handling (with `things`) and actions (movement),
subject (looks), camera (viewpoint), render and props (pixels), sensor (darkness), settings, generate (clips).

Two families of scenes share all that. The demo's `rooms` (with `scene`) are alike enough to be learnt in minutes.
`varied` scenes (with `places`, `surfaces` and `scenery`) differ in whatever a `variation` gives a range for, and are
meant to be pretrained on. `sheet` shows either.
"""
