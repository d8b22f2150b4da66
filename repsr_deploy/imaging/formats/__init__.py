"""PNG, JPEG and WebP as bytes, one file a format: what a file says about its picture, and where its profile stands."""
