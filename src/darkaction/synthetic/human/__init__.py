"""The person: body, movement, actions."""
