"""The screens of the application: library, configure, monitor, runs, compare, and dialogs."""
