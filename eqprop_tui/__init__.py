"""All that a person at a terminal touches: headless commands, and the application. Never imports torch."""
