"""Starting, joining and leaving Ray, and setup of its processes."""
