"""The HTTP service: pictures in, enlarged pictures out; tiles of different requests share batches."""
