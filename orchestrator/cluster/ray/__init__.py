"""Starting, joining and leaving Ray, and what its processes need."""
