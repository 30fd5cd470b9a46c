"""Pages that need nothing but themselves: templates and what they are filled with."""
