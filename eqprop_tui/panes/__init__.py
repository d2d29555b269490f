"""The panes of the monitor, one beside the other in place: what each shows of a run."""
