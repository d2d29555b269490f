"""Charts: pure functions from numbers to terminal cells, which know nothing of runs, science or widgets.

Reading order: `scale` (numbers and axes), `canvas` (cells), `data` (what a line chart shows), `strokes`
(curves to dots), `lines` and `histogram` (the charts), `text` (cells to plain text, rich text or segments).
"""
