"""The same job on several machines: pictures as a Ray Data pipeline over a file system or object store they share."""
