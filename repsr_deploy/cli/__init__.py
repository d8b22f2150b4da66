"""Command lines: one file per command (parse, call, print); `errors` turns failures into a line and an exit code."""
