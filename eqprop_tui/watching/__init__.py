"""Reading a run as it goes on: `feed` takes new records out of its files, `view` keeps what is shown."""
