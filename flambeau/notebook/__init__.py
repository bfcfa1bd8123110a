"""What a notebook shows: things as HTML, made of the report's pieces, and figures of matplotlib."""
