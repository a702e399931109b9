"""Where the person is: rooms, other places, furniture, objects."""
