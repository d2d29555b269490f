"""Data sets held in memory as bytes, their order and their augmentation.

Which data sets there are, and where, is known without torch by `eqprop_core.catalogue`. Here they are
fetched (`fetching`), read (`reading`), put together (`datasets`) and handed out in batches (`batches`);
`randomness` makes every draw a function of seed and position. Nothing is imported before it is asked for.
"""
