"""Measurement of speed and memory: `timing` is the stopwatch, the other files say what is compared."""
