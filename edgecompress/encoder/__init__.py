"""The teacher's anatomy: loading it, naming its axes, cutting along them."""
