"""Procedural dark actions: articulated figures in drawn rooms, filmed by a camera that has too little light.

Read in this order: skeleton (joints), motion (actions), subject (looks), scene (room), camera (viewpoint),
render (pixels), sensor (darkness), generate (clips on disk).
"""
