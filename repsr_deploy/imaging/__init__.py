"""Images: files, tiles, and the upscaler that takes a model over them."""
