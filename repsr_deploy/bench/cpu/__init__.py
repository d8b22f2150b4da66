"""The processor engine against every other way to enlarge the same picture here: `repsr-bench cpu`."""
