"""What is measured: margins, flatness, sharpness and norms of a network."""
