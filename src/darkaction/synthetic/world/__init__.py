"""Where the person is: rooms, furniture, objects, scenery."""
