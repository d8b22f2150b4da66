"""Video, from file to file or through a pipe. Needs PyAV (extra `video`), which is imported where it is used."""
