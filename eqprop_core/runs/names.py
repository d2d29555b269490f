"""What the files and folders of a run are called. Imports nothing, for a process that waits in line."""

CONFIG = "config.toml"
META = "meta.json"
STATE = "state.json"
EVENTS = "events.jsonl"
HYPERPARAMETERS = "hyperparameters.txt"
CONSOLE = "console.log"
CHECKPOINT = "checkpoint.tar"
CHECKPOINT_BEFORE = "checkpoint.prev.tar"
BEST_MODEL = "model.pt"
LOCK = "lock"
FINAL_MODEL = "final_model.pt"
FINAL_CHECKPOINT = "final_checkpoint.tar"
# Files with weights, as they are looked for: to evaluate the best, to go on from the latest.
BEST_FIRST = (BEST_MODEL, CHECKPOINT, CHECKPOINT_BEFORE, FINAL_MODEL, FINAL_CHECKPOINT)
LATEST_FIRST = (CHECKPOINT, CHECKPOINT_BEFORE, FINAL_CHECKPOINT, BEST_MODEL, FINAL_MODEL)
CHECKS = "checks"
GDU = "gdu"
ACCURACY_FIGURE = "train-test_acc.png"
ACTIVITY_FIGURE = "neural_activity.png"
CONTROL = "control"
SWEEPS = "sweeps"  # of a results folder
