"""What is released, as its users get it."""
