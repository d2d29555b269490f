"""`python -m eqprop_tui` is `eqprop`."""

from __future__ import annotations

from eqprop_tui.start import main

if __name__ == "__main__":
    main()
