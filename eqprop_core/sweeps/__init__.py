"""Many runs as one: what they are, their folder, and who starts them."""
