"""What commands print: as text for people, as lines for editors, as JSON for programs."""
