"""What each schema looked like, and was, when it was released."""
