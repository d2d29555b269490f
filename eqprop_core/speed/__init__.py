"""How fast a network computes here, and what makes it faster."""
